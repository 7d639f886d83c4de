/* SPDX-License-Identifier: Apache-2.0 */
/* TSCs of vCPUs that are restored, on a KVM of the test's own: its ioctl() is here. */
#include <asm/kvm.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "check_main.h"
#include "vcpu_tsc.h"

enum { NVCPUS = 3, KHZ = 2000000, STEP = 1000, TSC_ADJUST = 0x3b };

static struct {
	uint64_t tsc; /* the host's: each call takes its time */
	uint64_t offset[NVCPUS], adjust[NVCPUS];
	bool no_offsets, fails, deaf;
	unsigned values_set;
} kvm;

static int fake_msrs(unsigned cpu, bool set, struct kvm_msrs *m)
{
	for (uint32_t i = 0; i < m->nmsrs; i++) {
		struct kvm_msr_entry *e = &m->entries[i];

		if (e->index == TSC_ADJUST && !set) {
			e->data = kvm.adjust[cpu];
		} else if (e->index == MSR_TSC && !set) {
			e->data = kvm.tsc + kvm.offset[cpu];
		} else if (e->index == MSR_TSC) {
			kvm.offset[cpu] = e->data - kvm.tsc;
			kvm.values_set++;
		} else {
			return (int)i;
		}
	}
	return (int)m->nmsrs;
}

static int fake_attr(unsigned cpu, unsigned long request, const struct kvm_device_attr *a)
{
	uint64_t *value = (uint64_t *)(uintptr_t)a->addr;

	if (kvm.no_offsets || a->group != KVM_VCPU_TSC_CTRL || a->attr != KVM_VCPU_TSC_OFFSET) {
		errno = ENXIO;
		return -1;
	}
	if (kvm.fails && request == KVM_SET_DEVICE_ATTR) {
		errno = EFAULT;
		return -1;
	}
	if (request == KVM_GET_DEVICE_ATTR)
		*value = kvm.offset[cpu];
	else if (request == KVM_SET_DEVICE_ATTR && !kvm.deaf)
		kvm.offset[cpu] = *value;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	kvm.tsc += STEP;
	switch (request) {
	case KVM_GET_TSC_KHZ:
		return KHZ;
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
		return fake_msrs((unsigned)fd, request == KVM_SET_MSRS, arg);
	default:
		return fake_attr((unsigned)fd, request, arg);
	}
}

static void host_new(uint64_t tsc)
{
	memset(&kvm, 0, sizeof(kvm));
	kvm.tsc = tsc;
	for (unsigned i = 0; i < NVCPUS; i++)
		kvm.offset[i] = -tsc;
}

/* As it was read on the other host, one vCPU after another, some ticks apart */
static void restore(uint64_t tsc, uint64_t apart, uint64_t away_ns, const uint64_t *adjust)
{
	struct err e;

	for (unsigned i = 0; i < NVCPUS; i++) {
		static struct vcpu_state s;

		s = (struct vcpu_state){
			.nmsrs = 3,
			.msr = { { 0x174, 1 },
				 { MSR_TSC, tsc + i * apart + adjust[i] },
				 { TSC_ADJUST, adjust[i] } },
		};
		kvm.adjust[i] = adjust[i];
		ck_assert_msg(!vcpu_tsc_restore(&s, (int)i, 0, away_ns, &e), "%s", e.text);
	}
}

static uint64_t guest_tsc(unsigned cpu)
{
	return kvm.tsc + kvm.offset[cpu];
}

static const uint64_t none[NVCPUS];

/* _i: the other host's TSC is behind, or ahead of, or the same as the guest's. */
START_TEST(test_one_clock)
{
	static const uint64_t hosts[] = { 1000, UINT64_C(1) << 60, 5000000 };

	host_new(hosts[_i]);
	restore(5000000, 70000, 0, none);
	ck_assert_uint_ge(guest_tsc(0), 5000000);
	ck_assert_uint_lt(guest_tsc(0), 5000000 + 50 * STEP);
	for (unsigned i = 1; i < NVCPUS; i++)
		ck_assert_uint_eq(guest_tsc(i), guest_tsc(0));
	ck_assert_uint_eq(kvm.values_set, 0);
}
END_TEST

START_TEST(test_time_away)
{
	host_new(77);
	restore(5000000, 0, 3000000000, none);
	ck_assert_uint_ge(guest_tsc(2), 5000000 + UINT64_C(3000) * KHZ);
	ck_assert_uint_lt(guest_tsc(2), 5000000 + UINT64_C(3000) * KHZ + 50 * STEP);
}
END_TEST

/* What the guest did to one of them stays. */
START_TEST(test_adjusted)
{
	static const uint64_t adjust[NVCPUS] = { 500, -UINT64_C(3000000), UINT64_C(1) << 40 };

	host_new(123456789);
	restore(9000000, 10, 0, adjust);
	for (unsigned i = 1; i < NVCPUS; i++)
		ck_assert_uint_eq(guest_tsc(i) - adjust[i], guest_tsc(0) - adjust[0]);
	ck_assert_uint_ge(guest_tsc(0), 9000500);
}
END_TEST

START_TEST(test_older_kernel)
{
	host_new(1000);
	kvm.no_offsets = true;
	restore(5000000, 0, 1000000, none);
	ck_assert_uint_eq(kvm.values_set, NVCPUS);
	for (unsigned i = 0; i < NVCPUS; i++)
		ck_assert_uint_ge(guest_tsc(i), 5000000 + KHZ);
}
END_TEST

/* A guest that always has the host's counter can go where that is ahead of what it has seen. */
START_TEST(test_hosts_counter)
{
	struct vcpu_state s = { .nmsrs = 1, .msr = { { MSR_TSC, 5000000 } } };
	struct err e;

	for (uint64_t tsc = 4000000; tsc <= 6000000; tsc += 2000000) {
		host_new(tsc);
		kvm.offset[0] = 0;
		kvm.deaf = true;
		ck_assert_int_eq(vcpu_tsc_restore(&s, 0, 0, 0, &e), tsc < 5000000 ? -ENOTSUP : 0);
	}
}
END_TEST

START_TEST(test_refused)
{
	struct vcpu_state s = { .nmsrs = 1, .msr = { { MSR_TSC, 1 } } };
	struct err e;

	host_new(1000);
	kvm.fails = true;
	ck_assert_int_eq(vcpu_tsc_restore(&s, 0, 0, 0, &e), -EFAULT);
	ck_assert_ptr_nonnull(strstr(e.text, "time-stamp counter"));
	s.nmsrs = 0;
	ck_assert_int_eq(vcpu_tsc_restore(&s, 0, 0, 0, &e), -EBADMSG);
}
END_TEST

/* _i: by the offset, or as older kernels have it by the value, which takes its time.  A vCPU whose
 * TSC the guest has left alone is left alone. */
START_TEST(test_reset_of_one)
{
	static const uint64_t adjust[NVCPUS] = { 500, 0, UINT64_C(1) << 40 };
	struct err e;

	host_new(123456789);
	restore(9000000, 10, 0, adjust);
	kvm.no_offsets = _i;
	ck_assert_int_eq(vcpu_tsc_reset(2, &e), 0);
	ck_assert_uint_eq(kvm.values_set, _i);
	ck_assert_uint_le(guest_tsc(1) - guest_tsc(2), _i ? STEP : 0);
	ck_assert_int_eq(vcpu_tsc_reset(1, &e), 0);
	ck_assert_uint_eq(kvm.values_set, _i);
	kvm.fails = true;
	ck_assert_int_eq(vcpu_tsc_reset(2, &e), _i ? 0 : -EFAULT);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("vcpu_tsc");
	TCase *tc = tcase_create("vcpu_tsc");

	tcase_add_loop_test(tc, test_one_clock, 0, 3);
	tcase_add_test(tc, test_time_away);
	tcase_add_test(tc, test_adjusted);
	tcase_add_test(tc, test_older_kernel);
	tcase_add_loop_test(tc, test_reset_of_one, 0, 2);
	tcase_add_test(tc, test_hosts_counter);
	tcase_add_test(tc, test_refused);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
