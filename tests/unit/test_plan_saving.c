/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept free for hosts that fail, and hosts that are emptied to save energy. */
#include "bits.h"
#include "check_main.h"
#include "plan_world.h"

static struct world w;

static void teardown(void)
{
	world_end(&w);
}

static void filler(const char *id, const char *host, double bytes, double cores)
{
	world_line(&w,
		   "{'vm':{'id':'%s','host':'%s','at':%d,'vcpus':4,'memory':%.0f,'resident':%.0f,"
		   "'run':[%g],'delay':[0],'cpu_mean':%g,'pinned':true}}",
		   id, host, NOW, bytes, bytes, cores / 4, cores);
}

/*
 * If c fails, its VM of 80 GB has a place on b only, of whose 90 GB y takes some; so v1 may not
 * go there if it would be one too many.  It may if 80 GB are not free there anyway, be it because
 * of y or of what has to leave d.
 */
static const struct {
	double on_b, on_d;
	int reserve;
	bool goes, alert;
} spared[] = {
	{ 8.9e9, 0, 1, true, false }, { 9.1e9, 0, 1, false, false }, { 9.1e9, 0, 0, true, false },
	{ 10.1e9, 0, 1, true, true }, { 8.9e9, 2e9, 1, true, true },
};

START_TEST(reserve_host)
{
	char policy[80];
	char *text;

	snprintf(policy, sizeof(policy), WORLD_NO_BUDGET ",'hosts_in_reserve':%d",
		 spared[_i].reserve);
	world_hot_host(&w, "auto", policy, "", "");
	world_host(&w, "c", 4, "");
	filler("x", "a", 20e9, 0);
	filler("y", "b", spared[_i].on_b, 0);
	filler("z", "c", 80e9, 3);
	world_host(&w, "d", 4, ",'state':'draining'");
	if (spared[_i].on_d > 0)
		world_line(&w,
			   "{'vm':{'id':'m','host':'d','at':%d,'vcpus':1,'memory':%.0f,"
			   "'resident':1,'run':[0],'delay':[0],'cpu_mean':0}}",
			   NOW, spared[_i].on_d);
	world_plan(&w);
	text = world_written(write_plan, &w.plan);
	if (spared[_i].goes)
		world_goes(&w, "v1", "b");
	else
		ck_assert_str_eq(world_rule(&w, "v1"), "reserve-host");
	ck_assert_int_eq(strstr(text, "\"alerts\":[\"if 1 hosts failed, 80000000000 bytes") != NULL,
			 spared[_i].alert);
	free(text);
}
END_TEST

/* What must go goes all the same, and the plan says what then is missing. */
START_TEST(reserve_host_or_not)
{
	world_head(&w, "auto");
	world_line(&w, "{'policy':{'hosts_in_reserve':1}}");
	world_host(&w, "a", 4, ",'state':'maintenance'");
	world_host(&w, "b", 4, "");
	world_host(&w, "c", 4, "");
	world_vm(&w, "v", "a", 0, "");
	filler("y", "b", 45e9, 0);
	filler("z", "c", 45e9, 3.5);
	world_plan(&w);
	world_goes(&w, "v", "b");
	ck_assert_double_eq_tol(w.plan.spare_missing, 1e9, 1);
}
END_TEST

/* A VM that uses so many cores and gets them. */
static void quiet(const char *id, const char *host, double cores, const char *more)
{
	world_line(&w,
		   "{'vm':{'id':'%s','host':'%s','at':%d,'vcpus':4,'memory':1000000000,"
		   "'resident':500000000,'run':[%g],'delay':[0],'cpu_mean':%g%s}}",
		   id, host, NOW, cores / 4, cores, more);
}

#define ENERGY WORLD_NO_BUDGET ",'energy':1"

/* a and b have VMs, c has none; a has least to do. */
static void quiet_hosts(const char *policy, const char *a1_more, double on_b, const char *b1_more)
{
	world_head(&w, "auto");
	world_line(&w, "{'policy':{%s}}", policy);
	for (int i = 0; i < 3; i++)
		world_host(&w, (const char *[]){ "a", "b", "c" }[i], 4, "");
	quiet("a1", "a", 0.4, a1_more);
	quiet("a2", "a", 0.4, "");
	quiet("b1", "b", on_b, b1_more);
}

START_TEST(emptied)
{
	quiet_hosts(ENERGY, "", 1.4, "");
	world_plan(&w);
	ck_assert_uint_eq(w.plan.nmove, 2);
	world_goes(&w, "a1", "b");
	world_goes(&w, "a2", "b");
	ck_assert_str_eq(why_word(world_move(&w, "a1")->why), "energy");
	ck_assert_int_eq(world_move(&w, "a1")->execute, true);
}
END_TEST

/* A single change, and why nothing goes then; all or nothing. */
static const struct {
	const char *policy, *a1_more;
	double on_b;
	const char *b1_more;
	uint32_t wanted;
	enum rule rule;
} not_emptied[] = {
	{ WORLD_NO_BUDGET, "", 1.4, "", 0, RULE_NONE },
	{ ENERGY ",'use_fill':0.5", "", 1.4, "", 1, RULE_FILL },
	{ ENERGY, "", 1.5, "", 1, RULE_FILL }, /* one finds room, the other does not */
	{ ENERGY, "", 0.9, ",'cpu_deviation':0.4", 1, RULE_FILL },
	{ ENERGY, ",'apart':['x']", 1.4, ",'apart':['x']", 1, RULE_APART },
	{ ENERGY, ",'dirty_rate':1e9,'write_set':400000000", 1.4, "", 1, RULE_CONVERGE },
	{ ENERGY ",'hosts_in_reserve':1", "", 1.4, "", 1, RULE_RESERVE_HOST },
	{ "'energy':1,'budget_day':0.4", "", 1.4, "", 1, RULE_BUDGET },
	/* Neither of the two may be emptied. */
	{ ENERGY, ",'pinned':true", 1.4, ",'pinned':true", 0, RULE_NONE },
	{ ENERGY, ",'moves':[{'at':1699999501,'from':'x','took_s':1}]", 1.4, ",'pinned':true", 0,
	  RULE_NONE },
	/* A move was just now, though not of its host; or somebody goes short. */
	{ ENERGY ",'cooldown_s':0,'cooldown_moves':0", "", 1.4,
	  ",'moves':[{'at':1699999981,'from':'x','took_s':1}]", 0, RULE_NONE },
	{ ENERGY, "", 1.4, ",'io':[0.5]", 1, RULE_HOLD },
};

START_TEST(stays)
{
	quiet_hosts(not_emptied[_i].policy, not_emptied[_i].a1_more, not_emptied[_i].on_b,
		    not_emptied[_i].b1_more);
	world_plan(&w);
	ck_assert_uint_eq(w.plan.nmove, 0);
	ck_assert_uint_eq(w.plan.wanted, not_emptied[_i].wanted);
	if (not_emptied[_i].rule)
		ck_assert_uint_gt(w.plan.refused[not_emptied[_i].rule], 0);
}
END_TEST

/* The next one in its place; and a host for which another VM is on its way is not tried. */
START_TEST(another_is_emptied)
{
	quiet_hosts(ENERGY, _i ? "" : ",'pinned':true", 1.2, "");
	if (_i)
		world_line(&w, "{'reservation':{'host':'a','vm':'x','memory':1000,'vcpus':0,"
			       "'until':1800000000}}");
	world_plan(&w);
	ck_assert_uint_eq(w.plan.nmove, 1);
	world_goes(&w, "b1", "a");
}
END_TEST

static Suite *plan_saving_suite(void)
{
	Suite *s = suite_create("plan_saving");
	TCase *c = tcase_create("saving");

	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_add_loop_test(c, reserve_host, 0, (int)ARRAY_SIZE(spared));
	tcase_add_test(c, reserve_host_or_not);
	tcase_add_test(c, emptied);
	tcase_add_loop_test(c, stays, 0, (int)ARRAY_SIZE(not_emptied));
	tcase_add_loop_test(c, another_is_emptied, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(plan_saving_suite)
