/* SPDX-License-Identifier: Apache-2.0 */
/* Live migration as those see it who ask for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "machine.h"
#include "migration_asks.h"
#include "vmm_compat.h"

enum { CALL_OFF_S = 5 }; /* before whoever ends the VM waits no longer for records */

static bool free_one(struct vmm *v, struct vmm_migration **which)
{
	struct vmm_migration *g = *which;

	if (!g)
		return true;
	migration_asks_close(g);
	if (!migration_free(g->m))
		return false;
	*which = NULL;
	loop_unpost(v->hooks.loop, &g->over);
	loop_timer_cancel(v->hooks.loop, &g->limit);
	json_decref(g->request);
	json_decref(g->overrides);
	migration_asks_free(g);
	free(g);
	return true;
}

bool vmm_migration_free(struct vmm *v)
{
	return free_one(v, &v->migration) && free_one(v, &v->came);
}

int vmm_leave_migration(struct vmm *v, struct err *e)
{
	int r;

	if (!v->migration || !v->migration->m)
		return 0;
	migration_asks_close(v->migration);
	r = migration_leave(v->migration->m, e);
	vmm_note_migration(v->migration, !r, r ? e->text : NULL);
	return r;
}

/* why: NULL if all is well. */
static void tell(struct vmm_migration *g, const char *what, const char *why)
{
	char event[64];

	snprintf(event, sizeof(event), "migration-%s%s", g->incoming ? "receive-" : "", what);
	events_add(g->vmm->hooks.events, "vm", event,
		   json_pack("{s:s, s:s*}", "url", migration_url(g->m), "error", why));
}

/* Whoever waits for the end hears of it. */
static void finish(struct vmm_migration *g)
{
	struct vmm_request *q = TAKE(g->waits);
	struct vmm *v = g->vmm;
	bool leave = g->end == MIGRATION_MOVED && !g->incoming;
	const uint64_t rate = migration_rate(g->m);

	if (rate)
		v->signals.link_rate = rate;
	migration_asks_look(g);
	loop_timer_cancel(v->hooks.loop, &g->limit);
	g->active = false;
	if (v->machine && !leave)
		machine_limit_cpus(v->machine, true);
	if (!v->config.json)
		vmdir_free(&v->dir);
	vmm_note_migration(g, true, g->why);
	tell(g, g->end == MIGRATION_MOVED ? "finished" : "failed", g->why[0] ? g->why : NULL);
	loop_post(v->hooks.loop, &v->next);
	if (leave)
		vmm_tell_ports(v, migration_url(g->m));
	if (leave)
		log_info("VM \"%s\" runs at %s now", v->config.name, migration_url(g->m));
	if (q) {
		q->ends_process = leave;
		q->fault = g->end == MIGRATION_MOVED ? VMM_OK : VMM_FAILED;
		snprintf(q->e.text, sizeof(q->e.text), "%s", g->why);
		q->out = q->fault || g->incoming ? NULL : migration_progress(g->m);
		q->done(q);
	} else if (leave) {
		vmm_over(v, 0, NULL);
	}
}

static void discard_between(struct vmm *v)
{
	const bool stopped = vmm_free_machine(v);

	if (stopped)
		vmm_drop_config(v);
	finish(v->migration);
	if (!stopped)
		vmm_over(v, 1, VMM_STUCK);
}

static void over_on_main(void *arg)
{
	struct vmm_migration *g = arg;

	if (g->incoming && g->end != MIGRATION_MOVED && g->vmm->config.json)
		vmm_between(g->vmm, discard_between);
	else
		finish(g);
}

static void over(void *arg, enum migration_end end, const char *why)
{
	struct vmm_migration *g = arg;

	g->end = end;
	snprintf(g->why, sizeof(g->why), "%s", why ? why : "");
	loop_post(g->vmm->hooks.loop, &g->over);
}

bool vmm_is_migrating(const struct vmm *v)
{
	return v->migration && v->migration->active;
}

/* What is to end the VM has waited for its end: now the process goes as well. */
static void give_up(void *arg)
{
	struct vmm_migration *g = arg;
	struct vmm *v = g->vmm;
	struct vmm_request *q = list_item(v->waiting.next, struct vmm_request, node);

	if (!vmm_leave_migration(v, &q->e))
		return;
	list_remove(&q->node);
	q->fault = VMM_FAILED;
	q->ends_process = true;
	q->done(q);
}

void vmm_call_migration_off(struct vmm *v)
{
	struct vmm_migration *g = v->migration;

	migration_cancel(g->m);
	if (!g->limit.expired) {
		g->limit = (struct timer){ .expired = give_up, .arg = g };
		loop_timer_set(v->hooks.loop, &g->limit,
			       loop_now_ns() + CALL_OFF_S * UINT64_C(1000000000));
	}
}

struct migration *vmm_migration(const struct vmm *v)
{
	return vmm_is_migrating(v) ? v->migration->m : NULL;
}

bool vmm_migration_holds(const struct vmm *v)
{
	return v->migration->incoming || v->migration->holds;
}

void vmm_migration_lost_vm(struct vmm *v)
{
	if (!vmm_is_migrating(v))
		return;
	migration_asks_close(v->migration);
	migration_cancel(v->migration->m);
}

/* Of the last one nothing is left but how it ended; the one that brought the VM goes on answering
 * while the VM is moved on. */
static bool make_room(struct vmm *v, bool incoming)
{
	const struct vmm_migration *last = v->migration;

	if (incoming || !last || !last->m || !last->incoming || last->end != MIGRATION_MOVED)
		return free_one(v, &v->migration) && (!incoming || free_one(v, &v->came));
	if (!free_one(v, &v->came))
		return false;
	v->came = TAKE(v->migration);
	migration_move_on(v->came->m);
	return true;
}

static int new_migration(struct vmm *v, bool incoming, struct err *e)
{
	struct vmm_migration *g = calloc(1, sizeof(*g));

	if (!g)
		return err_set(e, -ENOMEM, "out of memory");
	if (!make_room(v, incoming)) {
		free(g);
		return err_set(e, -EBUSY,
			       "the last migration is still at work on a file of this host");
	}
	g->vmm = v;
	g->incoming = incoming;
	g->began_ns = loop_now_ns();
	g->over = (struct work){ .run = over_on_main, .arg = g };
	migration_asks_init(g);
	v->migration = g;
	return 0;
}

/* q is answered at once, or at the end. */
static void begun(struct vmm *v, struct vmm_request *q, int r, bool wait)
{
	if (r) {
		vmm_finish(v, r == -EINVAL ? VMM_INVALID : VMM_FAILED);
		return;
	}
	v->migration->active = true;
	if (v->machine) /* what moves it shares no quota with it */
		machine_limit_cpus(v->machine, false);
	tell(v->migration, v->migration->incoming ? "ready" : "started", NULL);
	if (!wait) {
		vmm_finish(v, VMM_OK);
		return;
	}
	v->migration->waits = q;
	vmm_release(v);
}

static const char *const strategies[] = { "Cancel", "Ignore", NULL };

static const char *const compressors[] = { "auto", "none", "lz4", "zstd", NULL };

struct send_options {
	const char *destination_url, *tls_dir;
	uint32_t downtime_ms, timeout_s, connections;
	uint64_t bandwidth_limit;
	unsigned timeout_strategy, compress;
	bool wait;
};

enum { GOALS = 6 };

static const struct option send_keys[] = {
	/* The goals, which may change. */
	OPTION(struct send_options, downtime_ms, .fallback = "50", .min = 1, .max = 60000),
	OPTION(struct send_options, timeout_s, .fallback = "3600", .min = 1, .max = 86400),
	OPTION_NAMED(struct send_options, timeout_strategy, strategies, .fallback = "Cancel"),
	OPTION_SIZED(struct send_options, bandwidth_limit, .fallback = "0"),
	OPTION_NAMED(struct send_options, compress, compressors, .fallback = "auto"),
	OPTION(struct send_options, connections, .max = MIGRATION_STREAMS_MAX),
	/* What stays. */
	OPTION(struct send_options, destination_url, .required = true),
	OPTION(struct send_options, tls_dir),
	OPTION(struct send_options, wait, .fallback = "off"),
	OPTION_REFUSE("local", .fallback = "off"),
	OPTION_REFUSE("memory_mode", .fallback = "Precopy"),
};
static const struct option_table send_table = OPTION_TABLE(send_keys);
static const struct option_table goal_table = { .option = send_keys, .n = GOALS };

static struct migration_goals goals_of(const struct send_options *o)
{
	return (struct migration_goals){ .blackout_ms = o->downtime_ms,
					 .deadline_s = o->timeout_s,
					 .bandwidth = o->bandwidth_limit,
					 .streams = o->connections,
					 .compress = o->compress,
					 .late = o->timeout_strategy == 1 };
}

int vmm_load_send(const char *what, const json_t *in, struct migration_config *c, struct err *e)
{
	struct send_options o = { .destination_url = NULL };
	int r = option_load(&send_table, what, in, &o, e);

	*c = (struct migration_config){ .url = o.destination_url,
					.tls_dir = o.tls_dir,
					.goals = goals_of(&o) };
	return r;
}

static int send(struct vmm *v, const json_t *request, const struct send_options *o, struct err *e)
{
	CLEANUP(free) char *hello = vmm_hello(v);
	json_auto_t *blockers = vmm_migration_blockers(v);
	struct migration_config c = { .url = o->destination_url,
				      .tls_dir = o->tls_dir,
				      .vm = machine_vm(v->machine),
				      .vm_hello = hello,
				      .uuid = v->config.uuid,
				      .paused = machine_is_paused(v->machine),
				      .goals = goals_of(o) };
	int r;

	if (machine_is_changing(v->machine))
		return err_set(e, -EBUSY,
			       "a device of the VM is being removed or resized, or the number of "
			       "its vCPUs changes; migrate it when that is done");
	r = json_array_size(blockers) ? migration_refuse(blockers, e) : new_migration(v, false, e);
	if (r)
		return r;
	v->migration->paused_before = c.paused;
	if (!hello)
		return err_set(e, -ENOMEM, "out of memory");
	v->migration->request = option_complete(&send_table, request);
	c.control = migration_asks(v->migration);
	c.control.over = over;
	return migration_send(&v->migration->m, &c, e);
}

void vmm_send_migration(struct vmm *v, struct vmm_request *q)
{
	struct send_options o = { .destination_url = NULL };
	int r = option_load(&send_table, "vm.send-migration", q->in, &o, &q->e);

	if (r)
		vmm_finish(v, VMM_INVALID);
	else if (vmm_check_booted(v))
		begun(v, q, send(v, q->in, &o, &q->e), o.wait);
}

struct receive_options {
	const char *receiver_url, *tls_dir;
	bool plaintext;
};

static const struct option receive_keys[] = {
	OPTION(struct receive_options, receiver_url, .required = true),
	OPTION(struct receive_options, tls_dir),
	OPTION(struct receive_options, plaintext, .fallback = "off"),
	OPTION_REFUSE("memory_mode", .fallback = "Precopy"),
};
static const struct option_table receive_table = OPTION_TABLE(receive_keys);

static int receive(struct vmm *v, const struct vmm_request *q, const struct receive_options *o,
		   struct err *e)
{
	struct migration_config c = { .url = o->receiver_url,
				      .tls_dir = o->tls_dir,
				      .in_the_clear = o->plaintext };
	const char *name;
	int r = new_migration(v, true, e);

	if (r)
		return r;
	v->migration->overrides = json_incref(json_object_get(q->in, "config"));
	c.control = migration_asks(v->migration);
	c.control.over = over;
	name = json_string_value(json_object_get(v->migration->overrides, "name"));
	r = name ? config_check_name(name, e) : 0;
	if (!r && name)
		r = vmm_take_name(v, name, e);
	if (!r)
		r = migration_receive(&v->migration->m, &c, e);
	if (r)
		vmdir_free(&v->dir);
	return r;
}

void vmm_receive_migration(struct vmm *v, struct vmm_request *q)
{
	struct receive_options o = { .receiver_url = NULL };
	json_auto_t *plain = json_copy((json_t *)q->in);
	const json_t *config = json_object_get(q->in, "config");
	int r;

	json_object_del(plain, "config");
	r = option_load(&receive_table, "vm.receive-migration", plain, &o, &q->e);
	if (!r && config && !json_is_null(config) && !json_is_object(config))
		r = err_set(&q->e, -EINVAL, "config must be an object");
	if (!r && v->config.json)
		r = err_set(&q->e, -EEXIST, "there is the VM \"%s\" already; delete it first",
			    v->config.name);
	begun(v, q, r ? r : receive(v, q, &o, &q->e), true);
	if (vmm_is_migrating(v))
		log_info("waits for a migration at %s", migration_url(v->migration->m));
}

void vmm_refuse_idle(struct vmm_request *q)
{
	q->fault = VMM_NO_VM;
	err_set(&q->e, 0, "no migration is under way");
}

void vmm_cancel_migration(struct vmm *v, struct vmm_request *q)
{
	if (vmm_is_migrating(v))
		migration_cancel(v->migration->m);
	else
		vmm_refuse_idle(q);
}

void vmm_set_migration_parameters(struct vmm *v, struct vmm_request *q)
{
	static const char what[] = "vm.set-migration-parameters";
	struct send_options o = { .destination_url = NULL };
	const bool is_under_way = vmm_is_migrating(v) && v->migration->request;
	json_auto_t *request = is_under_way ? json_copy(v->migration->request)
					    : json_pack("{s:s}", "destination_url", "none");
	struct migration_goals goals;

	json_object_update(request, (json_t *)q->in);
	if (option_check_keys(&goal_table, what, q->in, &q->e) ||
	    option_load(&send_table, what, request, &o, &q->e)) {
		q->fault = VMM_INVALID;
		return;
	}
	if (!is_under_way) {
		vmm_refuse_idle(q);
		return;
	}
	goals = goals_of(&o);
	migration_set_goals(v->migration->m, &goals);
	json_decref(v->migration->request);
	v->migration->request = TAKE(request);
}

void vmm_migration_progress(struct vmm *v, struct vmm_request *q)
{
	if (v->migration && v->migration->m) {
		migration_asks_look(v->migration);
		q->out = migration_progress(v->migration->m);
		return;
	}
	q->fault = VMM_NO_VM;
	err_set(&q->e, 0, "there was no migration yet");
}

int vmm_count_migration(struct vmm *v, struct counter_readings *all)
{
	if (!v->migration || !v->migration->m)
		return 0;
	migration_asks_look(v->migration);
	return migration_count(v->migration->m, all);
}
