/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory a guest is to have, and by which means. */
#include <errno.h>

#include "bits.h"
#include "check_main.h"
#include "config_of.h"

/* Blocks for more than it was made with, the balloon for less. */
START_TEST(memory_that_changes)
{
	struct config c;
	struct err e;

	assert_loads(&c, "{" KERNEL ",'memory':{'size':'64M','hotplug_size':'64M'},"
			 "'balloon':{'size':0}}");
	ck_assert_int_eq(config_set_memory(&c, 100 * MIB + 1, &e), 0);
	ck_assert_uint_eq(c.memory.hotplugged_size, 36 * MIB + 4096);
	ck_assert_uint_eq(c.balloon_size, 0);
	ck_assert_int_eq(config_set_memory(&c, 40 * MIB, &e), 0);
	ck_assert_uint_eq(c.memory.hotplugged_size, 0);
	ck_assert_uint_eq(c.balloon_size, 24 * MIB);
	ck_assert_int_eq(config_set_memory(&c, 128 * MIB + 1, &e), -EINVAL);
	ck_assert_int_eq(config_set_memory(&c, 0, &e), -EINVAL);
	ck_assert_uint_eq(c.balloon_size, 24 * MIB);
	ck_assert_int_eq(config_set_memory(&c, 128 * MIB, &e), 0);
	ck_assert_uint_eq(c.memory.hotplugged_size, 64 * MIB);
	ck_assert_uint_eq(c.balloon_size, 0);
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'memory':{'size':'64M'}}");
	ck_assert_int_eq(config_set_memory(&c, 40 * MIB, &e), -ENOENT);
	ck_assert_int_eq(config_set_memory(&c, 64 * MIB, &e), 0);
	config_free(&c);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("config_memory");
	TCase *t = tcase_create("config_memory");

	tcase_add_test(t, memory_that_changes);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
