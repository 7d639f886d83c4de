/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration says of vCPUs on their host: how much of it they have. */
#include <errno.h>
#include <stdio.h>

#include "bits.h"
#include "check_main.h"
#include "config_of.h"

/* The sentence begins so. */
static void refuses(const char *cpus, const char *sentence)
{
	struct config c = { .json = NULL };
	struct err e = { "" };
	char text[256];

	snprintf(text, sizeof(text), "{" KERNEL ",'cpus':%s}", cpus);
	ck_assert_msg(load(&c, text, &e) == -EINVAL, "%s", text);
	ck_assert_msg(!strncmp(e.text, sentence, strlen(sentence)), "%s: %s", text, e.text);
	ck_assert_ptr_null(c.json);
}

/* As it is set, so it is written, and read again; none is not written. */
START_TEST(limits)
{
	static const char *const bad[] = { "-1", "0.009", "255.001", "1e+300", "\"2\"", "true" };
	char cpus[64];
	struct config c, again;

	assert_loads(&c, "{" KERNEL ",'cpus':{'boot_vcpus':3,'limit':2.3456}}");
	ck_assert_uint_eq(c.cpus.limit, 2346);
	for (uint32_t n = 10; n < 260; n++) {
		struct err e;

		config_set_cpu_limit(&c, n);
		ck_assert_msg(!config_load(&again, c.json, &e), "%s", e.text);
		ck_assert_uint_eq(again.cpus.limit, n);
		ck_assert(json_equal(c.json, again.json));
		config_free(&again);
	}
	config_set_cpu_limit(&c, 0);
	ck_assert_ptr_null(json_object_get(json_object_get(c.json, "cpus"), "limit"));
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'cpus':{'limit':0}}");
	ck_assert_uint_eq(c.cpus.limit, 0);
	ck_assert_ptr_null(json_object_get(json_object_get(c.json, "cpus"), "limit"));
	config_free(&c);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(cpus, sizeof(cpus), "{'limit':%s}", bad[i]);
		refuses(cpus,
			"cpus: limit must be 0 or a number from 0.01 to 255 such as 2.5, not ");
	}
}
END_TEST

START_TEST(affinity)
{
	static const char good[] = "[{'vcpu':0,'host_cpus':[0,1023]},{'vcpu':2,'host_cpus':[7]}]";
	struct config c, again;
	json_t *wanted = json_of(good);
	struct err e;
	char text[256];

	snprintf(text, sizeof(text), "{" KERNEL ",'cpus':{'max_vcpus':3,'affinity':%s}}", good);
	assert_loads(&c, text);
	ck_assert(json_equal(c.cpus.affinity, wanted));
	json_decref(wanted);
	ck_assert_msg(!config_load(&again, c.json, &e), "%s", e.text);
	ck_assert(json_equal(c.json, again.json));
	config_free(&again);
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'cpus':{'affinity':[]}}");
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'cpus':{'affinity':null}}");
	ck_assert_ptr_null(c.cpus.affinity);
	config_free(&c);
	refuses("{'affinity':{'vcpu':0}}", "cpus: affinity must be a list of objects, not ");
	refuses("{'affinity':[1]}", "cpus: affinity[0]: must be an object");
	refuses("{'affinity':[{'vcpu':0}]}", "cpus: affinity[0]: host_cpus is missing");
	refuses("{'affinity':[{'vcpu':0,'host_cpus':[-1]}]}",
		"cpus: affinity[0]: host_cpus must be a list of numbers from 0 to 1023 such as "
		"[0-1,4], not [-1]");
	refuses("{'affinity':[{'vcpu':0,'host_cpus':7}]}", "cpus: affinity[0]: host_cpus must be ");
	refuses("{'affinity':[{'vcpu':1,'host_cpus':[0]}]}",
		"cpus: affinity[0]: there is no vcpu 1; the last is 0");
	refuses("{'affinity':[{'vcpu':0,'host_cpus':[]}]}",
		"cpus: affinity[0]: host_cpus of vcpu 0 names none");
	refuses("{'max_vcpus':2,'affinity':[{'vcpu':1,'host_cpus':[0]},"
		"{'vcpu':1,'host_cpus':[1]}]}",
		"cpus: affinity[1]: vcpu 1 is there twice");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("config_cpus");
	TCase *tc = tcase_create("config_cpus");

	tcase_add_test(tc, limits);
	tcase_add_test(tc, affinity);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
