/* SPDX-License-Identifier: Apache-2.0 */
/* Could the VM move, and how would that go?  Other requests wait meanwhile, and the guest runs. */
#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "machine.h"
#include "migration_check.h"
#include "vmm_compat.h"
#include "vmm_internal.h"

struct vmm_check {
	struct vmm *vmm;
	struct migration_check *check;
	struct work done; /* posted to main */
};

void vmm_check_cancel(struct vmm *v)
{
	struct vmm_check *k = TAKE(v->check);

	if (!k)
		return;
	migration_check_free(k->check);
	loop_unpost(v->hooks.loop, &k->done);
	free(k);
}

static void on_done(void *arg)
{
	struct vmm *v = arg;
	const uint64_t rate = migration_check_rate(v->check->check);

	if (rate)
		v->signals.link_rate = rate;
	v->current->out = migration_check_result(v->check->check, &v->current->e);
	vmm_check_cancel(v);
	vmm_finish(v, v->current->out ? VMM_OK : VMM_FAILED);
}

/* On the check's thread. */
static void done(void *arg)
{
	struct vmm_check *k = arg;

	loop_post(k->vmm->hooks.loop, &k->done);
}

static int begin(struct vmm *v, const struct migration_config *would, struct err *e)
{
	CLEANUP(free) char *hello = vmm_hello(v);
	struct migration_check_config c = { .url = would->url,
					    .tls_dir = would->tls_dir,
					    .vm_hello = hello,
					    .vm = machine_vm(v->machine),
					    .goals = would->goals,
					    .done = done,
					    .arg = v->check };

	if (!hello)
		return err_set(e, -ENOMEM, "out of memory");
	c.blockers = vmm_migration_blockers(v);
	return migration_check_new(&v->check->check, &c, e);
}

void vmm_check_migration(struct vmm *v, struct vmm_request *q)
{
	struct migration_config would;

	if (vmm_load_send("vm.check-migration", q->in, &would, &q->e)) {
		vmm_finish(v, VMM_INVALID);
		return;
	}
	if (!vmm_check_booted(v))
		return;
	v->check = calloc(1, sizeof(*v->check));
	if (!v->check) {
		vmm_fail(v, VMM_FAILED, "out of memory");
		return;
	}
	v->check->vmm = v;
	v->check->done = (struct work){ .run = on_done, .arg = v };
	if (begin(v, &would, &q->e)) {
		vmm_check_cancel(v);
		vmm_finish(v, VMM_FAILED);
	}
}
