/* SPDX-License-Identifier: Apache-2.0 */
/* What a host promised, kept over a crash. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "bits.h"
#include "check_main.h"
#include "in_child.h"
#include "journal.h"
#include "state_dir.h"

#define VM "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
#define SESSION "6ba7b8%02x-9dad-41d1-80b4-00c04fd430c8"
#define SOURCE_FILE VM "-source.json"

enum { KEPT = 64 };

static struct journal *open_journal(enum journal_role role)
{
	struct journal *j = NULL;
	struct err e;

	ck_assert_msg(!journal_open(&j, VM, role, &e), "%s", e.text);
	return j;
}

static struct journal_entry entry_of(enum journal_state state, unsigned session)
{
	struct journal_entry entry = { .state = state,
				       .generation = session + 1,
				       .peer = "beta.example:4444",
				       .arbiter = ARBITER_LOCK };

	snprintf(entry.session, sizeof(entry.session), SESSION, session);
	return entry;
}

static void writes(struct journal *j, enum journal_state state, unsigned session)
{
	struct journal_entry entry = entry_of(state, session);
	struct err e;

	ck_assert_msg(!journal_write(j, &entry, &e), "%s", e.text);
}

static void is_entry(const struct journal_entry *got, enum journal_state state, unsigned session)
{
	struct journal_entry expected = entry_of(state, session);

	ck_assert_int_eq(got->state, expected.state);
	ck_assert_str_eq(got->session, expected.session);
	ck_assert_uint_eq(got->generation, expected.generation);
	ck_assert_str_eq(got->peer, expected.peer);
	ck_assert_int_eq(got->arbiter, expected.arbiter);
}

START_TEST(test_made_on_demand_for_its_user_only)
{
	struct journal_entry entry;
	struct journal *j;
	char path[512];
	struct stat st;
	struct err e;

	ck_assert_int_eq(journal_read(VM, JOURNAL_SOURCE, &entry, &e), -ENOENT);
	ck_assert_int_eq(access(state_above, F_OK), -1);
	j = open_journal(JOURNAL_SOURCE);
	ck_assert_int_eq(journal_last(j, &entry), -ENOENT);
	ck_assert_int_eq(journal_read(VM, JOURNAL_SOURCE, &entry, &e), -ENOENT);
	writes(j, JOURNAL_OFFERED, 1);
	ck_assert_int_eq(stat(state_dir, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 0700);
	state_path(path, SOURCE_FILE);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
	journal_close(j);
	journal_close(NULL);
}
END_TEST

START_TEST(test_last_entry_is_kept)
{
	struct journal *j = open_journal(JOURNAL_SOURCE);
	struct journal_entry entry;
	struct err e;

	writes(j, JOURNAL_OFFERED, 1);
	writes(j, JOURNAL_GIVEN, 1);
	ck_assert_int_eq(journal_read(VM, JOURNAL_SOURCE, &entry, &e), 0);
	is_entry(&entry, JOURNAL_GIVEN, 1);
	journal_close(j);
	j = open_journal(JOURNAL_SOURCE);
	ck_assert_int_eq(journal_last(j, &entry), 0);
	is_entry(&entry, JOURNAL_GIVEN, 1);
	journal_close(j);
	/* The other role's is another. */
	ck_assert_int_eq(journal_read(VM, JOURNAL_DESTINATION, &entry, &e), -ENOENT);
}
END_TEST

START_TEST(test_accepted_sessions_are_kept)
{
	struct journal *j = open_journal(JOURNAL_DESTINATION);
	struct journal_entry entry;

	for (unsigned i = 0; i < KEPT + 2; i++) {
		writes(j, JOURNAL_EXPECTS, i);
		writes(j, JOURNAL_ACCEPTED, i);
	}
	writes(j, JOURNAL_EXPECTS, 200);
	writes(j, JOURNAL_REFUSED, 200);
	writes(j, JOURNAL_EXPECTS, 201);
	journal_close(j);
	j = open_journal(JOURNAL_DESTINATION);
	for (unsigned i = 0; i < KEPT + 2; i++) {
		struct journal_entry wanted = entry_of(JOURNAL_ACCEPTED, i);
		int r = journal_find(j, wanted.session, &entry);

		ck_assert_int_eq(r, i < 2 ? -ENOENT : 0);
		if (!r)
			is_entry(&entry, JOURNAL_ACCEPTED, i);
	}
	entry = entry_of(JOURNAL_REFUSED, 200);
	ck_assert_int_eq(journal_find(j, entry.session, &entry), -ENOENT);
	entry = entry_of(JOURNAL_EXPECTS, 201);
	ck_assert_int_eq(journal_find(j, entry.session, &entry), 0);
	is_entry(&entry, JOURNAL_EXPECTS, 201);
	journal_close(j);
}
END_TEST

static void cannot_open(void)
{
	struct err e = { "" };
	struct journal *j;

	ck_assert_int_eq(journal_open(&j, VM, JOURNAL_SOURCE, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.text, "is under way on this host"));
	/* The other role is free. */
	journal_close(open_journal(JOURNAL_DESTINATION));
}

START_TEST(test_one_at_a_time)
{
	struct journal *j = open_journal(JOURNAL_SOURCE);

	cannot_open();
	in_child(cannot_open);
	writes(j, JOURNAL_OFFERED, 1); /* the file is another one now */
	in_child(cannot_open);
	journal_close(j);
	journal_close(open_journal(JOURNAL_SOURCE));
}
END_TEST

START_TEST(test_left_half_written)
{
	struct journal *j = open_journal(JOURNAL_SOURCE);
	struct journal_entry entry;

	writes(j, JOURNAL_ANSWERED, 1);
	journal_close(j);
	state_write(SOURCE_FILE ".new", "{\"last\":{\"state\":\"given\"");
	j = open_journal(JOURNAL_SOURCE);
	ck_assert_int_eq(journal_last(j, &entry), 0);
	is_entry(&entry, JOURNAL_ANSWERED, 1);
	writes(j, JOURNAL_GIVEN, 1);
	journal_close(j);
}
END_TEST

#define ENTRY(state, session, generation, peer, arbiter)                                           \
	"{\"state\":\"" state "\",\"session\":\"" session "\",\"generation\":" generation          \
	",\"peer\":\"" peer "\",\"arbiter\":\"" arbiter "\"}"
#define FILE_OF(last) "{\"last\":" last ",\"accepted\":[]}"
#define GOOD ENTRY("given", "", "1", "b", "none")

static const char *const damaged[] = {
	"",
	"null",
	"{}",
	"{\"last\":null,\"accepted\":[]}",
	"{\"last\":" GOOD "}",
	"{\"last\":" GOOD ",\"accepted\":{}}",
	"{\"last\":" GOOD ",\"accepted\":[1]}",
	FILE_OF(ENTRY("accepted", "", "1", "b", "none")), /* a destination's */
	FILE_OF(ENTRY("gone", "", "1", "b", "none")),
	FILE_OF(ENTRY("given", "s", "1", "b", "none")),
	FILE_OF(ENTRY("given", "", "-1", "b", "none")),
	FILE_OF(ENTRY("given", "", "9223372036854775807", "b", "none")),
	FILE_OF(ENTRY("given", "", "1", "b\\u001b", "none")),
	FILE_OF(ENTRY("given", "", "1", "b", "person")),
};

START_TEST(test_damaged)
{
	struct journal_entry entry;
	struct err e = { "" };
	struct journal *j;

	journal_close(open_journal(JOURNAL_SOURCE));
	state_write(SOURCE_FILE, FILE_OF(GOOD));
	ck_assert_int_eq(journal_read(VM, JOURNAL_SOURCE, &entry, &e), 0);
	ck_assert_int_eq(entry.state, JOURNAL_GIVEN);
	state_write(SOURCE_FILE, damaged[_i]);
	ck_assert_int_eq(journal_read(VM, JOURNAL_SOURCE, &entry, &e), -EBADMSG);
	ck_assert_int_eq(journal_open(&j, VM, JOURNAL_SOURCE, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.text, SOURCE_FILE " in the state directory"));
	ck_assert_ptr_nonnull(strstr(e.text, "remove that file"));
}
END_TEST

START_TEST(test_refused)
{
	struct journal_entry wrong = entry_of(JOURNAL_ACCEPTED, 1), entry;
	struct journal *j = open_journal(JOURNAL_SOURCE);
	struct err e = { "" };

	ck_assert_int_eq(journal_write(j, &wrong, &e), -EINVAL);
	ck_assert_int_eq(journal_last(j, &entry), -ENOENT);
	journal_close(j);
	ck_assert_int_eq(journal_open(&j, "../web", JOURNAL_SOURCE, &e), -EINVAL);
	ck_assert_int_eq(journal_read("../web", JOURNAL_SOURCE, &entry, &e), -EINVAL);
	ck_assert_int_eq(setenv("GODWIT_STATE_DIR", "/dev/null/godwit", 1), 0);
	ck_assert_int_eq(journal_open(&j, VM, JOURNAL_SOURCE, &e), -ENOTDIR);
	ck_assert_ptr_nonnull(strstr(e.text, "/dev/null/godwit cannot be made"));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("journal");
	TCase *tc = tcase_create("journal");

	tcase_add_checked_fixture(tc, state_setup, state_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_made_on_demand_for_its_user_only);
	tcase_add_test(tc, test_last_entry_is_kept);
	tcase_add_test(tc, test_accepted_sessions_are_kept);
	tcase_add_test(tc, test_one_at_a_time);
	tcase_add_test(tc, test_left_half_written);
	tcase_add_loop_test(tc, test_damaged, 0, (int)ARRAY_SIZE(damaged));
	tcase_add_test(tc, test_refused);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
