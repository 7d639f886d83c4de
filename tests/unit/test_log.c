/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "check_main.h"
#include "log.h"

/* What a text becomes on the way to stderr, without the program's name and the end of the line. */
static void logged(const char *text, char said[static 256])
{
	static const char before[] = "godwit: ";
	int ends[2], own = dup(STDERR_FILENO);
	ssize_t n;

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
	log_error("%s", text);
	dup2(own, STDERR_FILENO);
	close(own);
	close(ends[1]);
	n = read(ends[0], said, 255);
	close(ends[0]);
	ck_assert_int_gt(n, (ssize_t)sizeof(before));
	ck_assert_mem_eq(said, before, sizeof(before) - 1);
	ck_assert_int_eq(said[n - 1], '\n');
	said[n - 1] = '\0';
	memmove(said, said + sizeof(before) - 1, (size_t)n - sizeof(before) + 1);
}

START_TEST(one_plain_line)
{
	static const struct {
		const char *given, *is;
	} cases[] = {
		{ "plain", "plain" },
		{ "caf\xc3\xa9 \xe2\x82\xac", "caf\xc3\xa9 \xe2\x82\xac" },
		{ "red \033[31m\177", "red ?[31m?" },
		{ "two\r\nlines\t", "two??lines?" },
		{ "CSI \xc2\x9b"
		  "31m, a space \xc2\xa0",
		  "CSI ??31m, a space \xc2\xa0" },
		{ "cut \xc2", "cut \xc2" },
	};
	char said[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		logged(cases[i].given, said);
		ck_assert_str_eq(said, cases[i].is);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");

	tcase_add_test(t, one_plain_line);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
