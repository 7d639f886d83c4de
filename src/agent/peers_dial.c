/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of a peer: it connects, tells this host's state, and connects again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "peers_internal.h"
#include "peers_state.h"

enum { NS_PER_S = 1000000000, AGAIN_MIN_S = 1, AGAIN_MAX_S = 10 };

/* No lock needed. */
static int greet(struct wire *w, const struct agent *a, struct hello *hello, struct err *e)
{
	json_auto_t *mine = hello_message(a), *theirs = NULL;
	const char *why;
	int r = mine ? wire_write(w, mine, PEERS_HELLO_MS, e)
		     : err_set(e, -ENOMEM, "out of memory");

	r = r ? r : wire_read(w, PEERS_HELLO_MS, &theirs, e);
	if (r)
		return r;
	why = json_string_value(json_object_get(json_object_get(theirs, "refused"), "why"));
	if (why)
		return err_set(e, -EREMOTEIO, "it refuses: %s", peer_sentence(why));
	return hello_read(theirs, hello, e);
}

/* No lock needed. */
static int reach(struct wire *w, const struct agent *a, const char *address, struct hello *hello,
		 struct err *e)
{
	const struct peers *peers = a->peers;
	char url[TCP_URL_MAX], host[TCP_HOST_MAX];
	int r;

	snprintf(url, sizeof(url), "tcp:%s", address);
	w->ch.cancel_fd = peers->end_fd;
	w->ch.silence_ms = PEERS_HELLO_MS;
	if (!peers->tls && !tcp_is_loopback(url))
		return err_set(e, -EINVAL,
			       "it is another host, and nothing protects what goes there; give "
			       "certificates (--tls DIR)");
	r = tcp_connect(url, &w->ch, e);
	r = r ? r : tcp_host(url, host, e);
	if (!r && peers->tls)
		r = tls_client(&w->ch, peers->tls, host, e);
	return r ? r : greet(w, a, hello, e);
}

/* Said once, until it is another reason. */
static void say_why(struct peer *p, const char *why)
{
	if (strcmp(p->why, why))
		log_warn("no agent is reached at %s: %s", p->address, why);
	snprintf(p->why, sizeof(p->why), "%s", why);
}

static int connect_peer(struct peer *p, struct err *e)
{
	struct agent *a = p->agent;
	struct wire w = { .ch = channel_of(-1) };
	char address[PEER_ADDRESS_MAX];
	struct hello hello;
	int r;

	strcpy(address, p->address);
	p->now = false;
	pthread_mutex_unlock(&a->lock);
	r = reach(&w, a, address, &hello, e);
	pthread_mutex_lock(&a->lock);
	r = r ? r : hello_meet_dialled(p, &hello, e);
	if (r) {
		wire_close(&w);
		return r;
	}
	log_info("the agent of %s is reached at %s", p->id, address);
	p->why[0] = '\0';
	p->wire = w;
	p->up = true;
	return 0;
}

/* With the lock, which is left meanwhile. */
static void wait_until(const struct peer *p, uint64_t ns)
{
	const struct timespec until = { .tv_sec = (time_t)(ns / NS_PER_S),
					.tv_nsec = (long)(ns % NS_PER_S) };

	pthread_cond_timedwait(&p->agent->peers->changed, &p->agent->lock, &until);
}

static void tell_state(struct peer *p)
{
	json_auto_t *message = peers_state_message(p->agent), *answer = NULL;
	struct err e;
	int r;

	p->told = p->agent->peers->news;
	r = message ? peer_ask(p, message, &answer, PEERS_HELLO_MS, &e)
		    : err_set(&e, -ENOMEM, "out of memory");
	if (r == -EREMOTEIO && pace_allows(&p->pace, 1))
		log_warn("the agent of %s refuses the state of this host: %s", p->id, e.text);
	else if (r == -ENOTCONN && !p->agent->peers->ends)
		say_why(p, e.text);
}

/* As long as it is connected. */
static void stay(struct peer *p)
{
	struct peers *peers = p->agent->peers;
	uint64_t due_ns = 0;

	while (p->up && !peers->ends) {
		if (p->told != peers->news || loop_now_ns() >= due_ns) {
			due_ns = loop_now_ns() + (uint64_t)(peers_interval_s(p->agent) * NS_PER_S);
			tell_state(p);
		} else {
			wait_until(p, due_ns);
		}
	}
	p->up = false;
	while (p->busy)
		pthread_cond_wait(&peers->changed, &p->agent->lock);
	wire_close(&p->wire);
}

/* With the lock. */
static void rest(struct peer *p, unsigned seconds)
{
	uint64_t end_ns = loop_now_ns() + (uint64_t)seconds * NS_PER_S;

	while (!p->agent->peers->ends && !p->now && loop_now_ns() < end_ns)
		wait_until(p, end_ns);
}

void *peers_dial_run(void *arg)
{
	struct peer *p = arg;
	struct peers *peers = p->agent->peers;
	unsigned again_s = AGAIN_MIN_S;
	struct err e;

	pthread_mutex_lock(&p->agent->lock);
	while (!peers->ends && !p->twin) {
		int r = connect_peer(p, &e);

		if (!r) {
			stay(p);
			again_s = AGAIN_MIN_S;
		} else if (r != -ECANCELED && r != -EALREADY) {
			say_why(p, e.text);
		}
		if (!p->twin)
			rest(p, again_s);
		again_s = MIN(2 * again_s, (unsigned)AGAIN_MAX_S);
	}
	pthread_mutex_unlock(&p->agent->lock);
	return NULL;
}
