/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that accepts other agents' connections and looks after the threads of all, and those
 * threads that answer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "log.h"
#include "orders.h"
#include "peers_internal.h"
#include "peers_state.h"
#include "pulse.h"
#include "questions.h"
#include "thread.h"

enum { ARRIVALS_MAX = 2 * PEERS_MAX, MS_PER_S = 1000, REST_MS = 1000 };

/* A connection that was accepted. */
struct arrival {
	struct list node;
	struct agent *agent;
	struct wire wire;
	char address[TCP_URL_MAX]; /* of the other side */
	char id[AGENT_ID_MAX + 1]; /* "": it is not known yet */
	struct peer *peer;
	pthread_t thread;
	bool done;
};

/* With the lock. */
static int meet(struct arrival *arrival, const struct hello *hello, struct err *e)
{
	struct agent *a = arrival->agent;
	int r = hello_meet(a, hello, &arrival->peer, e);

	if (r)
		return r;
	strcpy(arrival->id, hello->id);
	arrival->peer->accepted++;
	arrival->peer->now = true;
	peers_wake(a->peers);
	return 0;
}

static int check_hello(struct arrival *arrival, const char *identity, struct err *e)
{
	json_auto_t *message = NULL;
	struct agent *a = arrival->agent;
	struct hello hello;
	int r = wire_read(&arrival->wire, PEERS_HELLO_MS, &message, e);

	r = r ? r : hello_read(message, &hello, e);
	if (!r && a->peers->tls && !hello_is_certified(identity, hello.id))
		r = err_set(e, -EACCES,
			    "it says that it is \"%s\", and its certificate is for \"%.200s\"; the "
			    "CN of an agent's client-cert.pem has to be its id",
			    hello.id, identity);
	if (r)
		return r;
	pthread_mutex_lock(&a->lock);
	r = meet(arrival, &hello, e);
	pthread_mutex_unlock(&a->lock);
	return r;
}

static int introduce(struct arrival *arrival, struct err *e)
{
	struct agent *a = arrival->agent;
	char identity[TLS_IDENTITY_MAX] = "";
	json_auto_t *answer = NULL;
	struct err unused;
	int r = 0;

	arrival->wire.ch.silence_ms = PEERS_HELLO_MS;
	if (a->peers->tls)
		r = tls_server(&arrival->wire.ch, a->peers->tls, identity, e);
	if (r)
		return r;
	r = check_hello(arrival, identity, e);
	/* One that has dialled itself is to know. */
	answer = r && r != -EALREADY ? json_pack("{s:{s:s}}", "refused", "why", e->text)
				     : hello_message(a);
	if (!r)
		return answer ? wire_write(&arrival->wire, answer, PEERS_HELLO_MS, e)
			      : err_set(e, -ENOMEM, "out of memory");
	if (answer)
		wire_write(&arrival->wire, answer, PEERS_HELLO_MS, &unused);
	return r;
}

static int answer_one(struct arrival *arrival, struct err *e)
{
	json_auto_t *message = NULL, *answer = NULL;
	int r = wire_read(&arrival->wire, PEERS_SILENCE_MS, &message, e);

	if (r)
		return r;
	answer = questions_answer(arrival->agent, arrival->id, message);
	return answer ? wire_write(&arrival->wire, answer, PEERS_SILENCE_MS, e)
		      : err_set(e, -ENOMEM, "out of memory");
}

static void *arrival_run(void *arg)
{
	struct arrival *arrival = arg;
	struct agent *a = arrival->agent;
	struct err e;
	int r = introduce(arrival, &e);

	while (!r)
		r = answer_one(arrival, &e);
	pthread_mutex_lock(&a->lock);
	/* That one of those that are known goes is seen by whoever dials it. */
	if (r != -ECANCELED && r != -EALREADY && !(arrival->peer && r == -ENOTCONN) &&
	    pace_allows(&a->peers->pace, PEERS_LINES_PER_SECOND))
		log_warn("an agent at %s was sent away: %s", arrival->address, e.text);
	if (arrival->peer)
		arrival->peer->accepted--;
	arrival->done = true;
	peers_wake(a->peers);
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* Of many that say nothing the oldest makes room.  With the lock. */
static bool has_room(struct peers *peers)
{
	struct arrival *arrival;

	if (peers->naccepted < ARRIVALS_MAX)
		return true;
	list_for_each (arrival, &peers->accepted, node)
		if (!arrival->peer && !arrival->done) {
			shutdown(arrival->wire.ch.fd, SHUT_RDWR);
			break;
		}
	return false;
}

/* With the lock. */
static void arrive(struct agent *a, struct channel *ch, const char *address)
{
	struct peers *peers = a->peers;
	struct arrival *arrival = has_room(peers) ? calloc(1, sizeof(*arrival)) : NULL;

	if (!arrival) {
		channel_close(ch);
		return;
	}
	arrival->agent = a;
	arrival->wire.ch = *ch;
	arrival->wire.ch.cancel_fd = peers->end_fd;
	snprintf(arrival->address, sizeof(arrival->address), "%s", address);
	if (thread_new(&arrival->thread, "peer-answers", SANDBOX_MAIN, 0, arrival_run, arrival)) {
		channel_close(ch);
		free(arrival);
		return;
	}
	list_append(&peers->accepted, &arrival->node);
	peers->naccepted++;
}

/* With the lock, which is left meanwhile: joins those that are done, or all. */
static void reap(struct agent *a, bool all)
{
	struct peers *peers = a->peers;
	struct list *node = peers->accepted.next;

	while (node != &peers->accepted) {
		struct arrival *arrival = list_item(node, struct arrival, node);

		node = node->next;
		if (!arrival->done && !all)
			continue;
		list_remove(&arrival->node);
		peers->naccepted--;
		pthread_mutex_unlock(&a->lock);
		pthread_join(arrival->thread, NULL);
		wire_close(&arrival->wire);
		free(arrival);
		pthread_mutex_lock(&a->lock);
	}
}

static void start_dialling(struct agent *a)
{
	struct peer *p;

	list_for_each (p, &a->peers->known, node)
		if (!p->dials && !p->twin)
			p->dials = !thread_new(&p->thread, "peer-dials", SANDBOX_MAIN, 0,
					       peers_dial_run, p);
}

static void note_lost(struct agent *a)
{
	struct peer *p;

	list_for_each (p, &a->peers->known, node) {
		if (!p->heard || peer_is_heard(a, p))
			continue;
		p->heard = false;
		agent_say(a, "peer-lost", p->id,
			  "nothing was heard of its agent for three intervals");
		orders_lost(a, p->id);
		peers_tell(a);
	}
}

static void note_planner(struct agent *a)
{
	struct peers *peers = a->peers;
	struct election election;
	const char *planner;

	peers_election(a, &election);
	planner = election.planner ? election.planner : "";
	if (peers->planner_told && !strcmp(planner, peers->planner))
		return;
	snprintf(peers->planner, sizeof(peers->planner), "%s", planner);
	peers->planner_told = true;
	if (*planner)
		agent_say(a, "planner", planner, "it plans for all hosts");
	else
		agent_say(a, "planner", a->options->id, "%s", election.why);
	/* Nobody may have planned for a while. */
	if (!strcmp(planner, a->options->id))
		pulse_now(a->rounds);
}

/* Until there is a connection or something else to do; without the lock. */
static int wait_for_one(struct agent *a, struct channel *ch, char *address, double interval_s,
			struct err *e)
{
	eventfd_t count;
	int r;

	*ch = (struct channel){ .fd = -1,
				.cancel_fd = a->peers->wake_fd,
				.silence_ms = (unsigned)(interval_s * MS_PER_S) };
	r = tcp_accept(a->peers->listen_fd, ch, address, TCP_URL_MAX, e);
	if (r == -ECANCELED)
		eventfd_read(a->peers->wake_fd, &count);
	return r;
}

/* No more files, say: what there is of them may be closed by then. */
static void cannot_accept(struct agent *a, const struct err *e)
{
	struct channel ends = { .fd = a->peers->end_fd, .cancel_fd = -1, .silence_ms = REST_MS };
	struct err unused;
	uint64_t count;
	size_t done;

	log_warn("%s", e->text);
	channel_read_some(&ends, &count, sizeof(count), &done, &unused);
}

void *peers_accept_run(void *arg)
{
	struct agent *a = arg;
	struct peers *peers = a->peers;
	struct peer *p;

	pthread_mutex_lock(&a->lock);
	while (!peers->ends) {
		double interval_s = peers_interval_s(a);
		char address[TCP_URL_MAX];
		struct channel ch;
		struct err e;
		int r;

		reap(a, false);
		start_dialling(a);
		note_lost(a);
		note_planner(a);
		pthread_mutex_unlock(&a->lock);
		r = wait_for_one(a, &ch, address, interval_s, &e);
		if (r && r != -ECANCELED && r != -ENOTCONN)
			cannot_accept(a, &e);
		pthread_mutex_lock(&a->lock);
		if (!r)
			arrive(a, &ch, address);
	}
	reap(a, true);
	pthread_mutex_unlock(&a->lock);
	/* Nobody adds to them any more. */
	list_for_each (p, &peers->known, node)
		if (p->dials)
			pthread_join(p->thread, NULL);
	return NULL;
}
