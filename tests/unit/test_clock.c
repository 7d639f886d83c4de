/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's clock, paused and moved between hosts whose wall clocks say this and that; nothing
 * without /dev/kvm. */
#include <inttypes.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "check_main.h"
#include "contract_rig.h"

#define SECOND UINT64_C(1000000000)
#define NOON (UINT64_C(1700000000) * SECOND)
#define BEFORE (1000 * SECOND) /* what the guest's clock shows when it stops, or a bit more */

static uint64_t now_ns;

static uint64_t test_clock(void)
{
	return now_ns;
}

static void host_new(struct rig *rig)
{
	rig_new_with_device(rig, &clock_class);
	rig->vm.wall_clock_ns = test_clock;
}

static uint64_t guest_ns(struct rig *rig)
{
	struct kvm_clock_data k = { 0 };

	ck_assert_int_eq(ioctl(rig->vm.fd, KVM_GET_CLOCK, &k), 0);
	return k.clock;
}

/* Started, run and stopped at NOON with so much on the clock. */
static struct state_buf life(struct rig *rig)
{
	struct kvm_clock_data k = { .clock = BEFORE };

	host_new(rig);
	now_ns = NOON;
	rig_start(rig);
	ck_assert_int_eq(ioctl(rig->vm.fd, KVM_SET_CLOCK, &k), 0);
	rig_stop(rig);
	return rig_save(rig);
}

static const struct {
	int64_t away_s, advances_s;
} moves[] = {
	{ 0, 0 },      { 4, 4 },  { 5, 5 }, { 6, 0 }, /* a restore */
	{ 86400, 0 },  { -1, 0 }, /* the host is behind the other */
	{ -86400, 0 },
};

/* Less than what a wrong answer would differ by, and long for a busy machine. */
#define SLACK (3 * SECOND)

static void expect_clock(struct rig *rig, int64_t advances_s)
{
	uint64_t from = BEFORE + (uint64_t)advances_s * SECOND, now = guest_ns(rig);

	ck_assert_msg(now >= from && now < from + SLACK, "%" PRIu64 ", not %" PRIu64, now, from);
}

/* By how much the clock is wrong by those of the hosts, but for the time that this takes. */
static void expect_arrival(const struct vm_arrival *a, int64_t away_s, int64_t advances_s)
{
	int64_t step_ns = (advances_s - away_s) * (int64_t)SECOND;

	ck_assert(a->ran_ns && a->clock_known);
	ck_assert_int_eq(a->away_ns, away_s * (int64_t)SECOND);
	ck_assert_int_ge(a->clock_step_ns, step_ns);
	ck_assert_int_lt(a->clock_step_ns, step_ns + (int64_t)SLACK);
}

START_TEST(test_move)
{
	struct rig a, b;
	struct state_buf s = life(&a);
	struct err e;

	host_new(&b);
	ck_assert_msg(!rig_load(&b, &s, &e), "%s", e.text);
	now_ns = NOON + (uint64_t)(moves[_i].away_s * (int64_t)SECOND);
	rig_start(&b);
	expect_clock(&b, moves[_i].advances_s);
	expect_arrival(&b.vm.arrival, moves[_i].away_s, moves[_i].advances_s);
	ck_assert_uint_eq(a.vm.arrival.ran_ns, 0);
	/* Once: then it is a clock that pauses. */
	rig_stop(&b);
	now_ns += 4 * SECOND;
	rig_start(&b);
	expect_clock(&b, moves[_i].advances_s);
	rig_stop(&b);
	state_buf_free(&s);
	rig_free(&a);
	rig_free(&b);
}
END_TEST

START_TEST(test_pause)
{
	struct rig a;
	struct state_buf s = life(&a);

	now_ns += 4 * SECOND;
	rig_start(&a);
	expect_clock(&a, 0);
	rig_stop(&a);
	state_buf_free(&s);
	rig_free(&a);
}
END_TEST

/* Nor does a pause that began at one place and ended at another. */
START_TEST(test_paused_move)
{
	struct rig a, b;
	struct state_buf s = life(&a);
	struct err e;

	host_new(&b);
	b.vm.came_paused = true;
	ck_assert_msg(!rig_load(&b, &s, &e), "%s", e.text);
	now_ns += 4 * SECOND;
	rig_start(&b);
	expect_clock(&b, 0);
	rig_stop(&b);
	state_buf_free(&s);
	rig_free(&a);
	rig_free(&b);
}
END_TEST

/* Neither refuses the other, and the clock goes on. */
START_TEST(test_older_version)
{
	static const struct state_version v1[] = { { "clock", 1 } };
	struct rig a, b;
	struct state_buf s = life(&a);
	struct state_target to = { "clock", v1, 1, NULL };
	struct err e;

	host_new(&b);
	s.len = 0;
	to.reset = device_state(b.dev);
	ck_assert_msg(!state_save(clock_class.state, device_state(a.dev), &to, &s, &e), "%s",
		      e.text);
	ck_assert_msg(!rig_load(&b, &s, &e), "%s", e.text);
	now_ns += 4 * SECOND;
	rig_start(&b);
	expect_clock(&b, 0);
	ck_assert(b.vm.arrival.ran_ns && !b.vm.arrival.clock_known);
	rig_stop(&b);
	state_buf_free(&s);
	rig_free(&a);
	rig_free(&b);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("clock");
	TCase *tc = tcase_create("clock");

	if (access("/dev/kvm", R_OK | W_OK) == 0) {
		tcase_add_loop_test(tc, test_move, 0, ARRAY_SIZE(moves));
		tcase_add_test(tc, test_pause);
		tcase_add_test(tc, test_paused_move);
		tcase_add_test(tc, test_older_version);
	} else {
		printf("skipped: the guest's clock, as /dev/kvm is missing or not permitted\n");
	}
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
