/* SPDX-License-Identifier: Apache-2.0 */
/* A VM that stands still goes to a directory. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "devices.h"
#include "machine.h"
#include "option.h"
#include "snapshot.h"
#include "snapshot_url.h"
#include "thread.h"
#include "vmm_internal.h"

/* But for cancel, the thread's from its start to its end. */
struct snapshot_job {
	struct vmm *vmm;
	char *dir, *config;
	json_t *disks, *needs;
	struct state_buf devices;
	struct snapshot_source source;
	pthread_t thread;
	bool runs;
	bool resume; /* the VM was paused for this, and goes on however it ends */
	atomic_bool cancel;
	struct work done; /* posted to main */
	int result;
	struct err e;
};

static void job_free(struct snapshot_job *job)
{
	state_buf_free(&job->devices);
	json_decref(job->disks);
	json_decref(job->needs);
	free(job->config);
	free(job->dir);
	free(job);
}

static void *snapshot_main(void *arg)
{
	struct snapshot_job *job = arg;

	job->result = snapshot_save(job->dir, &job->source, &job->e);
	loop_post(job->vmm->hooks.loop, &job->done);
	return NULL;
}

static void end(struct vmm *v, enum vmm_fault fault)
{
	struct snapshot_job *job = v->snapshot;

	if (job->runs)
		pthread_join(job->thread, NULL);
	if (fault) {
		v->current->e = job->e;
	} else {
		v->disks_shared = true;
		vmm_tell(v, "snapshotted");
	}
	if (job->resume && !vmm_go_on(v, &v->current->e))
		fault = VMM_FAILED;
	job_free(job);
	v->snapshot = NULL;
	vmm_finish(v, fault);
}

static void on_saved(void *arg)
{
	struct snapshot_job *job = arg;

	end(job->vmm, job->result ? VMM_FAILED : VMM_OK);
}

/* A thread of its own has the text, and no JSON that is used here. */
static int gather(struct snapshot_job *job)
{
	struct vmm *v = job->vmm;
	struct vm *vm = machine_vm(v->machine);
	int r = devices_save(vm, NULL, &job->devices, &job->e);

	if (r)
		return r;
	job->config = json_dumps(v->config.json, JSON_INDENT(2));
	job->disks = vmm_list_disks(v);
	job->needs = machine_needs(v->machine);
	if (!job->config || !job->disks || !job->needs)
		return err_set(&job->e, -1, "out of memory for a snapshot");
	job->source = (struct snapshot_source){ .uuid = v->config.uuid,
						.config = job->config,
						.disks = job->disks,
						.needs = job->needs,
						.mem = vm->mem,
						.devices = &job->devices,
						.cancel = &job->cancel };
	return 0;
}

/* Nothing of the VM moves any more. */
static void on_still(void *arg)
{
	struct vmm *v = arg;
	struct snapshot_job *job = v->snapshot;
	int r = 0;

	if (machine_has_panicked(v->machine))
		r = err_set(&job->e, -1,
			    "the guest's kernel has just panicked: there is nothing "
			    "that could go on");
	if (!r)
		r = gather(job);
	if (!r) {
		r = thread_new(&job->thread, "_snapshot", SANDBOX_MAIN, 0, snapshot_main, job);
		job->runs = !r;
		if (r)
			err_set(&job->e, r, "no thread for a snapshot: %s", strerror(-r));
	}
	if (r)
		end(v, VMM_FAILED);
}

static struct snapshot_job *job_new(struct vmm *v, const char *dir, bool resume)
{
	struct snapshot_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->vmm = v;
	job->resume = resume;
	job->dir = strdup(dir);
	job->done = (struct work){ .run = on_saved, .arg = job };
	if (job->dir)
		return job;
	job_free(job);
	return NULL;
}

struct snapshot_options {
	bool pause;
};

static const struct option options[] = {
	OPTION(struct snapshot_options, pause, .fallback = "off"),
};
static const struct option_table snapshot_options = OPTION_TABLE(options);

static int load_options(struct snapshot_options *o, const json_t *in, const char **dir,
			struct err *e)
{
	json_auto_t *plain = json_copy((json_t *)in);
	int r = snapshot_url(in, "destination_url", dir, e);

	json_object_del(plain, "destination_url");
	return r ? r : option_load(&snapshot_options, "vm.snapshot", plain, o, e);
}

void vmm_snapshot(struct vmm *v, struct vmm_request *q)
{
	struct snapshot_options o;
	const char *dir = NULL;
	bool runs;

	if (load_options(&o, q->in, &dir, &q->e)) {
		vmm_finish(v, VMM_INVALID);
		return;
	}
	if (!vmm_check_booted(v))
		return;
	runs = !machine_is_paused(v->machine);
	if (runs && !o.pause) {
		vmm_fail(v, VMM_FAILED, "the VM \"%s\" runs; pause it first, or say pause",
			 v->config.name);
		return;
	}
	v->snapshot = job_new(v, dir, runs);
	if (!v->snapshot) {
		vmm_fail(v, VMM_FAILED, "out of memory for a snapshot");
		return;
	}
	vmm_tell(v, "snapshotting");
	/* Paused it is, but perhaps not yet at rest. */
	machine_pause(v->machine, on_still, v);
}

void vmm_snapshot_cancel(struct vmm *v)
{
	struct snapshot_job *job = v->snapshot;

	if (!job)
		return;
	atomic_store(&job->cancel, true);
	if (job->runs)
		pthread_join(job->thread, NULL);
	loop_unpost(v->hooks.loop, &job->done);
	job_free(job);
	v->snapshot = NULL;
}
