/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check_main.h"
#include "crc32c.h"

static uint8_t data[100000];

/* RFC 3720, B.4. */
START_TEST(test_examples)
{
	uint8_t ascending[32];

	for (unsigned i = 0; i < 32; i++)
		ascending[i] = (uint8_t)i;
	memset(data, 0, 32);
	ck_assert_uint_eq(crc32c(0, data, 32), 0x8a9136aa);
	memset(data, 0xff, 32);
	ck_assert_uint_eq(crc32c(0, data, 32), 0x62a8ab43);
	ck_assert_uint_eq(crc32c(0, ascending, 32), 0x46dd794e);
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
	ck_assert_uint_eq(crc32c(0, data, 0), 0);
}
END_TEST

/* However it is cut, also where lanes begin and end. */
START_TEST(test_parts)
{
	static const size_t cuts[] = { 1, 7, 4095, 4096, 12287, 12288, 12289, 24576, 99999 };
	uint32_t whole = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13 + (i >> 9));
	for (size_t i = 0; i < sizeof(data); i++)
		whole = crc32c(whole, data + i, 1);
	ck_assert_uint_eq(crc32c(0, data, sizeof(data)), whole);
	for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++)
		ck_assert_uint_eq(
			crc32c(crc32c(0, data, cuts[i]), data + cuts[i], sizeof(data) - cuts[i]),
			whole);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("crc32c");
	TCase *t = tcase_create("crc32c");

	tcase_add_test(t, test_examples);
	tcase_add_test(t, test_parts);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
