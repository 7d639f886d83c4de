/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check_main.h"
#include "err.h"

START_TEST(test_text)
{
	static const struct {
		const char *given, *is;
	} cases[] = {
		{ "plain", "plain" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "caf\xe9!", "caf?!" }, /* ISO 8859-1 */
		{ "\xc3", "?" },
		{ "\xe2\x82", "??" },
		{ "\xf0\x9f\x98", "???" },
		{ "\xc0\xaf", "??" }, /* longer than need be */
		{ "\xe0\x80\xaf", "???" },
		{ "\xf0\x80\x80\xaf", "????" },
		{ "\xed\xa0\x80", "???" }, /* half of a pair */
		{ "\xf4\x90\x80\x80", "????" }, /* beyond the last */
		{ "\xff\x80", "??" },
		{ "\xe2z\x82", "?z?" },
	};
	struct err e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ck_assert_int_eq(err_set(&e, -7, "%s", cases[i].given), -7);
		ck_assert_str_eq(e.text, cases[i].is);
	}
}
END_TEST

/* Cut where there is no more room, also within a character. */
START_TEST(test_cut)
{
	char given[2 * sizeof(struct err)];
	struct err e;
	size_t len;

	memset(given, 'a', sizeof(given));
	for (len = 0; len + 2 < sizeof(given); len += 2)
		memcpy(given + len, "\xc3\xa9", 2);
	given[len] = '\0';
	err_set(&e, 0, "%s", given);
	ck_assert_uint_eq(strlen(e.text), sizeof(e.text) - 1);
	ck_assert_int_eq(e.text[sizeof(e.text) - 2], '?');
	ck_assert_int_eq(err_prefix(&e, -1, "%s", given), -1);
	ck_assert_ptr_nonnull(strstr(e.text, "?: \xc3\xa9"));
	ck_assert_ptr_nonnull(strstr(e.text, "\xa9\xc3\xa9"));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("err");
	TCase *t = tcase_create("err");

	tcase_add_test(t, test_text);
	tcase_add_test(t, test_cut);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
