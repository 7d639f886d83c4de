/* SPDX-License-Identifier: Apache-2.0 */
/* A VM comes from a directory, all of it or nothing. */
#include <errno.h>
#include <stdlib.h>

#include "bits.h"
#include "machine.h"
#include "snapshot.h"
#include "snapshot_url.h"
#include "vmm_compat.h"
#include "vmm_internal.h"

struct restore_job {
	struct snapshot snapshot;
	bool mapped, resume;
};

enum memory_mode { MEMORY_COPY, MEMORY_ON_DEMAND };

struct restore_options {
	unsigned memory_mode;
	bool resume, prefault;
};

static const char *const memory_modes[] = { "Copy", "OnDemand", NULL };

static const struct option options[] = {
	OPTION(struct restore_options, resume, .fallback = "off"),
	OPTION(struct restore_options, prefault, .fallback = "off"),
	{ .key = "memory_restore_mode",
	  .offset = offsetof(struct restore_options, memory_mode),
	  .kind = OPTION_ENUM,
	  .names = memory_modes,
	  .fallback = "OnDemand" },
	OPTION_REFUSE("zone_updates"),
	OPTION_REFUSE("vfio_fds"),
};
static const struct option_table restore_options = OPTION_TABLE(options);

static bool is_given(const json_t *in, const char *key)
{
	const json_t *v = json_object_get(in, key);

	return v && !json_is_null(v);
}

static int load_options(struct restore_options *o, const json_t *in, struct err *e)
{
	static const char *const others[] = { "source_url", "config", "net_fds" };
	json_auto_t *plain = json_copy((json_t *)in);

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		json_object_del(plain, others[i]);
	return option_load(&restore_options, "vm.restore", plain, o, e);
}

/* As many files as there came, of cards that have names. */
static int check_net_fds(const json_t *in, unsigned nfds, struct err *e)
{
	const json_t *list = json_object_get(in, "net_fds"), *each;
	json_int_t total = 0, n;
	size_t i;

	if (is_given(in, "net_fds") && !json_is_array(list))
		return err_set(e, -EINVAL,
			       "net_fds must be an array: [{\"id\": \"net0\", "
			       "\"num_fds\": 1}]");
	json_array_foreach(list, i, each)
	{
		n = json_integer_value(json_object_get(each, "num_fds"));
		if (!json_is_string(json_object_get(each, "id")) || n < 1 || n > (json_int_t)nfds)
			return err_set(e, -EINVAL,
				       "net_fds[%zu] must have the id of a network card and in "
				       "num_fds how many of the %u open files that came are its",
				       i, nfds);
		total += n;
	}
	if (total != (json_int_t)nfds)
		return err_set(e, -EINVAL, "net_fds speaks of %lld open files, and %u came",
			       (long long)total, nfds);
	return 0;
}

static int check_request(const struct vmm_request *q, struct restore_options *o, const char **dir,
			 struct err *e)
{
	int r = snapshot_url(q->in, "source_url", dir, e);

	if (!r)
		r = load_options(o, q->in, e);
	if (!r && is_given(q->in, "config") && !json_is_object(json_object_get(q->in, "config")))
		r = err_set(e, -EINVAL, "config must be an object with what is to be replaced");
	return r ? r : check_net_fds(q->in, q->nfds, e);
}

/* The files are the configuration's from then on. */
static int pass_files(struct vmm *v, struct vmm_request *q)
{
	const json_t *each;
	unsigned at = 0;
	size_t i;
	int r;

	json_array_foreach(json_object_get(q->in, "net_fds"), i, each)
	{
		unsigned n = (unsigned)json_integer_value(json_object_get(each, "num_fds"));

		r = config_pass_files(&v->config, json_string_value(json_object_get(each, "id")),
				      q->fds + at, n, &q->e);
		if (r)
			return r;
		for (unsigned end = at + n; at < end; at++)
			q->fds[at] = -1;
	}
	return 0;
}

/* Pages of these kinds cannot be a private view of a file. */
static int choose_memory(struct restore_job *job, const struct config_memory *m,
			 const struct restore_options *o, const json_t *in, struct err *e)
{
	bool can = !m->shared && !m->hugepages;

	job->mapped = can && o->memory_mode == MEMORY_ON_DEMAND;
	if (!can && is_given(in, "memory_restore_mode") && o->memory_mode == MEMORY_ON_DEMAND)
		return err_set(e, -EINVAL,
			       "memory_restore_mode: memory that is shared or of huge pages has to "
			       "be copied; say Copy or leave it out");
	return snapshot_check_size(&job->snapshot, guest_mem_file_bytes(m->size, m->hotplug_size),
				   e);
}

static enum vmm_fault fault_of(int r)
{
	return r == -EINVAL ? VMM_INVALID : r ? VMM_FAILED : VMM_OK;
}

static enum vmm_fault take_config(struct vmm *v, struct vmm_request *q,
				  const struct restore_options *o)
{
	struct restore_job *job = v->restore;
	json_t *config = job->snapshot.config;
	enum vmm_fault fault;
	int r = config_relocate(config, json_object_get(q->in, "config"), &q->e);

	if (r)
		return fault_of(r);
	if (o->prefault)
		json_object_set_new(json_object_get(config, "memory"), "prefault", json_true());
	fault = vmm_take_config(v, config, &q->e);
	if (fault)
		return fault;
	r = choose_memory(job, &v->config.memory, o, q->in, &q->e);
	if (!r)
		r = pass_files(v, q);
	if (r)
		vmm_drop_config(v);
	return fault_of(r);
}

void vmm_restore_cancel(struct vmm *v)
{
	if (!v->restore)
		return;
	snapshot_close(&v->restore->snapshot);
	free(v->restore);
	v->restore = NULL;
}

static void end(struct vmm *v, enum vmm_fault fault)
{
	vmm_restore_cancel(v);
	if (!fault)
		vmm_tell(v, "restored");
	vmm_finish(v, fault);
}

static int build(struct vmm *v, const struct restore_job *job, struct err *e)
{
	const struct snapshot *s = &job->snapshot;
	const struct machine_hooks how = { .loaded = true,
					   .needs = s->needs,
					   .memory_fd = job->mapped ? s->memory_fd : -1 };
	int r = vmm_build(v, &how, e);

	if (!r)
		r = vmm_check_disks(v, s->disks, json_object_get(v->current->in, "config"), e);
	if (!r && !job->mapped)
		r = snapshot_load_memory(s, machine_vm(v->machine)->mem, e);
	if (!r)
		r = snapshot_load_devices(s, machine_vm(v->machine), e);
	v->disks_shared = !r;
	return !r && job->resume ? vmm_part_disks(v, e) : r;
}

static void on_paused(void *arg)
{
	end(arg, VMM_OK);
}

static void restore(struct vmm *v)
{
	bool resume = v->restore->resume;
	int r;

	vmm_away(v, true);
	r = build(v, v->restore, &v->current->e);
	vmm_away(v, false);
	if (r) {
		vmm_free_machine(v); /* nothing of it has run */
		vmm_drop_config(v);
		end(v, VMM_FAILED);
		return;
	}
	machine_start(v->machine);
	if (resume)
		end(v, VMM_OK);
	else
		machine_pause(v->machine, on_paused, v);
}

void vmm_restore(struct vmm *v, struct vmm_request *q)
{
	struct restore_options o;
	enum vmm_fault fault;
	const char *dir = NULL;

	if (check_request(q, &o, &dir, &q->e)) {
		vmm_finish(v, VMM_INVALID);
		return;
	}
	v->restore = calloc(1, sizeof(*v->restore));
	if (!v->restore) {
		vmm_fail(v, VMM_FAILED, "out of memory for a snapshot");
		return;
	}
	v->restore->resume = o.resume;
	fault = snapshot_open(&v->restore->snapshot, dir, &q->e) ? VMM_FAILED
								 : take_config(v, q, &o);
	if (fault) {
		end(v, fault);
		return;
	}
	vmm_tell(v, "restoring");
	vmm_between(v, restore);
}
