/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>

#include "bits.h"
#include "check_main.h"
#include "probe.h"

static void check_printed(const char *facts, const char *expected)
{
	json_t *json = json_loads(facts, 0, NULL);
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(json);
	probe_print(f, json);
	fclose(f);
	ck_assert_str_eq(text, expected);
	free(text);
	json_decref(json);
}

#define VERDICT "\"verdict\":{\"guests\":\"none\",\"sentence\":\"That is all.\"}"

/* Values begin in one column, behind the longest key at its depth; the verdict is last. */
START_TEST(aligned)
{
	check_printed("{" VERDICT ",\"kvm\":{\"usable\":true,\"caps\":{\"LONG_NAME\":3}},"
		      "\"cpu\":{\"smt\":false,\"none\":null,\"load\":0.5}}",
		      "kvm\n"
		      "  usable       yes\n"
		      "  caps\n"
		      "    LONG_NAME  3\n"
		      "cpu\n"
		      "  smt          no\n"
		      "  none         -\n"
		      "  load         0.5\n"
		      "\nThat is all.\n");
}
END_TEST

START_TEST(bytes)
{
	check_printed("{" VERDICT ",\"m\":{\"a_bytes\":0,\"b_bytes\":1023,\"c_bytes\":1536,"
		      "\"d_bytes\":17179869184,\"e_bytes\":\"unlimited\",\"_bytes\":5}}",
		      "m\n"
		      "  a        0 bytes\n"
		      "  b        1023 bytes\n"
		      "  c        1.5 KiB\n"
		      "  d        16 GiB\n"
		      "  e_bytes  unlimited\n"
		      "  _bytes   5\n"
		      "\nThat is all.\n");
}
END_TEST

START_TEST(arrays)
{
	check_printed("{" VERDICT ",\"a\":{\"flags\":[\"x\",\"y\",3],\"empty\":[],"
		      "\"pages\":[{\"size_bytes\":4096,\"n\":1},{\"n\":2,\"in\":[{\"k\":1},{}]}]}}",
		      "a\n"
		      "  flags  x y 3\n"
		      "  empty  none\n"
		      "  pages  size 4 KiB, n 1\n"
		      "         n 2, in (k 1) ()\n"
		      "\nThat is all.\n");
}
END_TEST

#define FOURS "four four four four four four four four four"

/* A line has 100 columns. */
START_TEST(wrapped)
{
	check_printed("{" VERDICT ",\"a\":{\"k\":\"" FOURS " " FOURS " fives\"}}",
		      "a\n"
		      "  k  " FOURS " " FOURS " fives\n"
		      "\nThat is all.\n");
	check_printed("{" VERDICT ",\"a\":{\"k\":\"" FOURS " " FOURS " sixsix x\"}}",
		      "a\n"
		      "  k  " FOURS " " FOURS "\n"
		      "     sixsix x\n"
		      "\nThat is all.\n");
}
END_TEST

#define FIFTY "12345678901234567890123456789012345678901234567890"

START_TEST(longer_than_a_line)
{
	check_printed("{" VERDICT ",\"a\":{\"k\":\"" FIFTY FIFTY " x\"}}", "a\n"
									   "  k  " FIFTY FIFTY "\n"
									   "     x\n"
									   "\nThat is all.\n");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("probe_print");
	TCase *t = tcase_create("probe_print");

	tcase_add_test(t, aligned);
	tcase_add_test(t, bytes);
	tcase_add_test(t, arrays);
	tcase_add_test(t, wrapped);
	tcase_add_test(t, longer_than_a_line);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
