/* SPDX-License-Identifier: Apache-2.0 */
/* Why a VM's process ended, and whether it is started again. */
#include "check_main.h"
#include "restart.h"

enum { KILLED = 9, STATUS_1 = 1 << 8, STATUS_2 = 2 << 8 };

static void judges(struct remains r, enum end_kind kind, const char *sentence)
{
	char why[128];

	r.words = r.words ? r.words : "";
	ck_assert_int_eq(end_judge(&r, why, sizeof(why)), kind);
	ck_assert_str_eq(why, sentence);
}

#define REMAINS(...) ((struct remains){ __VA_ARGS__ })

START_TEST(by_status)
{
	judges(REMAINS(.has_status = true, .ran = true), END_WELL, "it was powered off");
	judges(REMAINS(.has_status = true, .status = KILLED, .ran = true), END_FAILED,
	       "its process was ended by SIGKILL");
	judges(REMAINS(.has_status = true, .status = STATUS_1, .ran = true), END_FAILED,
	       "its process ended with status 1");
	judges(REMAINS(.has_status = true, .status = STATUS_1, .ran = true,
		       .words = "the guest panicked"),
	       END_FAILED, "the guest panicked");
	judges(REMAINS(.has_status = true, .status = STATUS_2, .words = "no kernel is given"),
	       END_REFUSED, "no kernel is given");
	/* What ended it before it ran may not do so again. */
	judges(REMAINS(.has_status = true, .status = KILLED), END_FAILED,
	       "its process was ended by SIGKILL");
}
END_TEST

/* Of a process that another agent started nobody has the status. */
START_TEST(by_what_is_left)
{
	judges(REMAINS(.event = LAST_ENDED, .ran = true), END_WELL, "it was powered off");
	judges(REMAINS(.event = LAST_FAILED, .reason = "it panicked", .ran = true), END_FAILED,
	       "it panicked");
	judges(REMAINS(.ran = true, .words = "ready"), END_FAILED,
	       "its process is gone, and nothing tells why");
	judges(REMAINS(.has_status = true, .status = STATUS_1, .event = LAST_ENDED, .ran = true),
	       END_FAILED, "its process ended with status 1");
}
END_TEST

/* The source of a move ends well, too. */
START_TEST(away)
{
	judges(REMAINS(.away = "it was given to beta", .has_status = true, .ran = true), END_AWAY,
	       "it was given to beta");
	judges(REMAINS(.away = "it was offered to beta", .has_status = true, .status = KILLED),
	       END_AWAY, "it was offered to beta");
}
END_TEST

static void decides(enum end_kind kind, enum restart restart, bool starts, unsigned delay_s)
{
	const struct verdict v = restart_decide(kind, restart, 0, 1);

	ck_assert(v.starts == starts);
	ck_assert_uint_eq(v.delay_s, delay_s);
}

START_TEST(policies)
{
	decides(END_WELL, RESTART_ON_FAILURE, false, 0);
	decides(END_WELL, RESTART_ALWAYS, true, 1);
	decides(END_WELL, RESTART_NO, false, 0);
	decides(END_FAILED, RESTART_ON_FAILURE, true, 1);
	decides(END_FAILED, RESTART_ALWAYS, true, 1);
	decides(END_FAILED, RESTART_NO, false, 0);
	decides(END_REFUSED, RESTART_ON_FAILURE, true, RESTART_REFUSED_S);
	decides(END_REFUSED, RESTART_ALWAYS, true, RESTART_REFUSED_S);
	decides(END_REFUSED, RESTART_NO, false, 0);
	decides(END_AWAY, RESTART_ON_FAILURE, true, RESTART_REFUSED_S);
	decides(END_AWAY, RESTART_ALWAYS, true, RESTART_REFUSED_S);
	decides(END_AWAY, RESTART_NO, false, 0);
}
END_TEST

START_TEST(back_off_grows)
{
	static const unsigned delays[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };
	unsigned failures = 0;
	struct verdict v;

	for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
		v = restart_decide(END_FAILED, RESTART_ON_FAILURE, failures, RESTART_CALM_S - 1);
		ck_assert_uint_eq(v.delay_s, delays[i]);
		failures = v.failures;
	}
	v = restart_decide(END_FAILED, RESTART_ON_FAILURE, UINT32_MAX - 1, 0);
	ck_assert_uint_eq(v.delay_s, RESTART_MOST_S);
	v = restart_decide(END_FAILED, RESTART_ON_FAILURE, failures, RESTART_CALM_S);
	ck_assert_uint_eq(v.delay_s, 1);
	ck_assert_uint_eq(v.failures, 1);
}
END_TEST

static Suite *restart_suite(void)
{
	Suite *s = suite_create("restart");
	TCase *c = tcase_create("restart");

	tcase_add_test(c, by_status);
	tcase_add_test(c, by_what_is_left);
	tcase_add_test(c, away);
	tcase_add_test(c, policies);
	tcase_add_test(c, back_off_grows);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(restart_suite)
