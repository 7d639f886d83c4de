/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule of the planner by itself: what goes, and what keeps the rest. */
#include "check_main.h"
#include "plan_world.h"

static struct world w;

static void teardown(void)
{
	world_end(&w);
}

START_TEST(goes)
{
	world_hot_host(&w, "auto", WORLD_NO_BUDGET, "", "");
	world_plan(&w);
	world_goes(&w, "v1", "b");
	ck_assert_int_eq(world_move(&w, "v1")->execute, true);
	ck_assert_str_eq(why_word(world_move(&w, "v1")->why), "hot");
	ck_assert_double_gt(w.plan.loss_before, w.plan.loss_after);
	ck_assert_str_eq(world_rule(&w, "v2"), "pinned");
}
END_TEST

START_TEST(only_recommended)
{
	world_hot_host(&w, "recommend", WORLD_NO_BUDGET, "", "");
	world_plan(&w);
	world_goes(&w, "v1", "b");
	ck_assert_int_eq(world_move(&w, "v1")->execute, false);
}
END_TEST

/* A single change of the case above, and the rule that then keeps v1. */
static const struct {
	const char *rule, *mode, *policy, *vm, *b;
} kept[] = {
	{ "mode", "emergency", WORLD_NO_BUDGET, "", "" },
	{ "pinned", "auto", WORLD_NO_BUDGET, ",'pinned':true", "" },
	{ "cooldown", "auto", WORLD_NO_BUDGET, ",'moves':[{'at':1699999101,'from':'x','took_s':1}]",
	  "" },
	{ "cooldown", "auto", WORLD_NO_BUDGET,
	  ",'moves':[{'at':1699999001,'from':'x','took_s':100}]", "" },
	{ "return", "auto", WORLD_NO_BUDGET, ",'moves':[{'at':1699998201,'from':'b','took_s':1}]",
	  "" },
	{ "freeze", "auto", WORLD_NO_BUDGET ",'cooldown_s':0,'cooldown_moves':0",
	  ",'moves':[{'at':1699999881,'from':'x','took_s':1}]", "" },
	{ "budget", "auto", "'budget_day':0.1", "", "" },
	{ "state", "auto", WORLD_NO_BUDGET, "", ",'state':'maintenance'" },
	{ "state", "auto", WORLD_NO_BUDGET, "", ",'state':'draining'" },
	{ "fill", "auto", WORLD_NO_BUDGET ",'use_fill':0.2", "", "" },
	{ "link", "auto", WORLD_NO_BUDGET, "", ",'link_used':1" },
	{ "converge", "auto", WORLD_NO_BUDGET, ",'dirty_rate':1e9,'write_set':900000000", "" },
	{ "margin", "auto", WORLD_NO_BUDGET ",'margin':1000", "", "" },
	{ "margin", "auto", WORLD_NO_BUDGET, ",'age_s':1", "" },
	{ "small", "auto", WORLD_NO_BUDGET ",'gain_min':10,'happy_low':0.99", "", "" },
};

START_TEST(stays)
{
	world_hot_host(&w, kept[_i].mode, kept[_i].policy, kept[_i].vm, kept[_i].b);
	if (!strcmp(kept[_i].rule, "small"))
		for (int i = 0; i < 2; i++)
			world_vm(&w, i ? "b1" : "b2", "b", 0.2, ",'pinned':true");
	world_plan(&w);
	ck_assert_str_eq(world_rule(&w, "v1"), kept[_i].rule);
	ck_assert_uint_eq(w.plan.nmove, 0);
}
END_TEST

/* Each VM wants a core: one of them fills b too far, but less than a is with the others. */
START_TEST(too_much_everywhere)
{
	world_head(&w, "auto");
	world_line(&w, "{'policy':{" WORLD_NO_BUDGET "}}");
	world_host(&w, "a", 4, "");
	world_host(&w, "b", 1.2, "");
	for (int i = 1; i <= 5 + _i; i++) {
		char id[16];

		snprintf(id, sizeof(id), "v%d", i);
		world_vm(&w, id, "a", _i ? 0.34 : 0.2, "");
	}
	world_plan(&w);
	ck_assert_uint_eq(w.plan.nmove, (unsigned)_i);
	if (!_i)
		ck_assert_str_eq(world_rule(&w, "v1"), "fill");
}
END_TEST

/* One second later the time is over. */
static const char *const over[] = {
	",'moves':[{'at':1699999100,'from':'x','took_s':1}]",
	",'moves':[{'at':1699999000,'from':'x','took_s':100}]",
	",'moves':[{'at':1699998200,'from':'b','took_s':1}]",
};

START_TEST(no_longer)
{
	world_hot_host(&w, "auto", WORLD_NO_BUDGET, over[_i], "");
	world_plan(&w);
	world_goes(&w, "v1", "b");
}
END_TEST

START_TEST(cooldown_grows)
{
	/* The second move of a day makes it three times as long, and old ones do not count. */
	world_hot_host(
		&w, "auto", WORLD_NO_BUDGET,
		",'moves':[{'at':1699997301,'from':'x','took_s':1},"
		"{'at':1699990000,'from':'y','took_s':1},{'at':1699913600,'from':'z','took_s':1}]",
		"");
	world_plan(&w);
	ck_assert_str_eq(world_rule(&w, "v1"), "cooldown");
	world_end(&w);
	world_hot_host(
		&w, "auto", WORLD_NO_BUDGET,
		",'moves':[{'at':1699997300,'from':'x','took_s':1},"
		"{'at':1699990000,'from':'y','took_s':1},{'at':1699913600,'from':'z','took_s':1}]",
		"");
	world_plan(&w);
	world_goes(&w, "v1", "b");
}
END_TEST

/* Three windows of five count, two do not. */
START_TEST(hold)
{
	static const char *const run[] = { "[0.8,1,0.8,1,1]", "[0.8,1,0.8,1,0.8]" };
	static const char *const delay[] = { "[0.2,0,0.2,0,0]", "[0.2,0,0.2,0,0.2]" };

	world_head(&w, "auto");
	world_line(&w, "{'policy':{" WORLD_NO_BUDGET "}}");
	world_host(&w, "a", 4, ",'use':[0.8,0.8,0.8,0.8,0.8]");
	world_host(&w, "b", 4, "");
	for (int i = 0; i < 4; i++)
		world_line(&w,
			   "{'vm':{'id':'v%d','host':'a','at':%d,'vcpus':1,'memory':1000,"
			   "'resident':1000,'run':%s,'delay':%s,'cpu_mean':0.8}}",
			   i, NOW, run[_i], delay[_i]);
	world_plan(&w);
	if (_i)
		ck_assert_uint_gt(w.plan.nmove, 0);
	else
		ck_assert_str_eq(world_rule(&w, "v0"), "hold");
}
END_TEST

/* Memory is what the destination has beside its reserve, and what is promised there counts. */
static const struct {
	const char *line;
	bool fits;
} promised[] = {
	{ "{'reservation':{'host':'b','vm':'x','memory':88999999999,'vcpus':0,'until':1700000000}}",
	  true },
	{ "{'reservation':{'host':'b','vm':'x','memory':89000000001,'vcpus':0,'until':1700000000}}",
	  false },
	{ "{'reservation':{'host':'b','vm':'x','memory':89000000001,'vcpus':0,'until':1699999999}}",
	  true },
	{ "{'vm':{'id':'big','host':'c','at':1700000000,'vcpus':1,'memory':89000000001,"
	  "'resident':1,'run':[1],'delay':[0],'cpu_mean':0}}",
	  false },
};

START_TEST(memory)
{
	world_hot_host(&w, "auto", WORLD_NO_BUDGET, "", "");
	world_line(&w, "%s", promised[_i].line);
	world_line(&w,
		   "{'host':{'id':'c','at':%d,'cores':4,'memory':90000000000,"
		   "'available':1000000000,'link':1,'state':'draining'}}",
		   NOW);
	if (strstr(promised[_i].line, "big"))
		world_line(&w, "{'flight':{'vm':'big','from':'c','to':'b','since':%d}}", NOW);
	world_plan(&w);
	if (!promised[_i].fits)
		ck_assert_str_eq(world_rule(&w, "v1"), "memory");
	else
		world_goes(&w, "v1", "b");
}
END_TEST

/* What is on its way out is not free yet. */
START_TEST(outbound_counts)
{
	world_head(&w, "auto");
	world_line(&w, "{'policy':{" WORLD_NO_BUDGET "}}");
	world_host(&w, "a", 4, ",'state':'maintenance'");
	world_host(&w, "b", 4, "");
	world_host(&w, "c", 4, ",'state':'draining'");
	world_vm(&w, "v", "a", 0, "");
	world_line(&w,
		   "{'vm':{'id':'big','host':'b','at':%d,'vcpus':1,'memory':89500000000,"
		   "'resident':1,'run':[1],'delay':[0],'cpu_mean':0}}",
		   NOW);
	world_line(&w, "{'flight':{'vm':'big','from':'b','to':'c','since':%d}}", NOW);
	world_plan(&w);
	ck_assert_str_eq(world_rule(&w, "v"), "memory");
	ck_assert_uint_eq(w.plan.stuck, 1);
}
END_TEST

START_TEST(blind_destination)
{
	world_hot_host(&w, "auto", WORLD_NO_BUDGET, "", "");
	world_line(&w, "{'vm':{'id':'x','host':'b'}}");
	world_plan(&w);
	ck_assert_str_eq(world_rule(&w, "v1"), "state");
}
END_TEST

START_TEST(stale)
{
	world_head(&w, "auto");
	world_host(&w, "a", 1, "");
	world_host(&w, "b", 4, "");
	for (int i = 0; i < 3; i++)
		world_line(&w,
			   "{'vm':{'id':'v%d','host':'a','at':%d,'vcpus':1,'memory':1000,"
			   "'resident':1000,'run':[0.3,0.3,0.3],'delay':[0.7,0.7,0.7],"
			   "'cpu_mean':0.3}}",
			   i, NOW - 181);
	world_plan(&w);
	ck_assert_str_eq(world_rule(&w, "v0"), "stale");
	ck_assert_str_eq(w.snapshot.refused[0].sentence,
			 "VM v0 is stale: last heard of at 1699999819");
}
END_TEST

/* Hold, cooldown and mode do not keep what must go; that it fits does. */
START_TEST(emptied)
{
	static const char *const state[] = { "draining", "maintenance", "dead" };
	char more[40];

	snprintf(more, sizeof(more), ",'state':'%s'", state[_i]);
	world_head(&w, "emergency");
	world_host(&w, "a", 4, more);
	world_host(&w, "b", 4, "");
	world_vm(&w, "v1", "a", 0, ",'moves':[{'at':1699999999,'from':'b','took_s':1}]");
	world_line(&w,
		   "{'vm':{'id':'big','host':'a','at':%d,'vcpus':1,'memory':90000000001,"
		   "'resident':1,'run':[1],'delay':[0],'cpu_mean':0}}",
		   NOW);
	world_plan(&w);
	world_goes(&w, "v1", "b");
	ck_assert_int_eq(world_move(&w, "v1")->execute, true);
	ck_assert_str_eq(why_word(world_move(&w, "v1")->why), state[_i]);
	ck_assert_str_eq(world_rule(&w, "big"), "memory");
	ck_assert_uint_eq(w.plan.stuck, 1);
}
END_TEST

/* The smallest VM that gives the reserve back, and only that. */
START_TEST(reserve)
{
	world_head(&w, "emergency");
	world_line(&w,
		   "{'host':{'id':'a','at':%d,'cores':4,'memory':10000,'reserve':3000,"
		   "'available':1000,'link':1e9}}",
		   NOW);
	world_host(&w, "b", 4, "");
	for (int i = 1; i <= 4; i++)
		world_line(&w,
			   "{'vm':{'id':'v%d','host':'a','at':%d,'vcpus':1,'memory':%d,"
			   "'resident':%d,'run':[1],'delay':[0],'cpu_mean':0}}",
			   i, NOW, i * 1000, i * 1000);
	world_plan(&w);
	ck_assert_uint_eq(w.plan.nmove, 1);
	world_goes(&w, "v2", "b");
	ck_assert_str_eq(why_word(world_move(&w, "v2")->why), "memory");
	ck_assert_uint_eq(w.plan.short_hosts, 0);
}
END_TEST

START_TEST(reserve_stays_broken)
{
	char *text;

	world_head(&w, "emergency");
	world_host(&w, "a", 4, ",'state':'up','psi_mem':0.5");
	world_line(&w,
		   "{'host':{'id':'b','at':%d,'cores':4,'memory':10000,'reserve':3000,"
		   "'available':1000,'link':1e9}}",
		   NOW);
	world_vm(&w, "v", "b", 0, ",'pinned':true");
	world_plan(&w);
	ck_assert_str_eq(world_rule(&w, "v"), "pinned");
	ck_assert_uint_eq(w.plan.short_hosts, 1);
	ck_assert_uint_eq(w.plan.stuck, 0);
	text = world_written(write_plan, &w.plan);
	ck_assert_ptr_nonnull(
		strstr(text, "\"alerts\":[\"1 hosts do not get their reserve of memory back\"]"));
	free(text);
}
END_TEST

START_TEST(apart)
{
	world_head(&w, "auto");
	world_host(&w, "a", 4, "");
	world_host(&w, "b", 4, "");
	world_host(&w, "c", 4, "");
	world_vm(&w, "v1", "a", 0, ",'apart':['g']");
	world_vm(&w, "v2", "a", 0, ",'apart':['g']");
	world_vm(&w, "v3", "b", 0, ",'apart':['g']");
	world_plan(&w);
	ck_assert_uint_eq(w.plan.nmove, 1);
	world_goes(&w, "v2", "c");
}
END_TEST

START_TEST(apart_from_all)
{
	world_hot_host(&w, "auto", WORLD_NO_BUDGET, ",'apart':['g']", "");
	world_vm(&w, "x", "b", 0, ",'apart':['g']");
	world_plan(&w);
	ck_assert_str_eq(world_rule(&w, "v1"), "apart");
}
END_TEST

/* One goes to the others, not they to it. */
START_TEST(together)
{
	world_head(&w, "auto");
	world_line(&w, "{'policy':{" WORLD_NO_BUDGET "}}");
	world_host(&w, "a", 8, "");
	world_host(&w, "b", 8, "");
	world_vm(&w, "v1", "a", 0, ",'together':['g']");
	world_vm(&w, "v2", "b", 0, ",'together':['g']");
	world_vm(&w, "v3", "b", 0, ",'together':['g']");
	world_plan(&w);
	ck_assert_uint_eq(w.plan.nmove, 1);
	world_goes(&w, "v1", "b");
}
END_TEST

/* What promised much and won little is only shown from now on, but for what must be. */
START_TEST(audit)
{
	world_hot_host(&w, "auto", WORLD_NO_BUDGET ",'audit_moves':3", "", "");
	for (int i = 0; i < 3; i++)
		world_line(&w,
			   "{'vm':{'id':'x%d','host':'b','at':%d,'vcpus':1,'memory':1,'resident':1,"
			   "'run':[0],'delay':[0],'cpu_mean':0,'moves':[{'at':1699990000,"
			   "'from':'a','took_s':1,'predicted_gain':1,'gain':%g}]}}",
			   i, NOW, _i ? 0.51 : 0.49);
	world_plan(&w);
	ck_assert_int_eq(w.plan.audit_failed, !_i);
	world_goes(&w, "v1", "b");
	ck_assert_int_eq(world_move(&w, "v1")->execute, _i);
}
END_TEST

START_TEST(nothing)
{
	char *text;

	world_head(&w, "auto");
	world_host(&w, "a", 4, "");
	world_host(&w, "b", 4, "");
	world_vm(&w, "v", "a", 0, "");
	world_plan(&w);
	ck_assert_uint_eq(w.plan.nmove, 0);
	ck_assert_uint_eq(w.plan.wanted, 0);
	text = world_written(write_plan, &w.plan);
	ck_assert_ptr_nonnull(strstr(text, "\"nothing\":\"every VM gets what it wants: "));
	free(text);
}
END_TEST

/* A plan of one move: what else was worth it says so. */
START_TEST(horizon)
{
	world_hot_host(&w, "auto", WORLD_NO_BUDGET ",'waves_max':1,'cluster_min':1", "", "");
	world_host(&w, "c", 4, "");
	for (int i = 1; i <= 5; i++)
		world_vm(&w, (const char *[]){ "c1", "c2", "c3", "c4", "c5" }[i - 1], "c", 0.2,
			 i == 1 ? "" : ",'pinned':true");
	world_plan(&w);
	world_goes(&w, "v1", "b");
	ck_assert_str_eq(world_rule(&w, "c1"), "horizon");
}
END_TEST

START_TEST(waves_end)
{
	world_head(&w, "auto");
	world_line(&w, "{'policy':{'waves_max':1}}");
	world_host(&w, "a", 16, ",'state':'maintenance'");
	world_host(&w, "b", 16, "");
	for (int i = 0; i < 3; i++)
		world_vm(&w, (const char *[]){ "1", "2", "3" }[i], "a", 0, "");
	world_plan(&w);
	ck_assert_msg(w.plan.nmove == 2, "%u: %s", w.plan.nmove, world_rule(&w, "v3"));
	ck_assert_str_eq(world_rule(&w, "3"), "horizon");
}
END_TEST

/* All are counted, and as many are listed as may be. */
START_TEST(bounded)
{
	world_hot_host(&w, "auto", WORLD_NO_BUDGET ",'explain_max':2", ",'pinned':true", "");
	world_plan(&w);
	ck_assert_uint_eq(w.plan.wanted, 5);
	ck_assert_uint_eq(w.plan.refused[RULE_PINNED], 5);
	ck_assert_uint_eq(w.plan.nrefusal, 2);
}
END_TEST

/* Where a VM must go though it writes faster than it can be sent, the plan says so. */
START_TEST(does_not_converge)
{
	char *text;

	world_head(&w, "auto");
	world_host(&w, "a", 4, ",'state':'maintenance'");
	world_host(&w, "b", 4, "");
	world_vm(&w, "v", "a", 0, ",'dirty_rate':1e9,'write_set':900000000");
	world_plan(&w);
	world_goes(&w, "v", "b");
	text = world_written(write_plan, &w.plan);
	ck_assert_ptr_nonnull(strstr(text, "\"converges\":false"));
	free(text);
}
END_TEST

/* As many of a host as may go at once are in one wave. */
START_TEST(waves)
{
	uint32_t out[20] = { 0 };

	world_head(&w, "auto");
	world_host(&w, "a", 16, ",'state':'maintenance'");
	for (int i = 0; i < 3; i++)
		world_host(&w, (const char *[]){ "b", "c", "d" }[i], 16, "");
	for (int i = 0; i < 7; i++)
		world_vm(&w, (const char *[]){ "1", "2", "3", "4", "5", "6", "7" }[i], "a", 0, "");
	world_plan(&w);
	ck_assert_uint_eq(w.plan.nmove, 7);
	for (uint32_t i = 0; i < w.plan.nmove; i++) {
		out[w.plan.move[i].wave]++;
		ck_assert_int_eq(w.plan.move[i].execute, !w.plan.move[i].wave);
	}
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(out[i], 2);
	ck_assert_uint_eq(out[3], 1);
}
END_TEST

/* Three and five small VMs on two cores, as measured: at 74 % of the cores, well below the use at
 * which a host is hot, they wait for more than a quarter of the time. */
START_TEST(before_it_is_full)
{
	static const struct {
		int vms;
		double use, waits;
	} measured[] = { { 3, 0.44, 0.017 }, { 5, 0.74, 0.28 } };
	double run = measured[_i].use * 2 / measured[_i].vms;
	double delay = run * measured[_i].waits / (1 - measured[_i].waits);

	world_head(&w, "auto");
	world_host(&w, "a", 2, "");
	world_host(&w, "b", 2, "");
	for (int i = 0; i < measured[_i].vms; i++)
		world_line(&w,
			   "{'vm':{'id':'v%d','host':'a','at':%d,'vcpus':1,'memory':1,'resident':1,"
			   "'run':[%g,%g,%g],'delay':[%g,%g,%g],'cpu_mean':%g}}",
			   i, NOW, run, run, run, delay, delay, delay, run);
	world_plan(&w);
	ck_assert_double_lt(measured[_i].use, w.snapshot.policy.use_high);
	ck_assert_int_eq(w.plan.nmove > 0, _i);
}
END_TEST

#define CASES(a) ((int)(sizeof(a) / sizeof((a)[0])))

static Suite *plan_rules_suite(void)
{
	Suite *s = suite_create("plan_rules");
	TCase *c = tcase_create("rules");

	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_add_test(c, goes);
	tcase_add_test(c, only_recommended);
	tcase_add_loop_test(c, too_much_everywhere, 0, 2);
	tcase_add_loop_test(c, stays, 0, CASES(kept));
	tcase_add_loop_test(c, no_longer, 0, CASES(over));
	tcase_add_test(c, cooldown_grows);
	tcase_add_loop_test(c, hold, 0, 2);
	tcase_add_loop_test(c, memory, 0, CASES(promised));
	tcase_add_test(c, outbound_counts);
	tcase_add_test(c, blind_destination);
	tcase_add_test(c, stale);
	tcase_add_loop_test(c, emptied, 0, 3);
	tcase_add_test(c, reserve);
	tcase_add_test(c, reserve_stays_broken);
	tcase_add_test(c, apart);
	tcase_add_test(c, apart_from_all);
	tcase_add_test(c, together);
	tcase_add_loop_test(c, audit, 0, 2);
	tcase_add_test(c, nothing);
	tcase_add_loop_test(c, before_it_is_full, 0, 2);
	tcase_add_test(c, horizon);
	tcase_add_test(c, waves_end);
	tcase_add_test(c, bounded);
	tcase_add_test(c, does_not_converge);
	tcase_add_test(c, waves);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(plan_rules_suite)
