/* SPDX-License-Identifier: Apache-2.0 */
/* What a spec may say, and what becomes of it. */
#include <string.h>

#include "check_main.h"
#include "spec.h"

#define UUID "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

static json_t *parse(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);

	ck_assert_ptr_nonnull(json);
	return json;
}

static void refused(const char *text, const char *sentence)
{
	struct spec_values v;
	json_t *json = parse(text);
	struct err e;

	ck_assert_int_eq(spec_read(json, &v, &e), -22);
	ck_assert_str_eq(e.text, sentence);
	json_decref(json);
}

static void taken(const char *text, enum restart restart, bool runs)
{
	json_t *json = parse(text);
	struct spec_values v;
	struct err e;

	ck_assert_msg(!spec_read(json, &v, &e), "%s: %s", text, e.text);
	ck_assert_str_eq(v.name, "web");
	ck_assert_int_eq(v.restart, restart);
	ck_assert(v.runs == runs);
	json_decref(json);
}

START_TEST(whole)
{
	taken("{\"name\":\"web\",\"vm\":{}}", RESTART_ON_FAILURE, true);
	taken("{\"name\":\"web\",\"vm\":{\"name\":\"web\"},\"restart\":\"always\",\"state\":"
	      "\"stopped\",\"weight\":2.5,\"pinned\":true,\"together\":[\"a\",\"b\"],"
	      "\"apart\":[\"c\"]}",
	      RESTART_ALWAYS, false);
	taken("{\"name\":\"web\",\"vm\":{\"platform\":{\"uuid\":\"" UUID "\"}},\"restart\":\"no\","
	      "\"state\":\"running\"}",
	      RESTART_NO, true);
}
END_TEST

START_TEST(not_a_spec)
{
	static const char name[] = "name must be 1 to 64 letters, digits, dots, underscores or "
				   "dashes and begin with a letter, a digit or an underscore";

	refused("[]", "a spec is a JSON object");
	refused("{\"nmae\":\"web\"}", "a spec has no \"nmae\"");
	refused("{\"vm\":{}}", name);
	refused("{\"name\":\"../web\",\"vm\":{}}", name);
	refused("{\"name\":\".web\",\"vm\":{}}", name);
	refused("{\"name\":\"-web\",\"vm\":{}}", name);
	refused("{\"name\":7,\"vm\":{}}", name);
	refused("{\"name\":\"web\"}", "vm must be the configuration of a VM");
	refused("{\"name\":\"web\",\"vm\":{\"name\":\"db\"}}",
		"vm: its name must be that of the spec, or left out");
	refused("{\"name\":\"web\",\"vm\":{\"platform\":{\"uuid\":\"6BA\"}}}",
		"vm: uuid must look like " UUID);
	refused("{\"name\":\"web\",\"vm\":{\"console\":{\"mode\":\"tty\"}}}",
		"vm: console cannot be Tty: nobody is at a terminal; godwit console reaches it as "
		"Null, too");
}
END_TEST

START_TEST(bad_values)
{
	refused("{\"name\":\"web\",\"vm\":{},\"restart\":\"never\"}",
		"restart must be \"on-failure\", \"always\" or \"no\"");
	refused("{\"name\":\"web\",\"vm\":{},\"state\":true}",
		"state must be \"running\" or \"stopped\"");
	refused("{\"name\":\"web\",\"vm\":{},\"weight\":0}",
		"weight is 0, which is not within 0.001 to 1000");
	refused("{\"name\":\"web\",\"vm\":{},\"pinned\":\"yes\"}", "pinned must be true or false");
	refused("{\"name\":\"web\",\"vm\":{},\"apart\":[1]}",
		"apart must be a name of letters, digits, . _ and -");
}
END_TEST

static void allows(const char *text, double borrows, uint64_t memory_min)
{
	json_t *json = parse(text);
	struct spec_values v;
	struct err e;

	ck_assert_msg(!spec_read(json, &v, &e), "%s: %s", text, e.text);
	ck_assert_double_eq(v.borrows, borrows);
	ck_assert_uint_eq(v.memory_min, memory_min);
	json_decref(json);
}

/* What its host may lend it and take from it. */
START_TEST(of_host)
{
	static const char no_own[] = "borrow_cores needs a limit or an affinity of its own: "
				     "vm.cpus.limit or vm.cpus.affinity";
	static const char no_size[] = "memory_min must be a size such as \"512M\"";

	allows("{\"name\":\"web\",\"vm\":{\"cpus\":{\"limit\":1.5},\"balloon\":{}}}", 0, 0);
	allows("{\"name\":\"web\",\"vm\":{\"cpus\":{\"limit\":1.5}},\"borrow_cores\":true}", 1.5,
	       0);
	allows("{\"name\":\"web\",\"vm\":{},\"borrow_cores\":false}", 0, 0);
	allows("{\"name\":\"web\",\"borrow_cores\":true,"
	       "\"vm\":{\"cpus\":{\"affinity\":[{\"vcpu\":0,\"host_cpus\":[1]}]}}}",
	       0, 0);
	refused("{\"name\":\"web\",\"vm\":{\"cpus\":{\"affinity\":[]}},\"borrow_cores\":true}",
		no_own);
	allows("{\"name\":\"web\",\"vm\":{\"balloon\":{}},\"memory_min\":\"512M\"}", 0, 512 << 20);
	allows("{\"name\":\"web\",\"vm\":{\"balloon\":{}},\"memory_min\":4096}", 0, 4096);
	refused("{\"name\":\"web\",\"vm\":{},\"borrow_cores\":1}",
		"borrow_cores must be true or false");
	refused("{\"name\":\"web\",\"vm\":{},\"borrow_cores\":true}", no_own);
	refused("{\"name\":\"web\",\"vm\":{\"balloon\":{}},\"memory_min\":\"much\"}", no_size);
	refused("{\"name\":\"web\",\"vm\":{\"balloon\":{}},\"memory_min\":0}", no_size);
	refused("{\"name\":\"web\",\"vm\":{\"balloon\":{}},\"memory_min\":null}", no_size);
	refused("{\"name\":\"web\",\"vm\":{},\"memory_min\":\"512M\"}",
		"memory_min needs a balloon, which says how the guest does: vm.balloon");
}
END_TEST

START_TEST(too_long)
{
	json_t *json = parse("{\"name\":\"web\",\"vm\":{\"payload\":{}}}");
	char text[SPEC_BYTES_MAX];
	struct spec_values v;
	struct err e;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	json_object_set_new(json_object_get(json_object_get(json, "vm"), "payload"), "cmdline",
			    json_string(text));
	ck_assert_int_eq(spec_read(json, &v, &e), -22);
	ck_assert_str_eq(e.text, "a spec has at most 60000 bytes");
	json_decref(json);
}
END_TEST

static void becomes(const char *text, const char *config)
{
	json_t *json = parse(text), *want = parse(config), *is = spec_config(json);

	ck_assert_msg(json_equal(is, want), "%s", json_dumps(is, 0));
	json_decref(is);
	json_decref(want);
	json_decref(json);
}

/* There is no terminal for the serial port that "godwit run" would put there. */
START_TEST(config)
{
	becomes("{\"name\":\"web\",\"vm\":{\"payload\":{\"kernel\":\"k\"}}}",
		"{\"name\":\"web\",\"payload\":{\"kernel\":\"k\"},\"serial\":{\"mode\":\"Null\"}}");
	becomes("{\"name\":\"web\",\"vm\":{\"serial\":null}}",
		"{\"name\":\"web\",\"serial\":{\"mode\":\"Null\"}}");
	becomes("{\"name\":\"web\",\"vm\":{\"serial\":{\"file\":\"f\"}}}",
		"{\"name\":\"web\",\"serial\":{\"file\":\"f\"}}");
	becomes("{\"name\":\"web\",\"vm\":{\"serial\":{\"mode\":\"Off\"}}}",
		"{\"name\":\"web\",\"serial\":{\"mode\":\"Off\"}}");
}
END_TEST

START_TEST(uuid)
{
	json_t *json = parse("{\"name\":\"web\",\"vm\":{}}");
	struct spec_values v;
	struct err e;

	ck_assert(!spec_read(json, &v, &e));
	ck_assert_ptr_null(v.uuid);
	ck_assert(!spec_set_uuid(json, UUID, &e));
	ck_assert(!spec_read(json, &v, &e));
	ck_assert_str_eq(v.uuid, UUID);
	json_decref(json);
}
END_TEST

static Suite *spec_suite(void)
{
	Suite *s = suite_create("spec");
	TCase *c = tcase_create("spec");

	tcase_add_test(c, whole);
	tcase_add_test(c, not_a_spec);
	tcase_add_test(c, bad_values);
	tcase_add_test(c, of_host);
	tcase_add_test(c, too_long);
	tcase_add_test(c, config);
	tcase_add_test(c, uuid);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(spec_suite)
