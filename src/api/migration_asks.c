/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration's thread asks of main, and main's answers. */
#include "migration_asks.h"

#include <errno.h>
#include <string.h>

#include "balloon.h"
#include "cleanup.h"
#include "devices.h"
#include "machine.h"
#include "vcpu.h"
#include "vmm_compat.h"

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

void migration_asks_close(struct vmm_migration *g)
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

static void is_logged(void *arg)
{
	struct vmm_migration *g = arg;

	if (!--g->to_log)
		answer(g, 0);
}

static void log_on_main(void *arg)
{
	struct vmm_migration *g = arg;
	struct vm *vm = g->vmm->machine ? machine_vm(g->vmm->machine) : NULL;
	struct device *dev;

	g->to_log = 1;
	if (vm && vm->logged != g->logs) {
		vm->logged = g->logs;
		list_for_each (dev, &vm->devices, node) {
			if (!dev->class->log)
				continue;
			g->to_log++;
			dev->class->log(dev, is_logged, g);
		}
	}
	is_logged(g);
}

static int log_memory(void *arg, bool on, struct err *e)
{
	struct vmm_migration *g = arg;

	g->logs = on;
	return ask_main(g, log_on_main, e);
}

/* What is to come of a panic, or of a disk that fails, is decided here, where it was seen. */
static int check_guest(const struct vmm_migration *g, struct err *e)
{
	const struct machine *m = g->vmm->machine;
	const struct vm_io_error *io = machine_io_error(m);

	if (io && !g->paused_before)
		return err_set(e, -EIO, "%s failed meanwhile (%s), and the VM is paused", io->id,
			       strerror(io->error));
	if (!machine_has_panicked(m) && machine_is_paused(m) == g->paused_before)
		return 0;
	return err_set(e, -EIO, "the guest's kernel panicked meanwhile");
}

/* The thread sends the last pages meanwhile. */
static void has_stopped(void *arg)
{
	struct vmm_migration *g = arg;
	json_auto_t *versions = json_deep_copy(g->versions);
	int r = check_guest(g, &g->ask.e);

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

static void hint_on_main(void *arg)
{
	struct vmm_migration *g = arg;
	struct device *dev = g->vmm->machine ? balloon_device(machine_vm(g->vmm->machine)) : NULL;
	bool can = dev && balloon_can_hint(dev);

	if (dev && (g->hint == MIGRATION_HINT_OFF || (can && g->hint == MIGRATION_HINT_ON)))
		balloon_hint(dev, g->hint == MIGRATION_HINT_ON);
	answer(g, can ? 0 : -ENOTSUP);
}

static bool hint(void *arg, enum migration_hint what)
{
	struct vmm_migration *g = arg;
	struct err unused;

	g->hint = what;
	return !ask_main(g, hint_on_main, &unused);
}

/* A VM that came may have been booted anew since. */
void migration_asks_look(struct vmm_migration *g)
{
	struct vm *vm = g->vmm->machine ? machine_vm(g->vmm->machine) : NULL;

	if (vm && (g->incoming ? vm == g->vm : g->active))
		migration_look(g->m, vm);
}

static void look_on_main(void *arg)
{
	struct vmm_migration *g = arg;

	migration_asks_look(g);
	answer(g, 0);
}

static void look(void *arg)
{
	struct err unused;

	ask_main(arg, look_on_main, &unused);
}

/* Whoever watches the destination sees who comes. */
static void tell_arrival(struct vmm_migration *g)
{
	json_auto_t *p = migration_progress(g->m);

	events_add(g->vmm->hooks.events, "vm", "migration-receive-started",
		   json_pack("{s:O, s:O}", "peer", json_object_get(p, "peer"), "peer_identity",
			     json_object_get(p, "peer_identity")));
}

static void build_between(struct vmm *v)
{
	struct vmm_migration *g = v->migration;
	json_auto_t *hello = TAKE(g->hello);
	struct migration_place *p = &g->place;

	if (g->stays)
		tell_arrival(g);
	p->blockers = json_array();
	vmm_take_hello(v, hello, g->overrides, g->stays, &p->versions, p->blockers);
	if (v->machine)
		g->vm = p->vm = machine_vm(v->machine);
	answer(g, json_array_size(p->blockers) ? migration_refuse(p->blockers, &g->ask.e) : 0);
}

static void build_on_main(void *arg)
{
	struct vmm_migration *g = arg;

	vmm_between(g->vmm, build_between);
}

static int build(void *arg, json_t *hello, bool stays, struct migration_place *place, struct err *e)
{
	struct vmm_migration *g = arg;
	int r;

	g->hello = hello;
	g->stays = stays;
	r = ask_main(g, build_on_main, e);
	*place = g->place;
	g->place = (struct migration_place){ 0 };
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

void migration_asks_init(struct vmm_migration *g)
{
	pthread_mutex_init(&g->ask.lock, NULL);
	pthread_cond_init(&g->ask.changed, NULL);
}

void migration_asks_free(struct vmm_migration *g)
{
	loop_unpost(g->vmm->hooks.loop, &g->ask.work);
	state_buf_free(&g->saved);
	json_decref(g->hello);
	pthread_cond_destroy(&g->ask.changed);
	pthread_mutex_destroy(&g->ask.lock);
}

struct migration_control migration_asks(struct vmm_migration *g)
{
	return (struct migration_control){ .log = log_memory,
					   .stop = stop,
					   .saved = saved,
					   .go_on = go_on,
					   .throttle = throttle,
					   .hint = hint,
					   .build = build,
					   .load = load,
					   .run = run,
					   .look = look,
					   .arg = g };
}
