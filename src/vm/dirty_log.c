/* SPDX-License-Identifier: Apache-2.0 */
#include "dirty_log.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>

#include "bits.h"
#include "guest_mem.h"
#include "kvm.h"
#include "log.h"
#include "vm.h"

/* KVM's lock is held for so many at once, and vCPUs that miss a page wait for it. */
#define CLEAR_PAGES (UINT64_C(1) << 15)

struct dirty_log {
	struct vm *vm;
	bool manual;
	uint64_t *kvm_bits[GUEST_MEM_REGIONS]; /* what KVM answers */
};

static uint64_t nwords(const struct guest_mem_region *r)
{
	return align_up(guest_mem_region_pages(r), 64) / 64;
}

/* Slot i is region i. */
static int set_slots(struct vm *vm, uint32_t flags, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; !r && vm->fd >= 0 && i < vm->mem->nregions; i++) {
		const struct guest_mem_region *region = &vm->mem->region[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.flags = flags,
			.guest_phys_addr = region->base,
			.memory_size = region->size_bytes,
			.userspace_addr = (uintptr_t)region->host,
		};

		r = kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION",
			      &slot, e);
	}
	return r;
}

/* All that this kernel has of it; without it, getting the log clears it. */
static int protect_manually(struct dirty_log *log, struct err *e)
{
	void *which = (void *)(uintptr_t)KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };
	int offered;

	if (log->vm->fd < 0)
		return 0;
	offered = kvm_ioctl(log->vm->kvm_fd, KVM_CHECK_EXTENSION, "KVM_CHECK_EXTENSION", which, e);
	if (offered <= 0)
		return offered;
	log->manual = true;
	cap.args[0] = offered & (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
	return kvm_ioctl(log->vm->fd, KVM_ENABLE_CAP, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", &cap, e);
}

static int make_bits(struct dirty_log *log, struct err *e)
{
	const struct guest_mem *m = log->vm->mem;

	for (unsigned i = 0; i < m->nregions; i++) {
		log->kvm_bits[i] = calloc(nwords(&m->region[i]), sizeof(uint64_t));
		if (!log->kvm_bits[i])
			return err_set(e, -ENOMEM, "out of memory for a log of guest memory");
	}
	return 0;
}

static void log_free(struct dirty_log *log)
{
	for (unsigned i = 0; i < GUEST_MEM_REGIONS; i++)
		free(log->kvm_bits[i]);
	free(log);
}

int dirty_log_start(struct dirty_log **out, struct vm *vm, struct err *e)
{
	struct dirty_log *log = calloc(1, sizeof(*log));
	struct err ignored;
	int r;

	if (!log)
		return err_set(e, -ENOMEM, "out of memory for a log of guest memory");
	log->vm = vm;
	r = make_bits(log, e);
	if (!r)
		r = protect_manually(log, e);
	if (!r)
		r = guest_mem_log_start(vm->mem, e);
	if (r) {
		log_free(log);
		return r;
	}
	r = set_slots(vm, KVM_MEM_LOG_DIRTY_PAGES, e);
	if (r) {
		set_slots(vm, 0, &ignored);
		guest_mem_log_stop(vm->mem);
		log_free(log);
		return r;
	}
	*out = log;
	return 0;
}

void dirty_log_stop(struct dirty_log *log)
{
	struct err e;

	if (!log)
		return;
	if (set_slots(log->vm, 0, &e))
		log_warn("the log of guest memory stays on: %s", e.text);
	guest_mem_log_stop(log->vm->mem);
	log_free(log);
}

static int harvest_kvm(struct dirty_log *log, unsigned region, uint64_t *bits, struct err *e)
{
	uint64_t *found = log->kvm_bits[region], n = nwords(&log->vm->mem->region[region]);
	struct kvm_dirty_log get = { .slot = region, .dirty_bitmap = found };
	int r = kvm_ioctl(log->vm->fd, KVM_GET_DIRTY_LOG, "KVM_GET_DIRTY_LOG", &get, e);

	for (uint64_t w = 0; !r && w < n; w++)
		bits[w] |= found[w];
	return r;
}

int dirty_log_harvest(struct dirty_log *log, unsigned region, uint64_t *bits, struct err *e)
{
	struct guest_mem_region *m = &log->vm->mem->region[region];
	uint64_t n = nwords(m);

	for (uint64_t w = 0; w < n; w++)
		if (atomic_load_explicit(&m->dirty_bits[w], memory_order_relaxed))
			bits[w] |= atomic_exchange_explicit(&m->dirty_bits[w], 0,
							    memory_order_acquire);
	return log->vm->fd < 0 ? 0 : harvest_kvm(log, region, bits, e);
}

int dirty_log_clear(struct dirty_log *log, unsigned region, uint64_t first, uint64_t npages,
		    const uint64_t *bits, struct err *e)
{
	int r = 0;

	for (uint64_t done = 0; log->manual && !r && done < npages; done += CLEAR_PAGES) {
		struct kvm_clear_dirty_log clear = {
			.slot = region,
			.num_pages = (uint32_t)MIN(npages - done, CLEAR_PAGES),
			.first_page = first + done,
			.dirty_bitmap = (void *)(uintptr_t)(bits + done / 64),
		};

		r = kvm_ioctl(log->vm->fd, KVM_CLEAR_DIRTY_LOG, "KVM_CLEAR_DIRTY_LOG", &clear, e);
	}
	return r;
}
