/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot may hold, what is refused of it, and that it comes back as it was. */
#include "check_main.h"
#include "planner/fields.h"
#include "plan_world.h"
#include "planner/what_if.h"

static struct world w;

static void teardown(void)
{
	world_end(&w);
}

static void refused_whole(const char *line, const char *sentence)
{
	world_begin(&w);
	if (*line)
		world_line(&w, "%s", line);
	ck_assert_int_lt(world_try_read(&w), 0);
	ck_assert_str_eq(w.e.text, sentence);
	world_end(&w);
}

START_TEST(whole_files)
{
	refused_whole("", "it is empty");
	refused_whole("[1,", "line 1: it is no JSON: ']' expected near end of file");
}
END_TEST

START_TEST(heads)
{
	refused_whole("{'policy':{}}", "line 1: the first line, and no other, is a \"snapshot\"");
	refused_whole("{'snapshot':{'version':2,'time':1}}", "line 1: it is of version 2, not 1");
	refused_whole("{'snapshot':{'version':1}}", "line 1: time is missing");
	refused_whole("{'snapshot':{'version':1,'time':1},'host':{}}",
		      "line 1: it is no object with one key");
	refused_whole("{'snapshot':{'version':1,'time':1,'mode':'manual'}}",
		      "line 1: mode must be one of its words, such as \"recommend\"");
	world_head(&w, "auto");
	world_line(&w, "{'disk':{}}");
	ck_assert_int_lt(world_try_read(&w), 0);
	ck_assert_str_eq(w.e.text, "line 2: \"disk\" is nothing that a snapshot has");
	world_end(&w);
	world_head(&w, "auto");
	world_line(&w, "{'policy':{'margin':-1}}");
	ck_assert_int_lt(world_try_read(&w), 0);
	ck_assert_str_eq(w.e.text, "line 2: margin is -1, which is not within 0 to 1000");
}
END_TEST

static const struct {
	const char *line, *sentence;
} absurd[] = {
	{ "{'host':{'id':'x','at':1700000000,'cores':1,'memory':10,'available':5}}",
	  "host x is absurd: link is missing" },
	{ "{'host':{'id':'x','at':1700000000,'cores':0,'memory':10,'available':5,'link':1}}",
	  "host x is absurd: cores is 0, which is not within 0.001 to 65536" },
	{ "{'host':{'id':'x','at':1700000000,'cores':'2','memory':10,'available':5,'link':1}}",
	  "host x is absurd: cores must be a number" },
	{ "{'host':{'id':'x','at':1700000000,'cores':1,'memory':1.5,'available':5,'link':1}}",
	  "host x is absurd: memory must be a whole number" },
	{ "{'host':{'id':'x','at':1700000000,'cores':1,'memory':10,'available':11,'link':1}}",
	  "host x is absurd: more memory is available than it has" },
	{ "{'host':{'id':'x','at':1700000000,'cores':1,'memory':10,'reserve':10,'available':1,"
	  "'link':1}}",
	  "host x is absurd: its reserve is all of its memory" },
	{ "{'host':{'id':'x','at':1700000000,'cores':1,'memory':10,'available':1,'link':1,"
	  "'color':3}}",
	  "host x is absurd: \"color\" is not known here" },
	{ "{'host':{'id':'a','at':1700000000,'cores':1,'memory':10,'available':1,'link':1}}",
	  "host a is absurd: there are two of it" },
	{ "{'host':{'id':'x y'}}",
	  "host without a name is absurd: id must be a name of letters, digits, . _ and -" },
	{ "{'vm':{'id':'v','host':'a','at':1700000000,'vcpus':1,'memory':9,'resident':9,"
	  "'run':[0.9],'delay':[0.2],'cpu_mean':0.5}}",
	  "VM v is absurd: its vCPUs ran and waited for more time than there was" },
	{ "{'vm':{'id':'v','host':'a','at':1700000000,'vcpus':1,'memory':9,'resident':9,"
	  "'run':[0.9],'delay':[0.1,0.1],'cpu_mean':0.5}}",
	  "VM v is absurd: not all its measurements have as many windows" },
	{ "{'vm':{'id':'v','host':'a','at':1700000000,'vcpus':1,'memory':9,'resident':9,"
	  "'run':[0.9],'delay':[0.1],'cpu_mean':1.5}}",
	  "VM v is absurd: it used more than its vCPUs" },
	{ "{'vm':{'id':'v','host':'a','at':1700000000,'vcpus':1,'memory':9,'resident':20,"
	  "'run':[0.9],'delay':[0.1],'cpu_mean':0.5,'write_set':1}}",
	  "VM v is absurd: it holds twice its memory" },
	{ "{'vm':{'id':'v','host':'a','at':1700000000,'vcpus':1,'memory':9,'resident':9,"
	  "'run':[0.9],'delay':[0.1],'cpu_mean':0.5,'write_set':10}}",
	  "VM v is absurd: it writes more memory than it has" },
	{ "{'vm':{'id':'v','host':'a','at':1700000000,'vcpus':1,'memory':9,'resident':9,"
	  "'run':[],'delay':[0.1],'cpu_mean':0.5}}",
	  "VM v is absurd: run must be an array of 1 to 5 numbers" },
	{ "{'vm':{'id':'v','host':'a','at':1700000000,'vcpus':1,'memory':9,'resident':9,"
	  "'run':[0.9],'delay':[1.1],'cpu_mean':0.5}}",
	  "VM v is absurd: delay is 1.1, which is not within 0 to 1" },
	{ "{'vm':{'id':'v','host':'a','at':1700000000,'vcpus':1,'memory':9,'resident':9,"
	  "'run':[0.9],'delay':[0.1],'cpu_mean':0.5,'moves':[{'at':1,'from':'a','took_s':1},"
	  "{'at':2,'from':'a','took_s':1}]}}",
	  "VM v is absurd: moves must have the newest move first" },
	{ "{'vm':{'id':'v','host':'nowhere','at':1700000000,'vcpus':1,'memory':9,'resident':9,"
	  "'run':[0.9],'delay':[0.1],'cpu_mean':0.5}}",
	  "VM v is absurd: its host nowhere is not in the snapshot" },
	{ "{'vm':{'id':'v','host':'a','at':1699999819,'vcpus':1,'memory':9,'resident':9,"
	  "'run':[0.9],'delay':[0.1],'cpu_mean':0.5}}",
	  "VM v is stale: last heard of at 1699999819" },
	{ "{'host':{'id':'x','at':1700000061,'cores':1,'memory':10,'available':5,'link':1}}",
	  "host x is stale: last heard of at 1700000061" },
};

/* The rest of the snapshot is taken; the plan says the sentence; it outlives a save. */
START_TEST(absurd_records)
{
	char *first, *again;
	FILE *f;

	world_head(&w, "auto");
	world_host(&w, "a", 4, "");
	world_vm(&w, "b", "a", 0, "");
	world_line(&w, "%s", absurd[_i].line);
	world_plan(&w);
	ck_assert_uint_eq(w.snapshot.nrefused, 1);
	ck_assert_str_eq(w.snapshot.refused[0].sentence, absurd[_i].sentence);
	ck_assert_uint_ne(snapshot_vm(&w.snapshot, names_find(&w.snapshot.names, "b")), NOWHERE);
	first = world_written(write_plan, &w.plan);
	ck_assert_ptr_nonnull(strstr(first, "\"left_out\":1"));
	free(w.text);
	w.text = world_written(write_snapshot, &w.snapshot);
	plan_free(&w.plan);
	snapshot_free(&w.snapshot);
	f = fmemopen(w.text, strlen(w.text), "r");
	ck_assert_int_eq(snapshot_read(&w.snapshot, f, &w.e), 0);
	fclose(f);
	ck_assert_int_eq(plan_make(&w.plan, &w.snapshot, &w.e), 0);
	again = world_written(write_plan, &w.plan);
	ck_assert_str_eq(first, again);
	free(first);
	free(again);
}
END_TEST

static const char canonical[] =
	"{'host':{'id':'a','at':1700000000,'cores':4,'memory':100,'reserve':10,'available':50,"
	"'link':1000000000.5,'class':'big','maintenance_at':1700000900,'use':[0.1,0.2]}}\n"
	"{'host':{'id':'b','at':1700000000,'state':'draining','cores':0.3,'memory':100,"
	"'available':50,'link':1}}\n"
	"{'vm':{'id':'a','host':'a','at':1700000000,'vcpus':1,'memory':9,'resident':8,"
	"'working_set':7,'weight':2,'age_s':3600,'contended_s':90,'together':['g1','g2'],"
	"'apart':['g3'],'pinned':true,'run':[0.9],'delay':[0.1],'mem':[0.01],'io':[0.02],"
	"'cpu_mean':0.123456789012345,'cpu_deviation':0.2,'dirty_rate':5,'write_set':6,'to_send':8,"
	"'moves':[{'at':1699990000,'from':'b','took_s':3.25,'gain':-0.5,'predicted_gain':1}]}}\n"
	"{'flight':{'vm':'a','from':'a','to':'b','since':1699999990}}\n"
	"{'reservation':{'host':'b','vm':'x','memory':5,'vcpus':2,'until':1700000030}}\n"
	"{'host':{'id':'c','cores':[]}}\n";

/* Each line in canonical order, in a file that is canonical but for its head. */
START_TEST(comes_back)
{
	char *first, *again, *wanted = strdup(canonical), *tail;
	FILE *f;

	for (char *c = wanted; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	world_head(&w, "auto");
	fputs(wanted, w.file);
	ck_assert_msg(!world_try_read(&w), "%s", w.e.text);
	first = world_written(write_snapshot, &w.snapshot);
	tail = strstr(first, "{\"host\":");
	ck_assert_ptr_nonnull(tail);
	ck_assert_str_eq(tail, wanted);
	snapshot_free(&w.snapshot);
	f = fmemopen(first, strlen(first), "r");
	ck_assert_int_eq(snapshot_read(&w.snapshot, f, &w.e), 0);
	fclose(f);
	again = world_written(write_snapshot, &w.snapshot);
	ck_assert_str_eq(first, again);
	free(first);
	free(again);
	free(wanted);
}
END_TEST

/* What comes in another order is the same snapshot. */
START_TEST(order)
{
	char *first, *again;

	world_head(&w, "auto");
	world_host(&w, "b", 4, "");
	world_host(&w, "a", 4, "");
	world_vm(&w, "v2", "a", 0, "");
	world_vm(&w, "v1", "b", 0, "");
	ck_assert_int_eq(world_try_read(&w), 0);
	first = world_written(write_snapshot, &w.snapshot);
	world_end(&w);
	world_head(&w, "auto");
	world_vm(&w, "v1", "b", 0, "");
	world_vm(&w, "v2", "a", 0, "");
	world_host(&w, "a", 4, "");
	world_host(&w, "b", 4, "");
	ck_assert_int_eq(world_try_read(&w), 0);
	again = world_written(write_snapshot, &w.snapshot);
	ck_assert_str_eq(first, again);
	ck_assert_uint_eq(w.snapshot.vm[0].host, 1);
	free(first);
	free(again);
}
END_TEST

/* 100 hosts, of which every fourth is hot, in one order and the other.  The coolest one, which is
 * tried for each VM, takes none, so that all go to hosts that are chosen at random. */
static char *plan_of_many(bool backwards)
{
	char id[16], host[16], *text;

	world_head(&w, "auto");
	world_line(&w, "{'policy':{'near':1,'random':3,'budget_day':10}}");
	for (int n = 0; n < 100; n++) {
		int i = backwards ? 99 - n : n;

		snprintf(host, sizeof(host), "h%02d", i);
		world_host(&w, host, 4, i == 1 ? ",'link_used':1" : "");
		for (int v = 0; v < (i == 1 ? 0 : i % 4 ? 1 : 5); v++) {
			snprintf(id, sizeof(id), "v%d-%d", i, v);
			world_vm(&w, id, host, i % 4 ? 0.1 : 0.3, "");
		}
	}
	world_plan(&w);
	ck_assert_uint_gt(w.plan.nmove, 10);
	text = world_written(write_plan, &w.plan);
	world_end(&w);
	return text;
}

START_TEST(same_plan)
{
	char *forth = plan_of_many(false), *back = plan_of_many(true);

	ck_assert_str_eq(forth, back);
	free(forth);
	free(back);
}
END_TEST

static void edit(const char *text, const char *sentence)
{
	int r = what_if_apply(&w.snapshot, text, &w.e);

	ck_assert_msg(sentence ? r < 0 : !r, "%s: %s", text, r ? w.e.text : "taken");
	if (sentence)
		ck_assert_str_eq(w.e.text, sentence);
}

START_TEST(edits)
{
	world_head(&w, "auto");
	world_host(&w, "b", 4, "");
	world_vm(&w, "v", "b", 0, "");
	ck_assert_int_eq(world_try_read(&w), 0);
	edit("add-host=a,like=b", NULL);
	ck_assert_uint_eq(w.snapshot.nhost, 2);
	ck_assert_uint_eq(w.snapshot.vm[0].host, 1);
	ck_assert_double_eq(w.snapshot.host[0].cores, 4);
	ck_assert_uint_eq(w.snapshot.host[0].available, w.snapshot.host[0].memory);
	edit("remove-host=b", NULL);
	ck_assert_uint_eq(w.snapshot.host[1].state, HOST_DRAINING);
	edit("maintenance=b", NULL);
	ck_assert_uint_eq(w.snapshot.host[1].state, HOST_MAINTENANCE);
	edit("margin=3.5", NULL);
	ck_assert_double_eq(w.snapshot.policy.margin, 3.5);
	edit("mode=emergency", NULL);
	ck_assert_uint_eq(w.snapshot.mode, MODE_EMERGENCY);
	edit("add-host=a", "there is a host a already");
	edit("add-host=c,like=d", "there is no host d");
	edit("add-host=c,size=d", "a new host is given as NAME or NAME,like=HOST");
	edit("drain=d", "there is no host d");
	edit("nonsense", "an edit is given as KEY=VALUE");
	edit("nonsense=1", "there is no \"nonsense\" to change");
	edit("margin=much", "margin cannot be \"much\"");
	edit("margin=-1", "margin is -1, which is not within 0 to 1000");
}
END_TEST

static Suite *plan_snapshot_suite(void)
{
	Suite *s = suite_create("plan_snapshot");
	TCase *c = tcase_create("read and written");

	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_add_test(c, whole_files);
	tcase_add_test(c, heads);
	tcase_add_loop_test(c, absurd_records, 0, (int)(sizeof(absurd) / sizeof(absurd[0])));
	tcase_add_test(c, comes_back);
	tcase_add_test(c, order);
	tcase_add_test(c, same_plan);
	tcase_add_test(c, edits);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(plan_snapshot_suite)
