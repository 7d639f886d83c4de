/* SPDX-License-Identifier: Apache-2.0 */
/* What of a vCPU must not outlive a reset; nothing without /dev/kvm. */
#include <sys/ioctl.h>

#include "check_main.h"
#include "contract_rig.h"
#include "vcpu.h"
#include "vcpu_internal.h"

static struct rig rig;

/* As when the guest ends itself by one and is stopped before KVM has told of it. */
START_TEST(triple_fault)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args = { 1 } };
	struct kvm_vcpu_events events;
	bool warned = false;
	struct vcpu *v;
	struct err e;

	rig_new(&rig, &vcpu_class);
	if (ioctl(rig.vm.fd, KVM_ENABLE_CAP, &cap)) {
		printf("skipped: this kernel does not tell of triple faults that are pending\n");
		return;
	}
	ck_assert_msg(!rig_add(&rig, "vcpu0", &rig.dev, &e), "%s", e.text);
	v = (struct vcpu *)rig.dev;
	ck_assert_int_eq(ioctl(v->fd, KVM_GET_VCPU_EVENTS, &events), 0);
	events.triple_fault.pending = 1;
	ck_assert_int_eq(ioctl(v->fd, KVM_SET_VCPU_EVENTS, &events), 0);
	ck_assert_msg(!vcpu_state_set(&v->fresh, v->fd, &warned, &e), "%s", e.text);
	ck_assert_int_eq(ioctl(v->fd, KVM_GET_VCPU_EVENTS, &events), 0);
	ck_assert_uint_eq(events.triple_fault.pending, 0);
}
END_TEST

static void teardown(void)
{
	rig_free(&rig);
}

static Suite *vcpu_state_suite(void)
{
	Suite *s = suite_create("vcpu_state");
	TCase *c = tcase_create("reset");

	tcase_add_checked_fixture(c, NULL, teardown);
	if (access("/dev/kvm", R_OK | W_OK))
		printf("skipped: /dev/kvm is missing or not permitted\n");
	else
		tcase_add_test(c, triple_fault);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(vcpu_state_suite)
