/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"
#include "machine.h"
#include "migration.h"
#include "vmm_internal.h"

static bool ends_vm(const struct vmm_request *q)
{
	return q->run == vmm_shutdown || q->run == vmm_delete;
}

static void vmm_next(void *arg)
{
	struct vmm *v = arg;
	struct vmm_request *q;

	if (v->current || v->between || list_empty(&v->waiting))
		return;
	q = list_item(v->waiting.next, struct vmm_request, node);
	if (vmm_is_migrating(v) && ends_vm(q) && !vmm_is_handed_over(v)) {
		/* It is the next one when that is over. */
		vmm_call_migration_off(v);
		return;
	}
	if (vmm_is_migrating(v) && migration_is_over(vmm_migration(v)))
		return; /* main is about to hear of it, and asks for the next one then */
	v->current = q;
	list_remove(&q->node);
	if (vmm_migration_refuses(v, q, &q->e))
		vmm_finish(v, VMM_FAILED);
	else
		q->run(v, q);
}

void vmm_release(struct vmm *v)
{
	v->current = NULL;
	loop_post(v->hooks.loop, &v->next);
}

void vmm_finish(struct vmm *v, enum vmm_fault fault)
{
	struct vmm_request *q = v->current;

	vmm_release(v);
	q->fault = fault;
	q->done(q);
}

void vmm_fail(struct vmm *v, enum vmm_fault fault, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(&v->current->e, 0, fmt, ap);
	va_end(ap);
	vmm_finish(v, fault);
}

void vmm_tell(struct vmm *v, const char *event)
{
	events_add(v->hooks.events, "vm", event, NULL);
}

void vmm_submit(struct vmm *v, struct vmm_request *q)
{
	q->vmm = v;
	list_append(&v->waiting, &q->node);
	loop_post(v->hooks.loop, &v->next);
}

bool vmm_check_created(struct vmm *v)
{
	if (v->config.json)
		return true;
	vmm_fail(v, VMM_NO_VM, VMM_NONE_CREATED);
	return false;
}

bool vmm_check_booted(struct vmm *v)
{
	if (!vmm_check_created(v))
		return false;
	if (v->machine)
		return true;
	vmm_fail(v, VMM_FAILED, "the VM \"%s\" is not booted; vm.boot does that", v->config.name);
	return false;
}

int vmm_take_name(struct vmm *v, const char *name, struct err *e)
{
	int r = vmdir_new(&v->dir, name, e);

	if (!r)
		r = v->hooks.created(v->hooks.arg, name, v->dir.fd, e);
	if (r)
		vmdir_free(&v->dir);
	return r;
}

enum vmm_fault vmm_take_config(struct vmm *v, const json_t *config, struct err *e)
{
	int r;

	if (v->config.json) {
		err_set(e, 0, "there is the VM \"%s\" already; delete it first", v->config.name);
		return VMM_FAILED;
	}
	r = config_load(&v->config, config, e);
	if (r)
		return r == -EINVAL ? VMM_INVALID : VMM_FAILED;
	/* One that waited for it has its name already. */
	if (v->dir.fd < 0)
		r = vmm_take_name(v, v->config.name, e);
	if (r)
		config_free(&v->config);
	return r ? VMM_FAILED : VMM_OK;
}

void vmm_create(struct vmm *v, struct vmm_request *q)
{
	vmm_finish(v, vmm_take_config(v, q->in, &q->e));
}

void vmm_over(struct vmm *v, int status, const char *why)
{
	events_add(v->hooks.events, "vmm", "shutdown", NULL);
	v->hooks.over(v->hooks.arg, status, why);
}

void vmm_end(struct vmm *v)
{
	vmm_over(v, 0, NULL);
}

void vmm_between(struct vmm *v, void (*run)(struct vmm *))
{
	v->between = run;
	loop_quit(v->hooks.loop);
}

void vmm_drop_config(struct vmm *v)
{
	if (!v->config.json)
		return;
	vmm_tell(v, "deleted");
	vmdir_free(&v->dir);
	config_free(&v->config);
	v->config = (struct config){ 0 };
}

void vmm_away(struct vmm *v, bool away)
{
	v->away += away ? 1 : -1;
	if (v->away == away)
		v->hooks.away(v->hooks.arg, away);
}

bool vmm_free_machine(struct vmm *v)
{
	vmm_away(v, true);
	vmm_signals_forget(v);
	v->stuck = !machine_free(TAKE(v->machine));
	vmm_away(v, false);
	v->disks_shared = false;
	return !v->stuck;
}

static void discard(struct vmm *v)
{
	v->discarding = false;
	if (!vmm_free_machine(v)) {
		vmm_fail(v, VMM_FAILED, "a device of the VM did not stop; this process has to end");
		vmm_over(v, 1, VMM_STUCK);
		return;
	}
	if (v->current->run == vmm_delete)
		vmm_drop_config(v);
	vmm_finish(v, VMM_OK);
}

static void on_ended(void *arg, int status, const char *why)
{
	struct vmm *v = arg;

	vmm_migration_lost_vm(v);
	events_add(v->hooks.events, "vm", "shutdown",
		   why ? json_pack("{s:s}", "reason", why) : NULL);
	if (v->discarding)
		vmm_between(v, discard);
	else
		vmm_over(v, status, why);
}

static void on_vcpus_changed(void *arg, unsigned count)
{
	struct vmm *v = arg;
	struct err unused;

	if (count == v->config.cpus.boot_vcpus)
		return;
	config_set_vcpus(&v->config, count, &unused);
	events_add(v->hooks.events, "vm", "resized", json_pack("{s:i}", "vcpus", (int)count));
}

static void on_memory_back(void *arg, uint64_t bytes)
{
	struct vmm *v = arg;
	struct err unused;

	if (config_set_memory(&v->config, bytes, &unused))
		return;
	machine_resize_memory(v->machine, true);
	events_add(v->hooks.events, "vm", "memory-back",
		   json_pack("{s:I}", "desired_ram", (json_int_t)bytes));
}

int vmm_build(struct vmm *v, const struct machine_hooks *how, struct err *e)
{
	struct machine_hooks hooks = *how;
	int r;

	hooks.ended = on_ended;
	hooks.vcpus_changed = on_vcpus_changed;
	hooks.memory_back = on_memory_back;
	hooks.arg = v;
	hooks.events = v->hooks.events;
	hooks.run_dir = v->dir.path;
	vmm_away(v, true);
	r = machine_new(&v->machine, &v->config, v->hooks.loop, &hooks, e);
	vmm_away(v, false);
	return r;
}

static void build(struct vmm *v)
{
	int r = vmm_build(v, &(struct machine_hooks){ .memory_fd = -1 }, &v->current->e);

	if (!r) {
		machine_start(v->machine);
		vmm_tell(v, "booted");
	}
	vmm_finish(v, r ? VMM_FAILED : VMM_OK);
}

void vmm_boot(struct vmm *v, struct vmm_request *q)
{
	(void)q;
	if (!vmm_check_created(v))
		return;
	if (v->machine) {
		vmm_fail(v, VMM_FAILED, "the VM \"%s\" is booted already", v->config.name);
		return;
	}
	vmm_tell(v, "booting");
	vmm_between(v, build);
}

void vmm_run(struct vmm *v)
{
	do {
		void (*between)(struct vmm *) = TAKE(v->between);

		if (between)
			between(v);
		if (!v->quit)
			loop_run(v->hooks.loop);
	} while (!v->quit);
}

void vmm_quit(struct vmm *v)
{
	v->quit = true;
	loop_quit(v->hooks.loop);
}

static void end_machine(struct vmm *v)
{
	v->discarding = true;
	machine_end(v->machine, 0, NULL);
}

void vmm_shutdown(struct vmm *v, struct vmm_request *q)
{
	(void)q;
	if (vmm_check_booted(v))
		end_machine(v);
}

void vmm_delete(struct vmm *v, struct vmm_request *q)
{
	(void)q;
	if (v->machine) {
		end_machine(v);
		return;
	}
	vmm_drop_config(v);
	vmm_finish(v, VMM_OK);
}

static void on_paused(void *arg)
{
	vmm_finish(arg, VMM_OK);
}

void vmm_pause(struct vmm *v, struct vmm_request *q)
{
	(void)q;
	if (!vmm_check_booted(v))
		return;
	if (machine_is_paused(v->machine)) {
		vmm_fail(v, VMM_FAILED, "the VM \"%s\" is paused already", v->config.name);
		return;
	}
	vmm_tell(v, "pausing");
	machine_pause(v->machine, on_paused, v);
}

bool vmm_go_on(struct vmm *v, struct err *e)
{
	if (vmm_part_disks(v, e))
		return false;
	vmm_tell(v, "resuming");
	machine_resume(v->machine);
	return true;
}

void vmm_resume(struct vmm *v, struct vmm_request *q)
{
	(void)q;
	if (!vmm_check_booted(v))
		return;
	if (!machine_is_paused(v->machine)) {
		vmm_fail(v, VMM_FAILED, "the VM \"%s\" is not paused", v->config.name);
		return;
	}
	vmm_finish(v, vmm_go_on(v, &v->current->e) ? VMM_OK : VMM_FAILED);
}

void vmm_reboot(struct vmm *v, struct vmm_request *q)
{
	(void)q;
	if (!vmm_check_booted(v))
		return;
	vmm_tell(v, "rebooting");
	machine_reset(v->machine);
	vmm_finish(v, VMM_OK);
}

static void press_button(struct vmm *v, int (*press)(struct machine *))
{
	if (!vmm_check_booted(v))
		return;
	if (press(v->machine))
		vmm_fail(v, VMM_FAILED, "the guest has no power button");
	else
		vmm_finish(v, VMM_OK);
}

void vmm_power_button(struct vmm *v, struct vmm_request *q)
{
	(void)q;
	press_button(v, machine_press_power_button);
}

void vmm_soft_reboot(struct vmm *v, struct vmm_request *q)
{
	(void)q;
	press_button(v, machine_soft_reboot);
}

void vmm_nmi(struct vmm *v, struct vmm_request *q)
{
	if (vmm_check_booted(v))
		vmm_finish(v, machine_inject_nmi(v->machine, &q->e) ? VMM_FAILED : VMM_OK);
}

struct machine *vmm_machine(struct vmm *v)
{
	return v->machine;
}

const struct config *vmm_config(struct vmm *v)
{
	return v->config.json ? &v->config : NULL;
}

int vmm_new(struct vmm **out, const struct vmm_hooks *hooks, struct err *e)
{
	struct vmm *v = calloc(1, sizeof(*v));

	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	v->hooks = *hooks;
	v->signals.group.root = "";
	v->dir = (struct vmdir){ .parent_fd = -1, .fd = -1 };
	v->next = (struct work){ .run = vmm_next, .arg = v };
	list_init(&v->waiting);
	*out = v;
	return 0;
}

bool vmm_free(struct vmm *v)
{
	bool stopped;

	if (!v)
		return true;
	vmm_check_cancel(v);
	if (!vmm_migration_free(v))
		return false;
	vmm_snapshot_cancel(v);
	vmm_restore_cancel(v);
	vmm_signals_forget(v);
	stopped = machine_free(v->machine) && !v->stuck;
	loop_unpost(v->hooks.loop, &v->next);
	vmdir_free(&v->dir);
	/* A device that still moves may read its configuration. */
	if (stopped) {
		config_free(&v->config);
		free(v);
	}
	return stopped;
}
