/* SPDX-License-Identifier: Apache-2.0 */
/* Files of migrations: whole, in order, and not more than are kept. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "bits.h"
#include "check_main.h"
#include "history.h"
#include "state_dir.h"

#define VM "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
#define OTHER_VM "6ba7b811-9dad-41d1-80b4-00c04fd430c8"
#define BEGAN UINT64_C(1700000000000007) /* 2023-11-14 22:13:20 */
#define FIRST "migrations/20231114T221320.000007Z-" VM

enum { MOST = 2 * HISTORY_KEPT + 4 };

static char names[MOST][128];

static int not_hidden(const struct dirent *file)
{
	return file->d_name[0] != '.';
}

/* By name. */
static unsigned list(void)
{
	struct dirent **files;
	char path[512];
	int n;

	state_path(path, "migrations");
	n = scandir(path, &files, not_hidden, alphasort);
	ck_assert_int_le(n, MOST);
	for (int i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "%.127s", files[i]->d_name);
		free(files[i]);
	}
	if (n >= 0)
		free(files);
	return n < 0 ? 0 : (unsigned)n;
}

static void teardown(void)
{
	char path[512], name[160];

	for (unsigned n = list(); n; n--) {
		snprintf(name, sizeof(name), "migrations/%.127s", names[n - 1]);
		state_path(path, name);
		unlink(path);
	}
	state_path(path, "migrations");
	rmdir(path);
	state_teardown();
}

static void writes(const char *uuid, bool incoming, uint64_t began_us, int number)
{
	const struct history_entry h = { uuid, incoming, began_us };
	json_t *json = json_pack("{s:i}", "number", number);
	struct err e;

	ck_assert_msg(!history_write(&h, json, &e), "%s", e.text);
	json_decref(json);
}

static void is_number(const char *name, int number)
{
	char path[512];
	json_t *json;
	int got;

	state_path(path, name);
	json = json_load_file(path, 0, NULL);
	ck_assert_int_eq(json_unpack(json, "{s:i}", "number", &got), 0);
	ck_assert_int_eq(got, number);
	json_decref(json);
}

/* The file at this place in list(). */
static void is_listed(unsigned at, int number)
{
	char name[160];

	snprintf(name, sizeof(name), "migrations/%.127s", names[at]);
	is_number(name, number);
}

START_TEST(test_each_side_has_its_own)
{
	char path[512];
	struct stat st;

	writes(VM, false, BEGAN, 1);
	writes(VM, true, BEGAN, 2);
	writes(VM, false, BEGAN, 3); /* in place of the first */
	ck_assert_uint_eq(list(), 2);
	is_number(FIRST "-outgoing.json", 3);
	is_number(FIRST "-incoming.json", 2);
	state_path(path, FIRST "-incoming.json");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
	state_path(path, "migrations");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 0700);
}
END_TEST

/* Seconds, minutes and years turn over. */
START_TEST(test_names_sort_by_time)
{
	static const uint64_t after_us[] = {
		0, 1, 999992, 999993, 60000000, UINT64_C(4000000) << 20
	};
	for (size_t i = ARRAY_SIZE(after_us); i; i--)
		writes(VM, false, BEGAN + after_us[i - 1], (int)i - 1);
	ck_assert_uint_eq(list(), ARRAY_SIZE(after_us));
	for (unsigned i = 0; i < ARRAY_SIZE(after_us); i++)
		is_listed(i, (int)i);
}
END_TEST

START_TEST(test_newest_are_kept)
{
	writes(OTHER_VM, false, BEGAN, HISTORY_KEPT);
	for (int i = 0; i < HISTORY_KEPT + 3; i++)
		writes(VM, i % 2, BEGAN + (uint64_t)i, i);
	ck_assert_uint_eq(list(), HISTORY_KEPT + 1);
	is_listed(0, HISTORY_KEPT); /* the other VM's is not counted */
	for (unsigned i = 1; i <= HISTORY_KEPT; i++)
		is_listed(i, (int)i + 2);
}
END_TEST

/* Never half a file: neither when it cannot be made, nor by what a crash left behind. */
START_TEST(test_whole_or_not_at_all)
{
	const struct history_entry h = { VM, false, BEGAN }, wrong = { "../x", false, BEGAN };
	json_t *json = json_object();
	struct err e;

	writes(VM, true, BEGAN, 1);
	state_write(FIRST "-outgoing.json.new", "{ \"numb");
	writes(VM, false, BEGAN, 2);
	is_number(FIRST "-outgoing.json", 2);
	ck_assert_uint_eq(list(), 2);
	ck_assert_int_eq(history_write(&wrong, json, &e), -EINVAL);
	ck_assert_int_eq(setenv("GODWIT_STATE_DIR", "/dev/null/nowhere", 1), 0);
	ck_assert_int_lt(history_write(&h, json, &e), 0);
	ck_assert_int_eq(setenv("GODWIT_STATE_DIR", state_dir, 1), 0);
	json_decref(json);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("history");
	TCase *tc = tcase_create("history");

	tcase_add_checked_fixture(tc, state_setup, teardown);
	tcase_add_test(tc, test_each_side_has_its_own);
	tcase_add_test(tc, test_names_sort_by_time);
	tcase_add_test(tc, test_newest_are_kept);
	tcase_add_test(tc, test_whole_or_not_at_all);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
