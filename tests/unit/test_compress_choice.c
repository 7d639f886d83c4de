/* SPDX-License-Identifier: Apache-2.0 */
/* What compresses pages, on links and for pages that are made of numbers. */
#include "../../src/migrate/compress_choice.h"
#include "bits.h"
#include "check_main.h"

enum { LZ4, ZSTD, PLAIN, BATCH = 64, ALL = ENCODING_LZ4 | ENCODING_ZSTD };

/* What a page takes with each, and how many bytes it has then. */
struct pages {
	uint64_t ns[PAGE_CODECS], bytes[PAGE_CODECS];
};

static const struct pages text = { { 6000, 9000 }, { 1500, 1100 } };
static const struct pages noise = { { 1500, 4000 }, { 4096, 4096 } };

/* So many batches, as they are or compressed. */
static void send(struct compress_choice *c, const struct pages *p, uint64_t page_ns, unsigned n)
{
	for (; n; n--)
		if (c->codec == PAGE_CODECS)
			compress_choice_link(c, BATCH, page_ns);
		else
			compress_choice_note(c, BATCH, BATCH * p->ns[c->codec],
					     BATCH * p->bytes[c->codec], page_ns);
}

static unsigned chosen(unsigned encodings, const struct pages *p, uint64_t page_ns,
		       enum compress_why why)
{
	struct compress_choice c;

	compress_choice_set(&c, MIGRATION_COMPRESS_AUTO, encodings);
	ck_assert_uint_eq(c.codec, PLAIN);
	ck_assert_uint_eq(c.why, COMPRESS_NOT_KNOWN);
	send(&c, p, page_ns, 10);
	ck_assert_uint_eq(c.why, why);
	return c.codec;
}

START_TEST(test_auto)
{
	ck_assert_uint_eq(chosen(ALL, &text, 1000, COMPRESS_FAST_LINK), PLAIN);
	ck_assert_uint_eq(chosen(ALL, &text, 10000, COMPRESS_NO_GAIN), PLAIN);
	ck_assert_uint_eq(chosen(ALL, &text, 16000, COMPRESS_GAIN), LZ4);
	ck_assert_uint_eq(chosen(ALL, &text, 40000, COMPRESS_GAIN), ZSTD);
	ck_assert_uint_eq(chosen(ENCODING_LZ4, &text, 40000, COMPRESS_GAIN), LZ4);
	ck_assert_uint_eq(chosen(ENCODING_ZSTD, &text, 20000, COMPRESS_GAIN), ZSTD);
	ck_assert_uint_eq(chosen(ENCODING_DIFF, &text, 40000, COMPRESS_NOT_READ), PLAIN);
	ck_assert_uint_eq(chosen(ALL, &noise, 40000, COMPRESS_NO_GAIN), PLAIN);
}
END_TEST

START_TEST(test_asked)
{
	struct compress_choice c;

	compress_choice_set(&c, MIGRATION_COMPRESS_ZSTD, ALL);
	send(&c, &noise, 100, 100);
	ck_assert_uint_eq(c.codec, ZSTD);
	compress_choice_set(&c, MIGRATION_COMPRESS_LZ4, ALL);
	send(&c, &noise, 100, 100000);
	ck_assert_uint_eq(c.codec, LZ4);
	ck_assert_uint_eq(c.why, COMPRESS_ASKED);
	compress_choice_set(&c, MIGRATION_COMPRESS_LZ4, ENCODING_ZSTD);
	ck_assert_uint_eq(c.codec, PLAIN);
	ck_assert_uint_eq(c.why, COMPRESS_NOT_READ);
	compress_choice_set(&c, MIGRATION_COMPRESS_NONE, ALL);
	send(&c, &text, 1000000, 100000);
	ck_assert_uint_eq(c.codec, PLAIN);
	ck_assert_uint_eq(c.why, COMPRESS_ASKED);
}
END_TEST

/* Pages that get worse, and a link that gets faster; neither is tried again at once. */
START_TEST(test_changes)
{
	const unsigned look_again = 512 * MIB / 4096 / BATCH;
	struct compress_choice c;
	unsigned n;

	compress_choice_set(&c, MIGRATION_COMPRESS_AUTO, ALL);
	send(&c, &text, 16000, 10);
	ck_assert_uint_eq(c.codec, LZ4);
	ck_assert_uint_eq(compress_choice_ns(&c, 16000), 6000 + 16000 * 1500 / 4096);
	send(&c, &noise, 16000, 40);
	ck_assert_uint_eq(c.codec, PLAIN);
	ck_assert_uint_eq(c.why, COMPRESS_NO_GAIN);
	send(&c, &text, 16000, look_again / 2);
	ck_assert_uint_eq(c.codec, PLAIN);
	send(&c, &text, 16000, look_again / 2);
	ck_assert_uint_eq(c.codec, LZ4);
	for (n = 0; c.codec == LZ4; n++)
		send(&c, &text, 16000, 1);
	ck_assert_uint_le(n, look_again); /* to see how fast the link is */
	ck_assert_uint_eq(c.why, COMPRESS_NOT_KNOWN);
	send(&c, &text, 1000, 2);
	ck_assert_uint_eq(c.codec, PLAIN);
	ck_assert_uint_eq(c.why, COMPRESS_FAST_LINK);
}
END_TEST

static Suite *compress_choice_suite(void)
{
	Suite *s = suite_create("compress_choice");
	TCase *tc = tcase_create("compress_choice");

	tcase_add_test(tc, test_auto);
	tcase_add_test(tc, test_asked);
	tcase_add_test(tc, test_changes);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(compress_choice_suite)
