/* SPDX-License-Identifier: Apache-2.0 */
/* Which agents are known, and what is asked of them. */
#include "peers_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "cleanup.h"
#include "log.h"
#include "peers_state.h"
#include "planner/names.h"
#include "record.h"
#include "thread.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

static const char file[] = "peers.json";

struct peer *peer_of(const struct peers *peers, const char *id)
{
	struct peer *p;

	list_for_each (p, &peers->known, node)
		if (!p->twin && *p->id && !strcmp(p->id, id))
			return p;
	return NULL;
}

/* Known by its address alone. */
static struct peer *unnamed(const struct peers *peers, const char *address)
{
	struct peer *p;

	list_for_each (p, &peers->known, node)
		if (!p->twin && !*p->id && !strcmp(p->address, address))
			return p;
	return NULL;
}

static struct peer *add(struct agent *a, const char *id, const char *address)
{
	struct peers *peers = a->peers;
	struct peer *p = peers->nknown < PEERS_MAX ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	p->agent = a;
	p->wire.ch = channel_of(-1);
	snprintf(p->id, sizeof(p->id), "%s", id);
	snprintf(p->address, sizeof(p->address), "%s", address);
	list_append(&peers->known, &p->node);
	peers->nknown++;
	peers_wake(peers);
	return p;
}

struct peer *peer_know(struct agent *a, const char *id, const char *address)
{
	struct peer *p = unnamed(a->peers, address);

	if (p)
		snprintf(p->id, sizeof(p->id), "%s", id);
	else
		p = add(a, id, address);
	if (p) {
		agent_say(a, "peer-known", id, "its agent is at %s", address);
		peers_keep(a);
		peers_tell(a);
	}
	return p;
}

void peers_keep(const struct agent *a)
{
	json_auto_t *known = json_object();
	const struct peer *p;
	int r;

	list_for_each (p, &a->peers->known, node)
		if (*p->id && !p->twin)
			json_object_set_new(known, p->id, json_string(p->address));
	r = record_write(a->store, file, 0600, known);
	if (r)
		log_error("the agent's %s cannot be written: %s", file, strerror(-r));
}

void peers_wake(struct peers *peers)
{
	pthread_cond_broadcast(&peers->changed);
	eventfd_write(peers->wake_fd, 1);
}

void peers_tell(struct agent *a)
{
	a->peers->news++;
	peers_wake(a->peers);
}

static int read_kept(struct agent *a, struct err *e)
{
	json_auto_t *kept = NULL;
	int r = record_read(a->store, file, &kept);
	const char *id, *address;
	json_t *value;

	if (r && r != -ENOENT)
		return err_set(e, r, "the agent's %s is damaged; remove it to begin anew", file);
	json_object_foreach(kept, id, value)
	{
		address = json_string_value(value);
		if (name_is_valid(id) && peer_address_is_valid(address) &&
		    strcmp(id, a->options->id) && !peer_of(a->peers, id))
			add(a, id, address);
	}
	return 0;
}

/* One of --peers; one that is kept, too, has a name. */
static int add_given(struct agent *a, const char *address, struct err *e)
{
	struct peer *p;

	if (!peer_address_is_valid(address))
		return err_set(e, -EINVAL,
			       "\"%.128s\" in --peers is no address; write HOST:PORT,HOST:PORT",
			       address);
	if (!strcmp(address, a->peers->listen)) /* the same list may be for all hosts */
		return 0;
	list_for_each (p, &a->peers->known, node)
		if (!strcmp(p->address, address)) {
			p->given = true;
			return 0;
		}
	p = add(a, "", address);
	if (!p)
		return err_set(e, -EINVAL, "there are more than %d addresses in --peers",
			       PEERS_MAX);
	p->given = true;
	return 0;
}

static int read_given(struct agent *a, struct err *e)
{
	CLEANUP(free) char *list = strdup(a->options->peers);
	char *rest = NULL;
	int r = list ? 0 : err_set(e, -ENOMEM, "out of memory");

	for (char *one = r ? NULL : strtok_r(list, ",", &rest); !r && one;
	     one = strtok_r(NULL, ",", &rest))
		r = add_given(a, one, e);
	return r;
}

/* What others are told to dial: the port that is bound, at a host that they can find. */
static int tell_address(struct agent *a, const char *bound, struct err *e)
{
	char *listen = a->peers->listen, host[TCP_HOST_MAX];
	const char *given = a->options->address;
	int r = tcp_host(bound, host, e), n;

	if (r)
		return r;
	if (!*given && (!strcmp(host, "0.0.0.0") || !strcmp(host, "::")))
		return err_set(e, -EINVAL,
			       "%s is no address that other agents could dial; say one with "
			       "--address",
			       bound);
	if (*given)
		n = snprintf(listen, PEER_ADDRESS_MAX, strchr(given, ':') ? "[%s]%s" : "%s%s",
			     given, strrchr(bound, ':'));
	else
		n = snprintf(listen, PEER_ADDRESS_MAX, "%s", bound + strlen("tcp:"));
	if (n >= PEER_ADDRESS_MAX || !peer_address_is_valid(listen))
		return err_set(e, -EINVAL, "\"%.128s\" is no address", given);
	return 0;
}

static int listen_for_others(struct agent *a, struct err *e)
{
	const struct agent_options *o = a->options;
	struct peers *peers = a->peers;
	char bound[TCP_URL_MAX];
	int r = 0;

	if (o->tls)
		r = tls_credentials_read(&peers->tls, o->tls, e);
	if (!r && o->tls)
		r = tls_credentials_check(peers->tls, TLS_SERVER, e);
	if (!r && o->tls)
		r = tls_credentials_check(peers->tls, TLS_CLIENT, e);
	if (!r && !o->tls && !tcp_is_loopback(o->listen))
		r = err_set(e, -EINVAL,
			    "%s can be reached from other hosts, and nothing protects what comes "
			    "in there; give certificates (--tls DIR)",
			    o->listen);
	r = r ? r : tcp_listen(o->listen, &peers->listen_fd, bound, sizeof(bound), e);
	r = r ? r : tell_address(a, bound, e);
	r = r ? r : read_kept(a, e);
	if (!r && o->peers)
		r = read_given(a, e);
	if (r)
		return r;
	r = thread_new(&peers->thread, "peers", SANDBOX_MAIN, 0, peers_accept_run, a);
	if (r)
		return err_set(e, r, "a thread cannot be started: %s", strerror(-r));
	peers->runs = true;
	log_info("other agents reach this one at %s", peers->listen);
	return 0;
}

int peers_new(struct agent *a, struct err *e)
{
	struct peers *peers = calloc(1, sizeof(*peers));
	pthread_condattr_t monotonic;
	int r;

	if (!peers)
		return err_set(e, -ENOMEM, "out of memory");
	a->peers = peers;
	list_init(&peers->known);
	list_init(&peers->accepted);
	peers->listen_fd = -1;
	peers->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	peers->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&peers->changed, &monotonic);
	if (peers->end_fd < 0 || peers->wake_fd < 0)
		return err_set(e, -errno, "no eventfd: %s", strerror(errno));
	r = uuid_new(peers->run, e);
	if (!r && a->options->listen)
		return listen_for_others(a, e);
	if (!r && a->options->peers)
		return err_set(e, -EINVAL,
			       "agents of other hosts have to reach this one, too; say where it "
			       "listens (--listen tcp:HOST:PORT)");
	return r;
}

void peers_stop(struct agent *a)
{
	struct peers *peers = a->peers;

	if (!peers)
		return;
	pthread_mutex_lock(&a->lock);
	peers->ends = true;
	eventfd_write(peers->end_fd, 1);
	peers_wake(peers);
	pthread_mutex_unlock(&a->lock);
	if (peers->runs)
		pthread_join(peers->thread, NULL);
	peers->runs = false;
}

void peers_free(struct agent *a)
{
	struct peers *peers = a->peers;

	if (!peers)
		return;
	while (!list_empty(&peers->known)) {
		struct peer *p = list_item(peers->known.next, struct peer, node);

		list_remove(&p->node);
		json_decref(p->state);
		free(p);
	}
	tls_credentials_free(peers->tls);
	cleanup_fd(&peers->listen_fd);
	cleanup_fd(&peers->end_fd);
	cleanup_fd(&peers->wake_fd);
	pthread_cond_destroy(&peers->changed);
	free(peers);
	a->peers = NULL;
}

/* What it answered. */
static int read_answer(const json_t *message, json_t **answer, struct err *e)
{
	const json_t *refused = json_object_get(message, "refused");
	const char *why = json_string_value(json_object_get(refused, "why"));
	json_t *ok = json_object_get(message, "ok");

	if (json_is_object(ok)) {
		*answer = json_incref(ok);
		return 0;
	}
	if (!refused)
		return err_set(e, -EPROTO, "it does not answer as agents do");
	return err_set(e, -EREMOTEIO, "%s", peer_sentence(why));
}

/* Whose turn it is has the wire; false: it is not up, or it was too long until then. */
static bool take_turn(struct peer *p, uint64_t end_ns)
{
	const struct timespec until = { .tv_sec = (time_t)(end_ns / NS_PER_S),
					.tv_nsec = (long)(end_ns % NS_PER_S) };
	struct peers *peers = p->agent->peers;

	while (p->up && p->busy && !peers->ends)
		if (pthread_cond_timedwait(&peers->changed, &p->agent->lock, &until))
			return false;
	if (!p->up || peers->ends)
		return false;
	p->busy = true;
	return true;
}

static unsigned left_ms(uint64_t end_ns)
{
	uint64_t now_ns = loop_now_ns();

	return now_ns < end_ns ? (unsigned)((end_ns - now_ns) / NS_PER_MS) + 1 : 1;
}

int peer_ask(struct peer *p, const json_t *question, json_t **answer, unsigned limit_ms,
	     struct err *e)
{
	uint64_t end_ns = loop_now_ns() + (uint64_t)limit_ms * NS_PER_MS;
	json_auto_t *message = NULL;
	int r;

	if (!take_turn(p, end_ns))
		return err_set(e, -ENOTCONN, "the agent of %s is not reached", p->id);
	pthread_mutex_unlock(&p->agent->lock);
	r = wire_write(&p->wire, question, left_ms(end_ns), e);
	r = r ? r : wire_read(&p->wire, left_ms(end_ns), &message, e);
	r = r ? r : read_answer(message, answer, e);
	pthread_mutex_lock(&p->agent->lock);
	p->busy = false;
	/* What it may still answer would be taken for the answer to something else. */
	if (r && r != -EREMOTEIO) {
		p->up = false;
		r = -ENOTCONN;
	}
	pthread_cond_broadcast(&p->agent->peers->changed);
	return r;
}

int peers_ask(struct agent *a, const char *id, const json_t *question, json_t **answer,
	      unsigned limit_ms, struct err *e)
{
	struct peer *p;
	int r;

	pthread_mutex_lock(&a->lock);
	p = peer_of(a->peers, id);
	r = p ? peer_ask(p, question, answer, limit_ms, e)
	      : err_set(e, -ENOTCONN, "no agent of %s is known", id);
	pthread_mutex_unlock(&a->lock);
	return r;
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(struct peer *const *)a)->id, (*(struct peer *const *)b)->id);
}

/* Those with an id, in order; room for PEERS_MAX. */
static size_t sorted(const struct peers *peers, struct peer **list)
{
	struct peer *p;
	size_t n = 0;

	list_for_each (p, &peers->known, node)
		if (*p->id && !p->twin)
			list[n++] = p;
	qsort(list, n, sizeof(*list), by_id);
	return n;
}

void peers_each(const struct agent *a, void (*each)(void *arg, const struct peer_view *), void *arg)
{
	struct peer *list[PEERS_MAX];
	size_t n = sorted(a->peers, list);

	for (size_t i = 0; i < n; i++)
		each(arg, &(struct peer_view){ .id = list[i]->id,
					       .heard = peer_is_heard(a, list[i]),
					       .state = list[i]->state });
}

static bool in_maintenance(const struct agent *a, const char *id)
{
	return !strcmp(settings_host(&a->settings, id), "maintenance");
}

void peers_election(const struct agent *a, struct election *election)
{
	struct election_host host[PEERS_MAX + 1];
	struct peer *list[PEERS_MAX];
	size_t n = sorted(a->peers, list);
	const char *unmet = NULL;
	const struct peer *p;

	list_for_each (p, &a->peers->known, node)
		if (!*p->id && !p->twin)
			unmet = p->address;
	host[0] = (struct election_host){ .id = a->options->id,
					  .maintenance = in_maintenance(a, a->options->id),
					  .fresh = true };
	for (size_t i = 0; i < n; i++)
		host[i + 1] = (struct election_host){
			.id = list[i]->id,
			.maintenance = in_maintenance(a, list[i]->id),
			.fresh = peer_is_heard(a, list[i]),
			.hears = json_object_get(list[i]->state, "hears"),
		};
	election_hold(election, host, n + 1, unmet);
}

bool peers_know(const struct agent *a, const char *id)
{
	return !strcmp(id, a->options->id) || peer_of(a->peers, id);
}
