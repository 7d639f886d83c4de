/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bits.h"
#include "cleanup.h"
#include "log.h"
#include "vcpu.h"
#include "vcpu_state.h"

static const struct state_field msr_fields[] = {
	STATE(struct vcpu_msr, index),
	STATE(struct vcpu_msr, value),
};
static const struct state_desc msr_desc = STATE_DESC(struct vcpu_msr, "msr", 1, 1, msr_fields);
static const struct state_field vcpu_fields[] = {
	STATE_ARRAY(struct vcpu_state, sregs),
	STATE_ARRAY(struct vcpu_state, regs),
	STATE_ARRAY(struct vcpu_state, xcrs),
	STATE_ARRAY(struct vcpu_state, debugregs),
	STATE_ARRAY(struct vcpu_state, lapic),
	STATE_ARRAY(struct vcpu_state, mp_state),
	STATE_ARRAY(struct vcpu_state, events),
	STATE_COUNTED(struct vcpu_state, xsave, xsave_bytes),
	STATE_COUNTED_STRUCTS(struct vcpu_state, msr, nmsrs, &msr_desc),
	STATE(struct vcpu_state, read_ns, .since = 2, .spare = true),
};
const struct state_desc vcpu_state_desc = STATE_DESC(struct vcpu_state, "vcpu", 2, 1, vcpu_fields);

/* In the order of restoring. */
static const struct pair {
	const char *name;
	unsigned long get, set;
	size_t offset;
} pairs[] = {
	/* First: it holds the APIC base and EFER, which decide how the rest is understood. */
	{ "special registers", KVM_GET_SREGS, KVM_SET_SREGS, offsetof(struct vcpu_state, sregs) },
	{ "registers", KVM_GET_REGS, KVM_SET_REGS, offsetof(struct vcpu_state, regs) },
	{ "XCR0", KVM_GET_XCRS, KVM_SET_XCRS, offsetof(struct vcpu_state, xcrs) },
	{ "debug registers", KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
	  offsetof(struct vcpu_state, debugregs) },
	/* Before the MSRs: the TSC deadline is dropped unless the timer is in that mode. */
	{ "local APIC", KVM_GET_LAPIC, KVM_SET_LAPIC, offsetof(struct vcpu_state, lapic) },
};

/* After the APIC: a wake-up in it would make a halted vCPU runnable. */
static const struct pair run_state = { "run state", KVM_GET_MP_STATE, KVM_SET_MP_STATE,
				       offsetof(struct vcpu_state, mp_state) };

static int pairs_do(const struct pair *p, size_t n, bool set, struct vcpu_state *s, int fd,
		    struct err *e)
{
	for (; n--; p++)
		if (ioctl(fd, set ? p->set : p->get, (char *)s + p->offset) < 0)
			return err_set(e, -errno, "KVM cannot %s a vCPU's %s: %s",
				       set ? "set" : "read", p->name, strerror(errno));
	return 0;
}

/* A pending triple fault is left out: where it is, its instruction is next, and does it again. */
static int events_get(struct vcpu_state *s, int fd, struct err *e)
{
	struct kvm_vcpu_events events;

	if (ioctl(fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return err_set(e, -errno, "KVM cannot read a vCPU's pending events: %s",
			       strerror(errno));
	events.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	events.triple_fault.pending = 0;
	memcpy(s->events, &events, sizeof(events));
	return 0;
}

/* Last: setting registers clears what is pending, but for a triple fault, which would reset the
 * machine once more.  Linux before 6.1 cannot be told so. */
static int events_set(const struct vcpu_state *s, int fd, struct err *e)
{
	struct kvm_vcpu_events events;

	memcpy(&events, s->events, sizeof(events));
	events.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	events.triple_fault.pending = 0;
	if (!ioctl(fd, KVM_SET_VCPU_EVENTS, &events))
		return 0;
	events.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	if (!ioctl(fd, KVM_SET_VCPU_EVENTS, &events))
		return 0;
	return err_set(e, -errno, "KVM cannot set a vCPU's pending events: %s", strerror(errno));
}

static int xsave_get(struct vcpu_state *s, int vm_fd, int fd, struct err *e)
{
	int size = ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	if (size > VCPU_XSAVE_MAX)
		return err_set(e, -E2BIG, "this host's vCPU state is too large: %d bytes", size);
	s->xsave_bytes = size > 0 ? (uint32_t)size : sizeof(struct kvm_xsave);
	if (ioctl(fd, size > 0 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, s->xsave) < 0)
		return err_set(e, -errno, "KVM cannot read a vCPU's vector registers: %s",
			       strerror(errno));
	return 0;
}

static int xsave_set(struct vcpu_state *s, int fd, struct err *e)
{
	/* KVM reads as many bytes as it wrote on the other host, or fewer. */
	memset(s->xsave + s->xsave_bytes, 0, sizeof(s->xsave) - s->xsave_bytes);
	if (ioctl(fd, KVM_SET_XSAVE, s->xsave) < 0)
		return err_set(e, -errno, "KVM cannot set a vCPU's vector registers: %s",
			       strerror(errno));
	return 0;
}

/* KVM keeps the memory type registers and leaves them out of its list (Intel SDM 3, 12.11). */
static void add_mtrrs(struct kvm_msr_list *list)
{
	static const struct {
		uint16_t first, n;
	} ranges[] = { { 0x200, 16 }, { 0x250, 1 }, { 0x258, 2 }, { 0x268, 8 }, { 0x2ff, 1 } };

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		for (unsigned n = 0; n < ranges[i].n && list->nmsrs < VCPU_MSRS_MAX; n++)
			list->indices[list->nmsrs++] = ranges[i].first + n;
}

int vcpu_msr_list(int kvm_fd, struct kvm_msr_list **out, struct err *e)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + VCPU_MSRS_MAX * sizeof(uint32_t));

	if (!list)
		return err_set(e, -ENOMEM, "out of memory");
	list->nmsrs = VCPU_MSRS_MAX;
	if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
		free(list);
		return err_set(e, -errno, "KVM cannot list the MSRs: %s", strerror(errno));
	}
	add_mtrrs(list);
	*out = list;
	return 0;
}

static void msr_refused(uint32_t index, bool *warned)
{
	if (!*warned)
		log_warn("this host's KVM advertises MSR %#x and refuses it; skipped, like others "
			 "of that kind",
			 index);
	*warned = true;
}

/*
 * KVM_GET_MSRS and KVM_SET_MSRS stop at the first MSR they refuse: skip it and go on.  Returns
 * how many of m's entries were taken; the refused ones are moved out.
 */
static int msrs_do(int fd, unsigned long op, struct kvm_msrs *m, bool *warned)
{
	struct kvm_msrs *part = calloc(1, sizeof(*m) + m->nmsrs * sizeof(m->entries[0]));
	uint32_t from = 0, kept = 0;

	if (!part)
		return -ENOMEM;
	while (from < m->nmsrs) {
		part->nmsrs = m->nmsrs - from;
		memcpy(part->entries, m->entries + from, part->nmsrs * sizeof(m->entries[0]));
		int n = ioctl(fd, op, part);

		if (n < 0)
			n = 0;
		memmove(m->entries + kept, part->entries, (unsigned)n * sizeof(m->entries[0]));
		kept += (uint32_t)n;
		from += (uint32_t)n;
		if (from < m->nmsrs)
			msr_refused(m->entries[from++].index, warned);
	}
	free(part);
	return (int)kept;
}

static int msrs_get(struct vcpu_state *s, int kvm_fd, int fd, bool *warned, struct err *e)
{
	CLEANUP(free) struct kvm_msr_list *list = NULL;
	CLEANUP(free) struct kvm_msrs *m = NULL;
	int r = vcpu_msr_list(kvm_fd, &list, e);

	if (r)
		return r;
	m = calloc(1, sizeof(*m) + list->nmsrs * sizeof(m->entries[0]));
	if (!m)
		return err_set(e, -ENOMEM, "out of memory");
	m->nmsrs = list->nmsrs;
	for (uint32_t i = 0; i < list->nmsrs; i++)
		m->entries[i].index = list->indices[i];
	r = msrs_do(fd, KVM_GET_MSRS, m, warned);
	if (r < 0)
		return err_set(e, r, "out of memory");
	s->nmsrs = (uint32_t)r;
	for (uint32_t i = 0; i < s->nmsrs; i++)
		s->msr[i] = (struct vcpu_msr){ m->entries[i].index, m->entries[i].data };
	return 0;
}

static int msrs_set(const struct vcpu_state *s, int fd, bool *warned, struct err *e)
{
	CLEANUP(free)
	struct kvm_msrs *m = calloc(1, sizeof(*m) + s->nmsrs * sizeof(m->entries[0]));

	if (!m)
		return err_set(e, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < s->nmsrs; i++)
		if (s->msr[i].index != MSR_TSC)
			m->entries[m->nmsrs++] = (struct kvm_msr_entry){
				.index = s->msr[i].index,
				.data = s->msr[i].value,
			};
	if (msrs_do(fd, KVM_SET_MSRS, m, warned) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

int vcpu_state_get(struct vcpu_state *s, int kvm_fd, int vm_fd, int fd, bool *warned, struct err *e)
{
	/* Reading the run state lets pending INIT and SIPI take effect: before all else. */
	int r = pairs_do(&run_state, 1, false, s, fd, e);

	if (!r)
		r = events_get(s, fd, e);
	if (!r)
		r = pairs_do(pairs, ARRAY_SIZE(pairs), false, s, fd, e);
	if (!r)
		r = xsave_get(s, vm_fd, fd, e);
	if (!r)
		r = msrs_get(s, kvm_fd, fd, warned, e);
	return r;
}

int vcpu_state_set(struct vcpu_state *s, int fd, bool *warned, struct err *e)
{
	int r = pairs_do(pairs, ARRAY_SIZE(pairs), true, s, fd, e);

	if (!r)
		r = xsave_set(s, fd, e);
	if (!r)
		r = msrs_set(s, fd, warned, e);
	if (!r)
		r = pairs_do(&run_state, 1, true, s, fd, e);
	return r ? r : events_set(s, fd, e);
}
