/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a reader's versions before anything is written for it. */
#include "check_main.h"
#include "devices.h"
#include "toy_vm.h"

struct inner_state {
	uint32_t old, added;
};

struct later_state {
	uint32_t value;
};

struct grown_state {
	uint32_t first, second, spare;
	struct inner_state inner[2];
	struct later_state later[1];
};

struct grown {
	struct device dev;
	struct grown_state s;
};

static const struct state_field inner_fields[] = {
	STATE(struct inner_state, old),
	STATE(struct inner_state, added, .since = 2),
};
static const struct state_desc inner_desc = STATE_DESC(struct inner_state, "inner", 2, 1,
						       inner_fields);
static const struct state_field later_fields[] = { STATE(struct later_state, value) };
static const struct state_desc later_desc = STATE_DESC(struct later_state, "later", 1, 1,
						       later_fields);
static const struct state_field grown_fields[] = {
	STATE(struct grown_state, first),
	STATE(struct grown_state, second, .since = 3),
	STATE(struct grown_state, spare, .since = 4, .spare = true),
	STATE_STRUCTS(struct grown_state, inner, &inner_desc),
	STATE_STRUCTS(struct grown_state, later, &later_desc, .since = 4),
};
static const struct state_desc grown_desc = STATE_DESC(struct grown_state, "grown", 4, 2,
						       grown_fields);

static void grown_reset(struct device *dev)
{
	((struct grown *)dev)->s = (struct grown_state){ .second = 7 };
}

static const struct device_class grown_class = { .kind = "grown",
						 .size = sizeof(struct grown),
						 .state = &grown_desc,
						 .state_offset = offsetof(struct grown, s),
						 .attach = toy_attach,
						 .reset = grown_reset };

static struct rig rig;
static struct grown_state *state;

static void setup(void)
{
	rig_new(&rig, false);
	state = &((struct grown *)add(&rig, &grown_class, "grown0"))->s;
}

static void teardown(void)
{
	rig_free(&rig);
}

static void assert_json(json_t *json, const char *expected)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	ck_assert_str_eq(text, expected);
	free(text);
	json_decref(json);
}

START_TEST(of_a_vm)
{
	assert_json(devices_versions(&rig.vm), "{\"grown\":4,\"inner\":2,\"later\":1,\"toy\":1}");
	assert_json(devices_records(&rig.vm), "{\"grown\":[2,4],\"inner\":[1,2],\"toy\":[1,1]}");
	state->spare = 1;
	state->second = 8;
	state->inner[1].added = 1;
	assert_json(devices_records(&rig.vm), "{\"grown\":[3,4],\"inner\":[2,2],\"toy\":[1,1]}");
}
END_TEST

/* One sentence, which has these words; NULL: none. */
static void assert_blocked(json_t *blockers, const char *words)
{
	ck_assert_uint_eq(json_array_size(blockers), !!words);
	if (words)
		ck_assert_msg(strstr(json_string_value(json_array_get(blockers, 0)), words), "%s",
			      json_string_value(json_array_get(blockers, 0)));
	json_decref(blockers);
}

static json_t *checked_versions(const char *versions)
{
	json_t *known = json_loads(versions, 0, NULL), *records = devices_records(&rig.vm);
	json_t *blockers = json_array();

	devices_check_versions(records, known, blockers);
	json_decref(known);
	json_decref(records);
	return blockers;
}

START_TEST(writer)
{
	assert_blocked(checked_versions("{\"grown\": 2, \"inner\": 1, \"toy\": 9}"), NULL);
	assert_blocked(checked_versions("{\"grown\": 1, \"inner\": 1, \"toy\": 1}"),
		       "knows \"grown\" up to version 1, and the VM needs version 2");
	assert_blocked(checked_versions("{\"grown\": 4, \"inner\": 2, \"toy\": \"1\"}"),
		       "does not know \"toy\"");
	assert_blocked(checked_versions("{\"grown\": 4, \"toy\": 1}"), "does not know \"inner\"");
	state->second = 8;
	assert_blocked(checked_versions("{\"grown\": 2, \"inner\": 1, \"toy\": 1}"),
		       "up to version 2, and the VM needs version 3");
	/* A record that an older reader never gets need not be known, until it is needed. */
	assert_blocked(checked_versions("{\"grown\": 3, \"inner\": 1, \"toy\": 1}"), NULL);
	state->later[0].value = 1;
	assert_blocked(checked_versions("{\"grown\": 4, \"inner\": 1, \"toy\": 1}"),
		       "does not know \"later\"");
	assert_blocked(checked_versions("{\"grown\": 4, \"inner\": 1, \"later\": 1, \"toy\": 1}"),
		       NULL);
}
END_TEST

static json_t *checked_records(const char *records)
{
	json_t *theirs = json_loads(records, 0, NULL), *blockers = json_array();

	devices_check_records(&rig.vm, theirs, blockers);
	json_decref(theirs);
	return blockers;
}

#define OTHERS "\"inner\": [1, 2], \"toy\": [1, 1]"

START_TEST(reader)
{
	assert_blocked(checked_records("{\"grown\": [1, 9], " OTHERS "}"), NULL);
	assert_blocked(checked_records("{\"grown\": [5, 6], " OTHERS "}"),
		       "knows \"grown\" up to version 4, and the VM needs version 5");
	assert_blocked(checked_records("{\"grown\": [1, 1], " OTHERS "}"),
		       "reads \"grown\" from version 2 on, and the source writes up to 1");
	for (const char *const *lie =
		     (const char *const[]){ "", "\"grown\": 4,", "\"grown\": [],",
					    "\"grown\": [4],", "\"grown\": [4, 3],",
					    "\"grown\": [\"4\", 4],", NULL };
	     *lie; lie++) {
		char text[100];

		snprintf(text, sizeof(text), "{%s " OTHERS "}", *lie);
		assert_blocked(checked_records(text), "does not say which versions of \"grown\"");
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("devices_versions");
	TCase *t = tcase_create("devices_versions");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, of_a_vm);
	tcase_add_test(t, writer);
	tcase_add_test(t, reader);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
