/* SPDX-License-Identifier: Apache-2.0 */
/* Which agent plans, as each of them sees it. */
#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "bits.h"
#include "election.h"

enum { HOSTS_MAX = 4 };

/*
 * Who hears whom: for each host a word with a letter for each that it hears.  Hosts are a, b, c, d
 * by number.
 */
struct mesh {
	const char *name;
	const char *hears[HOSTS_MAX]; /* NULL: there is no such host */
	const char *maintenance;
	const char *planner[HOSTS_MAX]; /* as each sees it; NULL: nobody */
	const char *why; /* part of the first one's sentence */
};

static const struct mesh meshes[] = {
	{ "alone", { "" }, "", { "a" }, "" },
	{ "two", { "b", "a" }, "", { "a", "a" }, "" },
	{ "three", { "bc", "ac", "ab" }, "", { "a", "a", "a" }, "" },
	{ "four", { "bcd", "acd", "abd", "abc" }, "", { "a", "a", "a", "a" }, "" },
	{ "two, split", { "", "" }, "", { NULL, NULL }, "a does not hear b" },
	{ "two, one deaf", { "", "a" }, "", { NULL, NULL }, "a does not hear b; " },
	{ "two, the other deaf", { "b", "" }, "", { NULL, NULL }, "b does not hear a" },
	{ "one of three is dead",
	  { "b", "a", "" },
	  "",
	  { NULL, NULL, NULL },
	  "a does not hear c, b does not hear c; start the agent there again or mend the network; "
	  "if c is gone for good, \"godwit-agent maintenance c on\" takes it out" },
	{ "two dead", { "", "", "" }, "", { NULL, NULL, NULL }, "a does not hear c" },
	{ "two and two",
	  { "b", "a", "d", "c" },
	  "",
	  { NULL, NULL, NULL, NULL },
	  "a does not hear c, b does not hear c, a does not hear d and 1 more like that" },
	{ "the dead one is out", { "b", "a", "" }, "c", { "a", "a", NULL }, "" },
	{ "the lowest is out", { "", "c", "b" }, "a", { NULL, "b", "b" }, "a does not hear b" },
	{ "out and heard", { "bc", "ac", "ab" }, "a", { "b", "b", "b" }, "" },
	{ "out and deaf", { "", "ac", "ab" }, "a", { NULL, "b", "b" }, "a does not hear b" },
	{ "all are out", { "b", "a" }, "ab", { NULL, NULL }, "all hosts are in maintenance" },
	/* Who hears all, and is heard by all, can plan for those that do not hear each other. */
	{ "a and b are cut off", { "c", "c", "ab" }, "", { NULL, NULL, "c" }, "a does not hear b" },
	{ "a does not hear c", { "b", "ac", "ab" }, "", { NULL, "b", "b" }, "a does not hear c" },
	{ "c does not hear a", { "bc", "ac", "b" }, "", { "b", "b", NULL }, "" },
	/* d knows c, which knows the others; they have not heard of it yet. */
	{ "d joins",
	  { "bc", "ac", "abd", "c" },
	  "",
	  { NULL, NULL, "c", NULL },
	  "a does not hear d" },
};

static void view(const struct mesh *m, size_t me, struct election *e)
{
	static const char *const ids[HOSTS_MAX] = { "a", "b", "c", "d" };
	struct election_host host[HOSTS_MAX];
	json_t *hears[HOSTS_MAX];
	size_t n = 0;

	for (size_t k = 0; k < HOSTS_MAX; k++) {
		size_t i = (me + k) % HOSTS_MAX; /* the own one is the first */

		if (!m->hears[i])
			continue;
		hears[n] = json_array();
		for (const char *p = m->hears[i]; *p; p++)
			json_array_append_new(hears[n], json_string(ids[*p - 'a']));
		host[n] = (struct election_host){
			.id = ids[i],
			.maintenance = strchr(m->maintenance, *ids[i]) != NULL,
			.fresh = i == me || strchr(m->hears[me], *ids[i]),
			.hears = hears[n],
		};
		n++;
	}
	election_hold(e, host, n, NULL);
	while (n--)
		json_decref(hears[n]);
}

START_TEST(table)
{
	const struct mesh *m = &meshes[_i];
	struct election e;

	for (size_t i = 0; i < HOSTS_MAX && m->hears[i]; i++) {
		view(m, i, &e);
		ck_assert_msg(!e.planner == !m->planner[i] &&
				      (!e.planner || !strcmp(e.planner, m->planner[i])),
			      "%s: for %zu it is %s", m->name, i, e.planner ? e.planner : "nobody");
		ck_assert_msg(!e.planner == !!*e.why, "%s: %s", m->name, e.why);
		if (!i && m->why)
			ck_assert_msg(strstr(e.why, m->why), "%s: %s", m->name, e.why);
	}
}
END_TEST

/* Of all that can be heard among four: whoever thinks it plans is alone in that. */
START_TEST(never_two)
{
	static char words[HOSTS_MAX][HOSTS_MAX];
	unsigned planned = 0;

	for (unsigned bits = 0; bits < 1 << (HOSTS_MAX * (HOSTS_MAX - 1)); bits++) {
		struct mesh m = { .maintenance = "" };
		unsigned left = bits, planners = 0;
		struct election e;

		for (size_t i = 0; i < HOSTS_MAX; i++) {
			size_t n = 0;

			for (size_t j = 0; j < HOSTS_MAX; j++)
				if (j != i) {
					if (left & 1)
						words[i][n++] = (char)('a' + j);
					left >>= 1;
				}
			words[i][n] = '\0';
			m.hears[i] = words[i];
		}
		for (size_t i = 0; i < HOSTS_MAX; i++) {
			view(&m, i, &e);
			planners += e.planner && *e.planner == (char)('a' + i);
		}
		ck_assert_uint_le(planners, 1);
		planned += planners;
	}
	ck_assert_uint_gt(planned, 100);
}
END_TEST

START_TEST(unmet)
{
	struct election_host host[2] = { { .id = "a", .fresh = true } };
	json_auto_t *hears = json_pack("[s, s]", "a", "x");
	struct election e;

	election_hold(&e, host, 1, "h2:7070");
	ck_assert(!e.planner && strstr(e.why, "no agent was met at h2:7070 yet"));
	host[1] = (struct election_host){ .id = "b", .fresh = true, .hears = hears };
	election_hold(&e, host, 2, NULL);
	ck_assert_msg(!e.planner && strstr(e.why, "x, which others hear"), "%s", e.why);
	host[1].fresh = false; /* what it said once says nothing of now */
	election_hold(&e, host, 2, NULL);
	ck_assert_msg(!e.planner && strstr(e.why, "a does not hear b"), "%s", e.why);
}
END_TEST

static Suite *election_suite(void)
{
	Suite *suite = suite_create("election");
	TCase *tcase = tcase_create("all");

	tcase_add_loop_test(tcase, table, 0, (int)ARRAY_SIZE(meshes));
	tcase_add_test(tcase, never_two);
	tcase_add_test(tcase, unmet);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(election_suite)
