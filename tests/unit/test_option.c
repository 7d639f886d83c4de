/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "check_main.h"
#include "option.h"

static const char *const colours[] = { "Red", "Green", "Blue", NULL };

struct inner {
	uint16_t cores, threads;
};

struct thing {
	bool on;
	uint8_t small;
	uint64_t big, size;
	uint32_t part;
	const json_t *numbers, *pairs;
	const char *path, *label;
	unsigned colour;
	struct inner inner;
	struct outer {
		struct inner inner;
	} outer;
};

static const struct option inner_option[] = {
	OPTION(struct inner, cores, .fallback = "1", .min = 1),
	OPTION(struct inner, threads, .fallback = "2", .min = 1, .max = 4),
};
static const struct option_table inner_table = OPTION_TABLE(inner_option);

static const struct option outer_option[] = {
	OPTION_NESTED(struct outer, inner, &inner_table),
};
static const struct option_table outer_table = OPTION_TABLE(outer_option);

struct pair {
	uint32_t from, to;
};

static const struct option pair_option[] = {
	OPTION(struct pair, from, .max = 9),
	OPTION(struct pair, to, .max = 99),
};
static const struct option_table pair_table = OPTION_TABLE(pair_option);

static const struct option thing_option[] = {
	OPTION(struct thing, path, .required = true, .help = "where"),
	OPTION(struct thing, on, .fallback = "off", .help = "whether"),
	OPTION(struct thing, small, .fallback = "7", .max = 9),
	OPTION(struct thing, big),
	OPTION_SIZED(struct thing, size, .fallback = "1M", .min = 1024),
	OPTION(struct thing, label, .fallback = "none"),
	OPTION_NAMED(struct thing, colour, colours, .fallback = "Green"),
	OPTION_NESTED(struct thing, inner, &inner_table),
	OPTION_NESTED(struct thing, outer, &outer_table),
	OPTION_FRACTIONAL(struct thing, part, .min = 10, .max = 3000),
	OPTION_NUMBERED(struct thing, numbers, .max = 70),
	OPTION_LISTED(struct thing, pairs, &pair_table),
	OPTION_SHORT("deep", "outer.inner.threads"),
	{ .key = "gone", .kind = OPTION_REFUSED },
	{ .key = "default_on", .kind = OPTION_REFUSED, .fallback = "on" },
	{ .key = "segments", .kind = OPTION_REFUSED, .fallback = "1", .help = "use one" },
};
static const struct option_table thing_table = OPTION_TABLE(thing_option, .first = "path");

/* text as option_parse() makes it, compact; NULL on failure, and e says why. */
static char *parsed(const char *text, struct err *e)
{
	json_t *object = NULL;
	char *dump;
	int rc = option_parse(&thing_table, "--thing", text, &object, e);

	if (rc) {
		ck_assert_int_eq(rc, -EINVAL);
		ck_assert_ptr_null(object);
		return NULL;
	}
	dump = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return dump;
}

static void assert_parses(const char *text, const char *json)
{
	struct err e = { "" };
	char *dump = parsed(text, &e);

	ck_assert_msg(dump, "%s: %s", text, e.text);
	ck_assert_str_eq(dump, json);
	free(dump);
}

static void assert_refused(const char *text, const char *sentence)
{
	struct err e = { "" };

	ck_assert_ptr_null(parsed(text, &e));
	ck_assert_str_eq(e.text, sentence);
}

START_TEST(command_line_becomes_json)
{
	assert_parses("", "{}");
	assert_parses("a.img", "{\"path\":\"a.img\"}");
	assert_parses("a.img,on=on,small=3", "{\"path\":\"a.img\",\"on\":true,\"small\":3}");
	assert_parses("on=off,path=x=y", "{\"on\":false,\"path\":\"x=y\"}");
	assert_parses("size=2G,big=12", "{\"size\":2147483648,\"big\":12}");
	assert_parses("colour=bLUE", "{\"colour\":\"Blue\"}");
	assert_parses("numbers=[0-2,7,70],small=1", "{\"numbers\":[0,1,2,7,70],\"small\":1}");
	assert_parses("numbers=[]", "{\"numbers\":[]}");
	assert_parses("pairs=[1@20,2@0]",
		      "{\"pairs\":[{\"from\":1,\"to\":20},{\"from\":2,\"to\":0}]}");
	assert_parses("part=2.5", "{\"part\":2.5}");
	assert_parses("part=3.000", "{\"part\":3}");
	assert_parses("part=0", "{\"part\":0}");
	assert_parses("path=", "{\"path\":\"\"}");
	assert_parses("inner.threads=3,inner.cores=4", "{\"inner\":{\"threads\":3,\"cores\":4}}");
}
END_TEST

START_TEST(short_words_reach_inner_objects)
{
	assert_parses("deep=3", "{\"outer\":{\"inner\":{\"threads\":3}}}");
	assert_parses("outer.inner.cores=2,deep=3",
		      "{\"outer\":{\"inner\":{\"cores\":2,\"threads\":3}}}");
	assert_refused("deep=5", "--thing: deep must be a number from 1 to 4, not \"5\"");
	assert_refused("deep=1,deep=2", "--thing: deep is given twice");
	assert_refused("outer.inner.threads=1,deep=2", "--thing: deep is given twice");
	assert_refused("deep=1,outer.inner.threads=2",
		       "--thing: outer.inner.threads is given twice");
	assert_refused("deep.x=1", "--thing: unknown key \"deep.x\"; did you mean \"deep\"?");
	assert_refused("deeep=1", "--thing: unknown key \"deeep\"; did you mean \"deep\"?");
	assert_refused("deep", "--thing: deep has no value; write deep=VALUE");
}
END_TEST

START_TEST(quotes_hold_commas)
{
	assert_parses("path=\"a,b=c\",small=1", "{\"path\":\"a,b=c\",\"small\":1}");
	assert_parses("\"a,b\"", "{\"path\":\"a,b\"}");
	assert_parses("path=\"say \"\"hi\"\"\"", "{\"path\":\"say \\\"hi\\\"\"}");
	assert_parses("path=\"\"", "{\"path\":\"\"}");
	assert_parses("path=a\"b", "{\"path\":\"a\\\"b\"}");
	assert_refused("path=\"a,b", "--thing: close the quoted value of path with \"");
	assert_refused("path=\"a\"\"", "--thing: close the quoted value of path with \"");
	assert_refused("path=\"a\"b", "--thing: close the quoted value of path with \"");
	assert_refused("path=\"", "--thing: close the quoted value of path with \"");
}
END_TEST

START_TEST(bad_text_is_refused_with_what_is_allowed)
{
	static const char *const bad_numbers[] = { "",     "1",      "[x]",
						   "[1-]", "[-1]",   "[2-1]",
						   "[71]", "[0-71]", "[0-18446744073709551616]",
						   "[1",   "[[1]]" };
	static const char *const bad_pairs[] = {
		"1@2", "[1]", "[1@]", "[@1]", "[10@1]", "[1@100]"
	};

	assert_refused("pth=x", "--thing: unknown key \"pth\"; did you mean \"path\"?");
	assert_refused("zzzzz=x", "--thing: unknown key \"zzzzz\"; it takes path, on, small, big, "
				  "size, label, colour, inner, outer, part, numbers, pairs, "
				  "deep");
	assert_refused("on=yes", "--thing: on must be on or off, not \"yes\"");
	assert_refused("small=10", "--thing: small must be a number from 0 to 9, not \"10\"");
	assert_refused("small=-1", "--thing: small must be a number from 0 to 9, not \"-1\"");
	assert_refused("small=", "--thing: small must be a number from 0 to 9, not \"\"");
	assert_refused("small=1x", "--thing: small must be a number from 0 to 9, not \"1x\"");
	assert_refused("big=9223372036854775808",
		       "--thing: big must be a number from 0 to 9223372036854775807, not "
		       "\"9223372036854775808\"");
	assert_refused("size=512", "--thing: size must be a size such as 512M or 2G, at least 1K, "
				   "not \"512\"");
	assert_refused("part=0.009",
		       "--thing: part must be 0 or a number from 0.01 to 3 such as 2.5, not "
		       "\"0.009\"");
	assert_refused("part=1.2345",
		       "--thing: part must be 0 or a number from 0.01 to 3 such as 2.5, not "
		       "\"1.2345\"");
	for (unsigned i = 0; i < ARRAY_SIZE(bad_numbers); i++) {
		char text[64], why[160];

		snprintf(text, sizeof(text), "small=1,numbers=%s", bad_numbers[i]);
		snprintf(why, sizeof(why),
			 "--thing: numbers must be a list of numbers from 0 to 70 such as "
			 "[0-1,4], not \"%s\"",
			 bad_numbers[i]);
		assert_refused(text, why);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad_pairs); i++) {
		char text[64], why[160];

		snprintf(text, sizeof(text), "pairs=%s", bad_pairs[i]);
		snprintf(why, sizeof(why),
			 "--thing: pairs must be a list such as [1@20,2@30], not \"%s\"",
			 bad_pairs[i]);
		assert_refused(text, why);
	}
	assert_refused("colour=pink", "--thing: colour must be Red, Green or Blue, not \"pink\"");
	assert_refused("path=\xff", "--thing: path must be UTF-8 text, not \"?\"");
	assert_refused("small=1,small=2", "--thing: small is given twice");
	assert_refused("x,path=y", "--thing: path is given twice");
	assert_refused("x,y", "--thing: expected key=value instead of \"y\"");
	assert_refused("x,", "--thing: expected key=value instead of \"\"");
	assert_refused("x,on", "--thing: on has no value; write on=VALUE");
	assert_refused("on", "--thing: on has no value; write on=VALUE");
	assert_refused("inner=3", "--thing: inner has keys of its own, such as inner.cores=VALUE");
	assert_refused("inner.cors=3", "--thing: unknown key \"cors\"; did you mean \"cores\"?");
	assert_refused("inner.cores=0", "--thing: inner.cores must be a number from 1 to 65535, "
					"not \"0\"");
	assert_refused("path.x=3", "--thing: unknown key \"path.x\"; did you mean \"path\"?");
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "1K", 1024 },
		{ "3m", 3 << 20 },
		{ "2G", UINT64_C(2) << 30 },
		{ "5T", UINT64_C(5) << 40 },
		{ "8388607T", UINT64_C(8388607) << 40 },
		{ "9223372036854775807", INT64_MAX },
	};
	static const char *const bad[] = { "",   "K",  "1KK",      "1 K", "-1",
					   "+1", "1P", "8388608T", " 1",  "9223372036854775808" };
	uint64_t bytes = 77;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_int_eq(option_size(good[i].text, &bytes), 0);
		ck_assert_uint_eq(bytes, good[i].bytes);
	}
	bytes = 77;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(option_size(bad[i], &bytes) == -EINVAL, "%s", bad[i]);
	ck_assert_uint_eq(bytes, 77);
}
END_TEST

static int load(const char *json, struct thing *t, json_t **object, struct err *e)
{
	*object = json_loads(json, JSON_DECODE_ANY, NULL);
	ck_assert_ptr_nonnull(*object);
	memset(t, 0xa5, sizeof(*t));
	return option_load(&thing_table, "things[0]", *object, t, e);
}

START_TEST(json_fills_the_struct)
{
	json_t *object;
	struct thing t;
	struct err e;

	ck_assert_int_eq(load("{\"path\":\"p\",\"on\":true,\"small\":9,\"size\":\"4K\",\"big\":5,"
			      "\"colour\":\"red\",\"inner\":{\"cores\":3},\"gone\":false}",
			      &t, &object, &e),
			 0);
	ck_assert_str_eq(t.path, "p");
	ck_assert(t.on);
	ck_assert_uint_eq(t.small, 9);
	ck_assert_uint_eq(t.size, 4096);
	ck_assert_uint_eq(t.big, 5);
	ck_assert_str_eq(t.label, "none");
	ck_assert_uint_eq(t.colour, 0);
	ck_assert_uint_eq(t.inner.cores, 3);
	ck_assert_uint_eq(t.inner.threads, 2);
	json_decref(object);
}
END_TEST

START_TEST(absent_and_null_mean_the_default)
{
	json_t *object;
	struct thing t;
	struct err e;

	ck_assert_int_eq(load("{\"path\":\"p\",\"on\":null,\"small\":null,\"label\":null,"
			      "\"inner\":null,\"gone\":null,\"default_on\":null}",
			      &t, &object, &e),
			 0);
	ck_assert(!t.on);
	ck_assert_uint_eq(t.small, 7);
	ck_assert_uint_eq(t.big, 0);
	ck_assert_uint_eq(t.size, 1 << 20);
	ck_assert_str_eq(t.label, "none");
	ck_assert_uint_eq(t.colour, 1);
	json_decref(object);
}
END_TEST

static void assert_not_loaded(const char *json, const char *sentence)
{
	json_t *object;
	struct thing t;
	struct err e = { "" };

	ck_assert_int_eq(load(json, &t, &object, &e), -EINVAL);
	ck_assert_str_eq(e.text, sentence);
	json_decref(object);
}

START_TEST(bad_json_is_refused)
{
	assert_not_loaded("{}", "things[0]: path is missing and must be given");
	assert_not_loaded("[]", "things[0]: must be an object, { \"key\": value, ... }");
	assert_not_loaded("{\"path\":3}", "things[0]: path must be a string, not 3");
	assert_not_loaded("{\"path\":\"p\",\"on\":\"on\"}",
			  "things[0]: on must be true or false, not \"on\"");
	assert_not_loaded("{\"path\":\"p\",\"small\":1.0}",
			  "things[0]: small must be a number from 0 to 9, not 1.0");
	assert_not_loaded("{\"path\":\"p\",\"small\":\"1\"}",
			  "things[0]: small must be a number from 0 to 9, not \"1\"");
	assert_not_loaded("{\"path\":\"p\",\"big\":-1}",
			  "things[0]: big must be a number from 0 to 9223372036854775807, not -1");
	assert_not_loaded("{\"path\":\"p\",\"colour\":1}",
			  "things[0]: colour must be Red, Green or Blue, not 1");
	assert_not_loaded("{\"path\":\"p\",\"deep\":3}",
			  "things[0]: deep is for the command line; in JSON it is "
			  "outer.inner.threads");
	assert_not_loaded("{\"path\":\"p\",\"inner\":[]}",
			  "things[0]: inner must be an object with keys such as cores, not []");
	assert_not_loaded("{\"path\":\"p\",\"inner\":{\"threads\":5}}",
			  "things[0].inner: threads must be a number from 1 to 4, not 5");
}
END_TEST

START_TEST(what_is_not_supported_is_taken_at_its_default_only)
{
	static const char *const fine[] = {
		"\"gone\":false",
		"\"gone\":0",
		"\"gone\":\"\"",
		"\"gone\":[]",
		"\"gone\":{}",
		"\"gone\":{\"a\":{\"b\":false}}",
		"\"gone\":{\"mode\":\"Off\",\"file\":\"x\"}",
		"\"default_on\":true",
		"\"segments\":1",
		"\"segments\":0",
	};
	static const char *const refused[] = {
		"\"gone\":true",         "\"gone\":1",
		"\"gone\":\"x\"",        "\"gone\":[0]",
		"\"gone\":{\"a\":[{}]}", "\"gone\":{\"mode\":\"Pty\"}",
		"\"default_on\":false",  "\"default_on\":\"off\"",
		"\"segments\":2",        "\"gone\":{\"a\":0.0}",
	};
	struct err e;
	json_t *object;
	struct thing t;
	char json[96];

	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		snprintf(json, sizeof(json), "{\"path\":\"p\",%s}", fine[i]);
		ck_assert_msg(!load(json, &t, &object, &e), "%s: %s", fine[i], e.text);
		json_decref(object);
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		snprintf(json, sizeof(json), "{\"path\":\"p\",%s}", refused[i]);
		ck_assert_msg(load(json, &t, &object, &e) == -EINVAL, "%s", refused[i]);
		json_decref(object);
	}
	assert_refused("gone=\xff", "--thing: gone must be UTF-8 text, not \"?\"");
	assert_refused("gone=on", "--thing: gone is not supported by this version; leave it out");
	assert_refused("default_on=off",
		       "--thing: default_on is supported only as on by this version; leave it out");
	assert_refused("segments=2", "--thing: segments is not supported by this version; use one");
	assert_parses("gone=off,default_on=on,segments=1", "{}");
}
END_TEST

START_TEST(complete_writes_every_default_in_order)
{
	json_t *object = json_loads("{\"unknown\":1,\"colour\":\"blue\",\"size\":\"2K\",\"gone\":0,"
				    "\"path\":\"p\",\"inner\":{\"threads\":1},\"label\":null}",
				    0, NULL);
	json_t *complete = option_complete(&thing_table, object);
	char *dump = json_dumps(complete, JSON_COMPACT);

	ck_assert_str_eq(dump, "{\"path\":\"p\",\"on\":false,\"small\":7,\"size\":2048,"
			       "\"label\":\"none\",\"colour\":\"Blue\","
			       "\"inner\":{\"cores\":1,\"threads\":1}}");
	free(dump);
	json_decref(complete);
	json_decref(object);
}
END_TEST

START_TEST(single_values)
{
	json_t *value = NULL;
	struct err e;

	ck_assert_int_eq(option_value(&thing_table, "--path", "path", "a,b=c", &value, &e), 0);
	ck_assert_str_eq(json_string_value(value), "a,b=c");
	json_decref(value);
	ck_assert_int_eq(option_value(&thing_table, "--small", "small", "12", &value, &e), -EINVAL);
	ck_assert_str_eq(e.text, "--small must be a number from 0 to 9, not \"12\"");
}
END_TEST

START_TEST(nearest_word)
{
	static const char *const words[] = { "--kernel", "--memory", "--disk", "--dry-run", "run" };
	char huge[4096];

	ck_assert_str_eq(option_nearest("--krenel", words, 5), "--kernel");
	ck_assert_str_eq(option_nearest("--mem", words, 5), "--memory");
	ck_assert_str_eq(option_nearest("--disks", words, 5), "--disk");
	ck_assert_str_eq(option_nearest("--dryrun", words, 5), "--dry-run");
	ck_assert_str_eq(option_nearest("rnu", words, 5), "run");
	ck_assert_ptr_null(option_nearest("--xyzzy", words, 5));
	ck_assert_ptr_null(option_nearest("q", words, 5));
	ck_assert_ptr_null(option_nearest("", words, 5));
	ck_assert_ptr_null(option_nearest("run", words, 0));
	memset(huge, 'a', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	ck_assert_ptr_null(option_nearest(huge, words, 5));
}
END_TEST

static Suite *option_suite(void)
{
	Suite *s = suite_create("option");
	TCase *t = tcase_create("option");

	tcase_add_test(t, command_line_becomes_json);
	tcase_add_test(t, short_words_reach_inner_objects);
	tcase_add_test(t, quotes_hold_commas);
	tcase_add_test(t, bad_text_is_refused_with_what_is_allowed);
	tcase_add_test(t, sizes);
	tcase_add_test(t, json_fills_the_struct);
	tcase_add_test(t, absent_and_null_mean_the_default);
	tcase_add_test(t, bad_json_is_refused);
	tcase_add_test(t, what_is_not_supported_is_taken_at_its_default_only);
	tcase_add_test(t, complete_writes_every_default_in_order);
	tcase_add_test(t, single_values);
	tcase_add_test(t, nearest_word);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(option_suite)
