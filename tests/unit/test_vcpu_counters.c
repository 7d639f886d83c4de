/* SPDX-License-Identifier: Apache-2.0 */
/* What a vCPU counts while its guest leaves KVM in known ways, or is held back; nothing without
 * /dev/kvm. */
#include <sys/ioctl.h>

#include "check_main.h"
#include "contract_rig.h"
#include "counter_of.h"
#include "vcpu.h"

enum {
	CODE = 0x1000,
	MAPPED_BYTES = 0x8000, /* behind that is no memory */
	TSS = 0xfffbd000,
	IDENTITY_MAP = 0xfffbc000,
	WAIT_S = 10,
	TRIES = 10,
	WINDOW_US = 500000,
	SLACK_NS = 40000000,
};

/* In real mode. */
static const uint8_t code[] = {
	0xe6, 0x80, 0xe6, 0x80, 0xe6, 0x80, /* out 0x80, al: three times */
	0xa0, 0x00, 0xc0, 0xa0, 0x00, 0xc0, /* mov al, [0xc000]: twice */
	0xeb, 0xfe, /* jmp to itself */
};

static struct rig rig;

static void map_memory(void)
{
	struct kvm_userspace_memory_region slot = {
		.memory_size = MAPPED_BYTES,
		.userspace_addr = (uintptr_t)guest_mem_at(rig.vm.mem, 0, MAPPED_BYTES),
	};
	uint64_t identity_map = IDENTITY_MAP;

	ck_assert_int_eq(ioctl(rig.vm.fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map), 0);
	ck_assert_int_eq(ioctl(rig.vm.fd, KVM_SET_TSS_ADDR, (unsigned long)TSS), 0);
	ck_assert_int_eq(ioctl(rig.vm.fd, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	ck_assert_int_eq(guest_mem_write(rig.vm.mem, CODE, code, sizeof(code)), 0);
}

static void vcpu_new(void)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct err e;

	rig_new(&rig, &vcpu_class);
	map_memory();
	ck_assert_msg(!rig_add(&rig, "vcpu0", &rig.dev, &e), "%s", e.text);
	ck_assert_int_eq(vcpu_get_registers(rig.dev, &regs, &sregs, &e), 0);
	sregs.cs.base = sregs.cs.selector = 0;
	regs.rip = CODE;
	ck_assert_int_eq(vcpu_set_registers(rig.dev, &regs, &sregs, &e), 0);
}

static uint64_t count(const char *name)
{
	return counter_of(&rig.vm, "_vcpu0", name);
}

START_TEST(test_exits)
{
	uint64_t deadline_ns = loop_now_ns() + UINT64_C(1000000000) * WAIT_S;

	vcpu_new();
	ck_assert_uint_eq(count("exits_io"), 0);
	rig_start(&rig);
	while (count("exits_mmio") < 2 && loop_now_ns() < deadline_ns)
		usleep(1000);
	ck_assert_uint_eq(count("exits_io"), 3);
	ck_assert_uint_eq(count("exits_mmio"), 2);
	ck_assert_uint_eq(count("exits_hlt"), 0);
	ck_assert_uint_eq(count("exits_other"), 0);
	/* Who stops it makes it leave, if it is in the guest. */
	while (!count("exits_intr") && loop_now_ns() < deadline_ns) {
		rig_stop(&rig);
		rig_start(&rig);
		usleep(1000);
	}
	rig_stop(&rig);
	ck_assert_uint_ge(count("exits_intr"), 1);
	ck_assert_uint_eq(count("exits_io"), 3);
	if (!access("/proc/self/schedstat", R_OK))
		ck_assert_uint_gt(count("run_ns"), 0);
	count("wait_ns");
	ck_assert_str_eq(rig.vm.failure.text, "");
	rig_free(&rig);
}
END_TEST

/* The guest is in its endless loop, and gives no reason of its own to leave. */
START_TEST(test_throttle)
{
	uint64_t deadline_ns = loop_now_ns() + UINT64_C(1000000000) * WAIT_S, throttled_ns[2];

	vcpu_new();
	rig_start(&rig);
	while (count("exits_mmio") < 2 && loop_now_ns() < deadline_ns)
		usleep(1000);
	ck_assert_uint_eq(count("throttled_ns"), 0);
	for (unsigned percent = 1; percent < 100; percent += 14) {
		uint64_t before = count("throttled_ns");

		vcpu_throttle(&rig.vm, percent);
		while (count("throttled_ns") == before && loop_now_ns() < deadline_ns)
			usleep(1000);
		ck_assert_uint_gt(count("throttled_ns"), before);
	}
	/* It stops while it sleeps, and when it goes on it is still slow. */
	rig_stop(&rig);
	throttled_ns[0] = count("throttled_ns");
	rig_start(&rig);
	while (count("throttled_ns") == throttled_ns[0] && loop_now_ns() < deadline_ns)
		usleep(1000);
	ck_assert_uint_gt(count("throttled_ns"), throttled_ns[0]);
	vcpu_throttle(&rig.vm, 0);
	rig_stop(&rig);
	throttled_ns[0] = count("throttled_ns");
	rig_start(&rig);
	usleep(20000);
	rig_stop(&rig);
	ck_assert_uint_eq(vcpu_throttled_ns(&rig.vm, throttled_ns + 1, 1), 1);
	ck_assert_uint_eq(throttled_ns[1], throttled_ns[0]);
	ck_assert_str_eq(rig.vm.failure.text, "");
	rig_free(&rig);
}
END_TEST

static void wait_for_more(const char *name)
{
	uint64_t deadline_ns = loop_now_ns() + UINT64_C(1000000000) * WAIT_S, before = count(name);

	while (count(name) == before && loop_now_ns() < deadline_ns)
		usleep(1000);
	ck_assert_uint_gt(count(name), before);
}

/* The guest runs for no more than that, a burst, and a slice that a tick of the host made longer.
 * On a host that stands still at the wrong moment it is not so at first. */
static void assert_limited(uint32_t thousandths)
{
	uint64_t began_ns, ran_ns, ns;

	for (unsigned i = 0; i < TRIES; i++) {
		began_ns = loop_now_ns();
		ran_ns = count("run_ns");
		usleep(WINDOW_US);
		ran_ns = count("run_ns") - ran_ns;
		ns = loop_now_ns() - began_ns;
		if (ran_ns <= ns / 1000 * thousandths + SLACK_NS)
			return;
	}
	ck_abort_msg("%llu of %llu ns at a limit of %u / 1000", (unsigned long long)ran_ns,
		     (unsigned long long)ns, thousandths);
}

static uint64_t slowed_ns(void)
{
	uint64_t ns;

	ck_assert_uint_eq(vcpu_throttled_ns(&rig.vm, &ns, 1), 1);
	return ns;
}

/* Held back for its limit it does not count as slowed down for a migration. */
START_TEST(test_limit)
{
	uint64_t before;

	vcpu_new();
	vcpu_limit(&rig.vm, 500, true);
	rig_start(&rig);
	for (uint32_t thousandths = 10; thousandths < 700; thousandths *= 2) {
		vcpu_limit(&rig.vm, thousandths, true);
		wait_for_more("throttled_ns");
		assert_limited(thousandths);
		ck_assert_uint_eq(slowed_ns(), 0);
	}
	/* A migration slows it down by a part of what it has. */
	vcpu_limit(&rig.vm, 500, true);
	vcpu_throttle(&rig.vm, 50);
	wait_for_more("throttled_ns");
	assert_limited(250);
	ck_assert_uint_gt(slowed_ns(), 0);
	vcpu_throttle(&rig.vm, 0);
	/* It stops while it sleeps. */
	vcpu_limit(&rig.vm, 10, true);
	usleep(20000);
	rig_stop(&rig);
	/* Without a limit it is not held back. */
	rig_start(&rig);
	vcpu_limit(&rig.vm, 0, true);
	rig_stop(&rig);
	before = count("throttled_ns");
	rig_start(&rig);
	usleep(20000);
	rig_stop(&rig);
	ck_assert_uint_eq(count("throttled_ns"), before);
	ck_assert_str_eq(rig.vm.failure.text, "");
	rig_free(&rig);
}
END_TEST

static bool kvm_opens(void)
{
	CLEANUP(fd) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd >= 0;
}

static Suite *suite(void)
{
	Suite *s = suite_create("vcpu_counters");
	TCase *tc = tcase_create("vcpu_counters");

	tcase_set_timeout(tc, 60);
	if (kvm_opens()) {
		tcase_add_test(tc, test_exits);
		tcase_add_test(tc, test_throttle);
		tcase_add_test(tc, test_limit);
	} else {
		printf("skipped: counters of a vCPU, as /dev/kvm does not open\n");
	}
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
