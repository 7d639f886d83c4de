/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "kvm.h"
#include "kvm_ring0.h"

enum { PAGE_BYTES = 4096 };

/*
 * fld1, hlt.  Every x86-64 processor runs fld1 in every mode, and KVM's emulator does not know it:
 * it knows what kernels do to devices and page tables.  Its failure is an exit of its own
 * (KVM_INTERNAL_ERROR_EMULATION), and hlt tells that all went well.
 */
static const uint8_t program[] = { 0xd9, 0xe8, 0xf4 };

/* A throw-away VM.  Closing its fds and unmapping is all there is to free. */
struct trial {
	int vm_fd, vcpu_fd;
	void *page; /* the guest's memory */
	struct kvm_run *run;
	size_t run_bytes;
};

static void cleanup_trial(struct trial *t)
{
	if (t->run != MAP_FAILED)
		munmap(t->run, t->run_bytes);
	cleanup_fd(&t->vcpu_fd);
	cleanup_fd(&t->vm_fd);
	if (t->page != MAP_FAILED)
		munmap(t->page, PAGE_BYTES);
}

static int trial_memory(struct trial *t, struct err *e)
{
	struct kvm_userspace_memory_region slot = { .memory_size = PAGE_BYTES };

	t->page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	if (t->page == MAP_FAILED)
		return err_set(e, -errno, "no memory for a guest: %s", strerror(errno));
	memcpy(t->page, program, sizeof(program));
	slot.userspace_addr = (uintptr_t)t->page;
	return kvm_ioctl(t->vm_fd, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &slot,
			 e);
}

static int trial_vcpu(struct trial *t, int kvm_fd, struct err *e)
{
	int size = kvm_ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE", NULL, e);

	if (size < 0)
		return size;
	t->vcpu_fd = kvm_ioctl(t->vm_fd, KVM_CREATE_VCPU, "KVM_CREATE_VCPU", NULL, e);
	if (t->vcpu_fd < 0)
		return t->vcpu_fd;
	t->run_bytes = (size_t)size;
	t->run = mmap(NULL, t->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, t->vcpu_fd, 0);
	if (t->run == MAP_FAILED)
		return err_set(e, -errno, "cannot map a vCPU: %s", strerror(errno));
	return 0;
}

/*
 * Flat 32-bit protected mode without paging.  Not real mode, where a vCPU starts: Intel
 * processors without "unrestricted guest" leave that to the emulator and run all else.
 */
static int trial_registers(struct trial *t, struct err *e)
{
	const struct kvm_segment code = { .limit = UINT32_MAX,
					  .selector = 8,
					  .type = 11,
					  .present = 1,
					  .db = 1,
					  .s = 1,
					  .g = 1 };
	struct kvm_segment data = code;
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;
	int rc = kvm_ioctl(t->vcpu_fd, KVM_GET_SREGS, "KVM_GET_SREGS", &sregs, e);

	data.selector = 16;
	data.type = 3;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 0x11; /* PE, ET */
	if (!rc)
		rc = kvm_ioctl(t->vcpu_fd, KVM_SET_SREGS, "KVM_SET_SREGS", &sregs, e);
	if (!rc)
		rc = kvm_ioctl(t->vcpu_fd, KVM_SET_REGS, "KVM_SET_REGS", &regs, e);
	return rc;
}

/* Two instructions: a run that a signal interrupts may start over. */
static int trial_run(struct trial *t, enum kvm_ring0 *ring0, struct err *e)
{
	int rc = kvm_ioctl(t->vcpu_fd, KVM_RUN, "KVM_RUN", NULL, e);

	if (rc < 0)
		return rc;
	if (t->run->exit_reason == KVM_EXIT_HLT) {
		*ring0 = KVM_RING0_HARDWARE;
		return 0;
	}
	if (t->run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
	    t->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
		*ring0 = KVM_RING0_EMULATOR;
		return 0;
	}
	return err_set(e, -EIO,
		       "KVM does not run even a guest of two instructions (exit %u); see the "
		       "host's kernel log",
		       t->run->exit_reason);
}

int kvm_ring0(int kvm_fd, enum kvm_ring0 *ring0, struct err *e)
{
	CLEANUP(trial)
	struct trial t = { .vm_fd = -1, .vcpu_fd = -1, .page = MAP_FAILED, .run = MAP_FAILED };
	int rc = kvm_new_vm(kvm_fd, &t.vm_fd, e);

	if (!rc)
		rc = trial_memory(&t, e);
	if (!rc)
		rc = trial_vcpu(&t, kvm_fd, e);
	if (!rc)
		rc = trial_registers(&t, e);
	return rc ? rc : trial_run(&t, ring0, e);
}
