/* SPDX-License-Identifier: Apache-2.0 */
#include "vcpu_tsc.h"

#include <asm/kvm.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bits.h"

/* Intel SDM 4, 2.1 */
enum { MSR_TSC_ADJUST = 0x3b };

static const struct vcpu_msr *find(const struct vcpu_state *s, uint32_t index)
{
	for (uint32_t i = 0; i < s->nmsrs; i++)
		if (s->msr[i].index == index)
			return &s->msr[i];
	return NULL;
}

/* One MSR that every KVM has. */
static int do_msr(int fd, unsigned long op, uint32_t index, uint64_t *value)
{
	union {
		struct kvm_msrs list;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} m = { .list.nmsrs = 1 };

	m.list.entries[0] = (struct kvm_msr_entry){ .index = index, .data = *value };
	if (ioctl(fd, op, &m) != 1)
		return -EIO;
	*value = m.list.entries[0].data;
	return 0;
}

static int do_offset(int fd, unsigned long op, uint64_t *offset)
{
	struct kvm_device_attr a = { .group = KVM_VCPU_TSC_CTRL,
				     .attr = KVM_VCPU_TSC_OFFSET,
				     .addr = (uintptr_t)offset };

	return ioctl(fd, op, &a) < 0 ? -errno : 0;
}

/* The first vCPU's offset, such that it counts tsc now. */
static int offset_for(int fd, uint64_t tsc, uint64_t *offset)
{
	uint64_t now = 0;
	int r = do_offset(fd, KVM_GET_DEVICE_ATTR, offset);

	if (!r)
		r = do_msr(fd, KVM_GET_MSRS, MSR_TSC, &now);
	*offset += tsc - now;
	return r;
}

/* Another's, which differs by what the guest added to either. */
static int offset_like(int first_fd, uint64_t adjust, uint64_t *offset)
{
	uint64_t adjust_of_first = 0;
	int r = do_offset(first_fd, KVM_GET_DEVICE_ATTR, offset);

	if (!r)
		r = do_msr(first_fd, KVM_GET_MSRS, MSR_TSC_ADJUST, &adjust_of_first);
	*offset += adjust - adjust_of_first;
	return r;
}

static int set(const struct vcpu_state *s, int fd, int first_fd, uint64_t tsc)
{
	const struct vcpu_msr *adjust = find(s, MSR_TSC_ADJUST);
	uint64_t offset = 0;
	int r;

	if (do_offset(fd, KVM_HAS_DEVICE_ATTR, &offset))
		return do_msr(fd, KVM_SET_MSRS, MSR_TSC, &tsc); /* before Linux 5.16 */
	r = fd == first_fd ? offset_for(fd, tsc, &offset)
			   : offset_like(first_fd, adjust ? adjust->value : 0, &offset);
	return r ? r : do_offset(fd, KVM_SET_DEVICE_ATTR, &offset);
}

int vcpu_tsc_reset(int fd, struct err *e)
{
	uint64_t adjust = 0, value = 0;
	bool by_offset = !do_offset(fd, KVM_HAS_DEVICE_ATTR, &value);
	int r = do_msr(fd, KVM_GET_MSRS, MSR_TSC_ADJUST, &adjust);

	if (!r && !adjust)
		return 0;
	if (!r)
		r = by_offset ? do_offset(fd, KVM_GET_DEVICE_ATTR, &value)
			      : do_msr(fd, KVM_GET_MSRS, MSR_TSC, &value);
	value -= adjust;
	if (!r)
		r = by_offset ? do_offset(fd, KVM_SET_DEVICE_ATTR, &value)
			      : do_msr(fd, KVM_SET_MSRS, MSR_TSC, &value);
	return r ? err_set(e, r, "KVM cannot reset a vCPU's time-stamp counter: %s", strerror(-r))
		 : 0;
}

int vcpu_tsc_restore(const struct vcpu_state *s, int fd, int first_fd, uint64_t away_ns,
		     struct err *e)
{
	const struct vcpu_msr *tsc = find(s, MSR_TSC);
	int khz = ioctl(fd, KVM_GET_TSC_KHZ), r;
	uint64_t away, now = 0;

	if (!tsc)
		return err_set(e, -EBADMSG, "a vCPU's time-stamp counter is missing");
	away = (uint64_t)((unsigned __int128)away_ns * (unsigned)MAX(khz, 0) / 1000000);
	r = set(s, fd, first_fd, tsc->value + away);
	if (!r)
		r = do_msr(fd, KVM_GET_MSRS, MSR_TSC, &now);
	if (r)
		return err_set(e, r, "KVM cannot set a vCPU's time-stamp counter: %s",
			       strerror(-r));
	/* Some back ends of KVM let the guest have the host's counter, whatever they are told.  The
	 * others follow the first; what was read of them later than of it, no guest has seen. */
	if (fd == first_fd && (int64_t)(now - tsc->value) < 0)
		return err_set(e, -ENOTSUP,
			       "this host's KVM cannot set a guest's time-stamp counter, and the "
			       "guest's time would go back; use another host");
	return 0;
}
