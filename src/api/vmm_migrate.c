/* SPDX-License-Identifier: Apache-2.0 */
/* Live migration as those see it who ask for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "config.h"
#include "log.h"
#include "machine.h"
#include "migration_asks.h"

void vmm_migration_free(struct vmm *v)
{
	struct vmm_migration *g = TAKE(v->migration);

	if (!g)
		return;
	migration_asks_close(g);
	migration_free(g->m);
	loop_unpost(v->hooks.loop, &g->over);
	json_decref(g->request);
	json_decref(g->overrides);
	migration_asks_free(g);
	free(g);
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

	migration_take_time_lost(g);
	g->active = false;
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
	v->stuck = !machine_free(TAKE(v->machine));
	vmm_drop_config(v);
	finish(v->migration);
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

void vmm_call_migration_off(struct vmm *v)
{
	migration_cancel(v->migration->m);
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

/* Of the last one nothing is left but how it ended. */
static int new_migration(struct vmm *v, bool incoming, struct err *e)
{
	struct vmm_migration *g = calloc(1, sizeof(*g));

	if (!g)
		return err_set(e, -ENOMEM, "out of memory");
	vmm_migration_free(v);
	g->vmm = v;
	g->incoming = incoming;
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
	tell(v->migration, v->migration->incoming ? "ready" : "started", NULL);
	if (!wait) {
		vmm_finish(v, VMM_OK);
		return;
	}
	v->migration->waits = q;
	vmm_release(v);
}

static const char *const strategies[] = { "Cancel", "Ignore", NULL };

struct send_options {
	const char *destination_url, *tls_dir;
	uint32_t downtime_ms, timeout_s, connections;
	uint64_t bandwidth_limit;
	unsigned timeout_strategy;
	bool wait;
};

static const struct option send_keys[] = {
	OPTION(struct send_options, destination_url, .required = true),
	OPTION(struct send_options, tls_dir),
	OPTION(struct send_options, downtime_ms, .fallback = "50", .min = 1, .max = 60000),
	OPTION(struct send_options, timeout_s, .fallback = "3600", .min = 1, .max = 86400),
	OPTION_NAMED(struct send_options, timeout_strategy, strategies, .fallback = "Cancel"),
	OPTION(struct send_options, connections, .max = MIGRATION_STREAMS_MAX),
	OPTION_SIZED(struct send_options, bandwidth_limit, .fallback = "0"),
	OPTION(struct send_options, wait, .fallback = "off"),
	OPTION_REFUSE("local", .fallback = "off"),
	OPTION_REFUSE("memory_mode", .fallback = "Precopy"),
};
static const struct option_table send_table = OPTION_TABLE(send_keys);

static struct migration_goals goals_of(const struct send_options *o)
{
	return (struct migration_goals){ .blackout_ms = o->downtime_ms,
					 .deadline_s = o->timeout_s,
					 .bandwidth = o->bandwidth_limit,
					 .late = o->timeout_strategy == 1 };
}

static int send(struct vmm *v, const json_t *request, const struct send_options *o, struct err *e)
{
	CLEANUP(free) char *text = json_dumps(v->config.json, JSON_COMPACT);
	struct migration_config c = { .url = o->destination_url,
				      .tls_dir = o->tls_dir,
				      .vm = machine_vm(v->machine),
				      .vm_config = text,
				      .uuid = v->config.uuid,
				      .paused = machine_is_paused(v->machine),
				      .streams = o->connections,
				      .goals = goals_of(o) };
	int r;

	if (machine_is_changing(v->machine))
		return err_set(e, -EBUSY,
			       "a device of the VM is being removed or resized; migrate it when "
			       "that is done");
	r = new_migration(v, false, e);
	if (r)
		return r;
	v->migration->paused_before = c.paused;
	if (!text)
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
	int r = new_migration(v, true, e);

	if (r)
		return r;
	v->migration->overrides = json_incref(json_object_get(q->in, "config"));
	c.control = migration_asks(v->migration);
	c.control.over = over;
	return migration_receive(&v->migration->m, &c, e);
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
		vmm_call_migration_off(v);
	else
		vmm_refuse_idle(q);
}

void vmm_set_migration_parameters(struct vmm *v, struct vmm_request *q)
{
	struct send_options o = { .destination_url = NULL };
	const bool is_under_way = vmm_is_migrating(v) && v->migration->request;
	json_auto_t *request = is_under_way ? json_copy(v->migration->request)
					    : json_pack("{s:s}", "destination_url", "none");
	struct migration_goals goals;

	json_object_update(request, (json_t *)q->in);
	if (option_load(&send_table, "vm.set-migration-parameters", request, &o, &q->e)) {
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
		migration_take_time_lost(v->migration);
		q->out = migration_progress(v->migration->m);
		return;
	}
	q->fault = VMM_NO_VM;
	err_set(&q->e, 0, "there was no migration yet");
}
