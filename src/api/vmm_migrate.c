/* SPDX-License-Identifier: Apache-2.0 */
/* Live migration as the monitor sees it: who asks for it, and what it asks of main. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "config.h"
#include "devices.h"
#include "log.h"
#include "machine.h"
#include "migration.h"
#include "vcpu.h"
#include "vmm_internal.h"

/* What the migration's thread asks of main, one thing at a time. */
struct ask {
	struct work work;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done; /* main has answered */
	bool closed; /* nobody answers any more */
	int result;
	struct err e;
};

struct vmm_migration {
	struct vmm *vmm;
	struct migration *m;
	struct vmm_request *waits; /* for its end; NULL: nobody */
	json_t *request; /* complete; its goals may change */
	json_t *overrides; /* of what the source's configuration says, for a destination */
	bool incoming, active;
	bool paused_before; /* when it began, and so the other side has it */
	bool holds; /* the machine: nothing of the VM moves until it is released */
	struct ask ask;
	/* Arguments of what is asked. */
	const json_t *versions;
	json_t *config;
	const struct state_buf *states;
	struct vm *vm;
	bool paused;
	unsigned throttle_percent;
	/* Written by main between stop() and saved(). */
	struct state_buf saved;
	int save_result;
	struct err save_error;
	bool is_saved;
	/* How it ended. */
	struct work over;
	enum migration_end end;
	char why[sizeof(struct err)];
};

static int ask_main(struct vmm_migration *g, void (*run)(void *arg), struct err *e)
{
	struct ask *a = &g->ask;
	int r;

	pthread_mutex_lock(&a->lock);
	a->done = false;
	if (!a->closed) {
		a->work = (struct work){ .run = run, .arg = g };
		loop_post(g->vmm->hooks.loop, &a->work);
	}
	while (!a->done && !a->closed)
		pthread_cond_wait(&a->changed, &a->lock);
	r = a->done ? a->result : -ESHUTDOWN;
	if (r)
		*e = a->e;
	if (!a->done)
		err_set(e, r, "the VM has ended");
	pthread_mutex_unlock(&a->lock);
	return r;
}

static void answer(struct vmm_migration *g, int result)
{
	pthread_mutex_lock(&g->ask.lock);
	g->ask.done = true;
	g->ask.result = result;
	pthread_cond_signal(&g->ask.changed);
	pthread_mutex_unlock(&g->ask.lock);
}

static void close_ask(struct vmm_migration *g)
{
	pthread_mutex_lock(&g->ask.lock);
	g->ask.closed = true;
	pthread_cond_signal(&g->ask.changed);
	pthread_mutex_unlock(&g->ask.lock);
}

static void release(struct vmm_migration *g)
{
	g->holds = false;
	machine_release(g->vmm->machine);
}

/* What is to come of a panic is decided here, where it was seen. */
static int check_panic(const struct vmm_migration *g, struct err *e)
{
	const struct machine *m = g->vmm->machine;

	if (!machine_has_panicked(m) && machine_is_paused(m) == g->paused_before)
		return 0;
	return err_set(e, -EIO, "the guest's kernel panicked meanwhile");
}

/* The thread sends the last pages meanwhile. */
static void has_stopped(void *arg)
{
	struct vmm_migration *g = arg;
	json_auto_t *versions = json_deep_copy(g->versions);
	int r = check_panic(g, &g->ask.e);

	if (r)
		release(g);
	answer(g, r);
	if (r)
		return;
	g->save_result = devices_save(machine_vm(g->vmm->machine), versions, &g->saved,
				      &g->save_error);
	pthread_mutex_lock(&g->ask.lock);
	g->is_saved = true;
	pthread_cond_signal(&g->ask.changed);
	pthread_mutex_unlock(&g->ask.lock);
}

static void stop_on_main(void *arg)
{
	struct vmm_migration *g = arg;

	g->holds = true;
	machine_hold(g->vmm->machine, has_stopped, g);
}

static int stop(void *arg, const json_t *versions, struct err *e)
{
	struct vmm_migration *g = arg;

	g->versions = versions;
	g->is_saved = false;
	state_buf_free(&g->saved);
	return ask_main(g, stop_on_main, e);
}

static int saved(void *arg, struct state_buf *out, struct err *e)
{
	struct vmm_migration *g = arg;
	int r;

	pthread_mutex_lock(&g->ask.lock);
	while (!g->is_saved && !g->ask.closed)
		pthread_cond_wait(&g->ask.changed, &g->ask.lock);
	r = g->is_saved ? g->save_result : -ESHUTDOWN;
	if (!r) {
		*out = g->saved;
		g->saved = (struct state_buf){ 0 };
	} else if (g->is_saved) {
		*e = g->save_error;
	} else {
		err_set(e, r, "the VM has ended");
	}
	pthread_mutex_unlock(&g->ask.lock);
	return r;
}

static void go_on_on_main(void *arg)
{
	struct vmm_migration *g = arg;

	release(g);
	answer(g, 0);
}

static void go_on(void *arg)
{
	struct err unused;

	ask_main(arg, go_on_on_main, &unused);
}

static void throttle_on_main(void *arg)
{
	struct vmm_migration *g = arg;

	if (g->vmm->machine) {
		vcpu_throttle(machine_vm(g->vmm->machine), g->throttle_percent);
		events_add(g->vmm->hooks.events, "vm", "migration-throttling",
			   json_pack("{s:i}", "percent", (int)g->throttle_percent));
	}
	answer(g, 0);
}

static void throttle(void *arg, unsigned percent)
{
	struct vmm_migration *g = arg;
	struct err unused;

	g->throttle_percent = percent;
	ask_main(g, throttle_on_main, &unused);
}

/* What its vCPUs have lost by that so far. */
static void take_throttled(struct vmm_migration *g)
{
	if (g->active && !g->incoming && g->vmm->machine)
		migration_take_throttled(g->m, machine_vm(g->vmm->machine));
}

static void build_between(struct vmm *v)
{
	struct vmm_migration *g = v->migration;
	const struct machine_hooks how = { .loaded = true, .incoming = true, .memory_fd = -1 };
	int r = vmm_build(v, &how, &g->ask.e);

	if (!r)
		g->vm = machine_vm(v->machine);
	answer(g, r);
}

/* Whoever watches the destination sees who comes. */
static void tell_arrival(struct vmm_migration *g)
{
	json_auto_t *p = migration_progress(g->m);

	events_add(g->vmm->hooks.events, "vm", "migration-receive-started",
		   json_pack("{s:O, s:O}", "peer", json_object_get(p, "peer"), "peer_identity",
			     json_object_get(p, "peer_identity")));
}

static void build_on_main(void *arg)
{
	struct vmm_migration *g = arg;
	json_auto_t *config = TAKE(g->config);
	int r = config_relocate(config, g->overrides, &g->ask.e);

	tell_arrival(g);
	if (!r && vmm_take_config(g->vmm, config, &g->ask.e))
		r = -EINVAL;
	if (r)
		answer(g, r);
	else
		vmm_between(g->vmm, build_between);
}

static int build(void *arg, json_t *config, struct vm **vm, struct err *e)
{
	struct vmm_migration *g = arg;
	int r;

	g->config = config;
	r = ask_main(g, build_on_main, e);
	if (!r)
		*vm = g->vm;
	return r;
}

static void load_on_main(void *arg)
{
	struct vmm_migration *g = arg;

	answer(g, devices_load(g->vm, g->states->data, g->states->len, &g->ask.e));
}

static int load(void *arg, const struct state_buf *states, struct err *e)
{
	struct vmm_migration *g = arg;

	g->states = states;
	return ask_main(g, load_on_main, e);
}

static void run_on_main(void *arg)
{
	struct vmm_migration *g = arg;
	struct vm_disk *d;

	/* Its locks and owner records are this host's now. */
	g->vm->incoming = false;
	list_for_each (d, &g->vm->disks, node)
		d->recorded = true;
	if (g->paused)
		machine_pause(g->vmm->machine, NULL, NULL);
	machine_start(g->vmm->machine);
	answer(g, 0);
}

static void run(void *arg, bool paused)
{
	struct vmm_migration *g = arg;
	struct err unused;

	g->paused = paused;
	ask_main(g, run_on_main, &unused);
}

static void free_ask(struct ask *a)
{
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
}

void vmm_migration_free(struct vmm *v)
{
	struct vmm_migration *g = TAKE(v->migration);

	if (!g)
		return;
	close_ask(g);
	migration_free(g->m);
	loop_unpost(v->hooks.loop, &g->ask.work);
	loop_unpost(v->hooks.loop, &g->over);
	state_buf_free(&g->saved);
	json_decref(g->config);
	json_decref(g->request);
	json_decref(g->overrides);
	free_ask(&g->ask);
	free(g);
}

static void tell(struct vmm_migration *g, const char *what)
{
	char event[64];

	snprintf(event, sizeof(event), "migration-%s%s", g->incoming ? "receive-" : "", what);
	events_add(g->vmm->hooks.events, "vm", event,
		   json_pack("{s:s, s:s*}", "url", migration_url(g->m), "error",
			     g->why[0] ? g->why : NULL));
}

/* Whoever waits for the end hears of it. */
static void finish(struct vmm_migration *g)
{
	struct vmm_request *q = TAKE(g->waits);
	struct vmm *v = g->vmm;
	bool leave = g->end == MIGRATION_MOVED && !g->incoming;

	take_throttled(g);
	g->active = false;
	tell(g, g->end == MIGRATION_MOVED ? "finished" : "failed");
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
	close_ask(v->migration);
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
	pthread_mutex_init(&g->ask.lock, NULL);
	pthread_cond_init(&g->ask.changed, NULL);
	v->migration = g;
	return 0;
}

static struct migration_control control_of(struct vmm_migration *g)
{
	return (struct migration_control){ .stop = stop,
					   .saved = saved,
					   .go_on = go_on,
					   .throttle = throttle,
					   .build = build,
					   .load = load,
					   .run = run,
					   .over = over,
					   .arg = g };
}

/* q is answered at once, or at the end. */
static void begun(struct vmm *v, struct vmm_request *q, int r, bool wait)
{
	if (r) {
		vmm_finish(v, r == -EINVAL ? VMM_INVALID : VMM_FAILED);
		return;
	}
	v->migration->active = true;
	tell(v->migration, v->migration->incoming ? "ready" : "started");
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
	c.control = control_of(v->migration);
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
	c.control = control_of(v->migration);
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
		take_throttled(v->migration);
		q->out = migration_progress(v->migration->m);
		return;
	}
	q->fault = VMM_NO_VM;
	err_set(&q->e, 0, "there was no migration yet");
}
