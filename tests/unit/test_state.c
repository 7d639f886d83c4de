/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "check_main.h"
#include "cleanup.h"
#include "state_codec.h"

struct ring {
	uint64_t base;
	uint16_t size;
	bool ready;
};

struct thing {
	uint32_t divisor;
	uint8_t ier;
	bool pending;
	uint16_t level[3];
	struct ring ring[2];
	struct ring used[4];
	uint32_t nused;
	uint32_t ndata;
	uint8_t data[16];
	bool late;
};

static const struct state_field ring_fields[] = {
	STATE(struct ring, base),
	STATE(struct ring, size, .max = 1024),
	STATE(struct ring, ready),
};
static const struct state_desc ring_desc = STATE_DESC(struct ring, "ring", 1, 1, ring_fields);

static const struct state_field thing_fields[] = {
	STATE(struct thing, divisor),
	STATE(struct thing, ier, .max = 0x0f),
	STATE(struct thing, pending),
	STATE_ARRAY(struct thing, level, .max = 999),
	STATE_STRUCTS(struct thing, ring, &ring_desc),
	STATE_COUNTED_STRUCTS(struct thing, used, nused, &ring_desc),
	STATE_COUNTED(struct thing, data, ndata),
	STATE(struct thing, late, .since = 2),
};
enum { THING_FIELDS = ARRAY_SIZE(thing_fields) };

static const struct state_desc thing_desc = STATE_DESC(struct thing, "thing", 2, 1, thing_fields);
/* The same as an older monitor had it, before late. */
static const struct state_desc thing_v1 = {
	"thing", 1, 1, sizeof(struct thing), thing_fields, THING_FIELDS - 1
};

static const struct state_target newest = { .device = "t0" };

static struct thing sample(void)
{
	return (struct thing){ .divisor = 12,
			       .ier = 5,
			       .pending = true,
			       .level = { 1, 2, 999 },
			       .ring = { { 0x1000, 256, true }, { UINT64_MAX, 1024, false } },
			       .used = { { 7, 8, true } },
			       .nused = 1,
			       .ndata = 5,
			       .data = "hello",
			       .late = true };
}

static struct state_buf saved(const struct state_desc *d, const struct thing *t)
{
	struct state_buf b = { 0 };
	struct err e;

	ck_assert_msg(state_save(d, t, &newest, &b, &e) == 0, "%s", e.text);
	return b;
}

static int load(const struct state_desc *d, struct thing *t, const struct state_buf *b,
		struct err *e)
{
	return state_load(d, t, "t0", b->data, b->len, e);
}

static void refused(const struct state_desc *d, const struct state_buf *b, const char *sentence)
{
	struct thing t, before;
	struct err e;

	memset(&t, 0x5a, sizeof(t));
	before = t;
	ck_assert_int_eq(load(d, &t, b, &e), -EBADMSG);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	ck_assert(!memcmp(&t, &before, sizeof(t)));
}

START_TEST(test_round_trip)
{
	struct thing t = sample(), back = { 0 };
	struct state_buf a = saved(&thing_desc, &t), b;
	struct err e;

	ck_assert_int_eq(load(&thing_desc, &back, &a, &e), 0);
	b = saved(&thing_desc, &back);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert(!memcmp(a.data, b.data, a.len));
	ck_assert_uint_eq(back.divisor, 12);
	ck_assert_uint_eq(back.level[2], 999);
	ck_assert_uint_eq(back.ring[1].base, UINT64_MAX);
	ck_assert_uint_eq(back.nused, 1);
	ck_assert_uint_eq(back.used[0].size, 8);
	ck_assert(!memcmp(back.data, "hello", 5) && back.ndata == 5 && back.late);
	state_buf_free(&a);
	state_buf_free(&b);
}
END_TEST

/* The bytes themselves are a promise to every later version. */
START_TEST(test_format)
{
	static const uint8_t wire[] = "\x04ring\x01\x00\x03\x00"
				      "\x04"
				      "base\x05\x01\x00\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01"
				      "\x04size\x03\x01\x00\x00\x00\x00\x01"
				      "\x05ready\x01\x01\x00\x00\x00\x01";
	struct ring r = { 0x0102030405060708, 256, true };
	struct state_buf b = { 0 };
	struct err e;

	ck_assert_int_eq(state_save(&ring_desc, &r, &newest, &b, &e), 0);
	ck_assert_uint_eq(b.len, sizeof(wire) - 1);
	ck_assert(!memcmp(b.data, wire, b.len));
	state_buf_free(&b);
}
END_TEST

START_TEST(test_any_order_of_fields)
{
	static const uint8_t wire[] = "\x04ring\x01\x00\x03\x00"
				      "\x05ready\x01\x01\x00\x00\x00\x01"
				      "\x04size\x03\x01\x00\x00\x00\x00\x01"
				      "\x04"
				      "base\x05\x01\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00";
	struct ring r = { 0 };
	struct err e;

	ck_assert_int_eq(state_load(&ring_desc, &r, "t0", wire, sizeof(wire) - 1, &e), 0);
	ck_assert(r.base == 8 && r.size == 256 && r.ready);
}
END_TEST

START_TEST(test_truncations)
{
	struct thing t = sample();
	struct state_buf b = saved(&thing_desc, &t);

	for (size_t len = 0; len < b.len; len++) {
		/* Exactly as many bytes as there are, so that a sanitizer sees a read past them. */
		CLEANUP(free) uint8_t *exact = malloc(len ? len : 1);

		memcpy(exact, b.data, len);
		refused(&thing_desc, &(struct state_buf){ .data = exact, .len = len }, "t0: ");
	}
	state_buf_free(&b);
}
END_TEST

START_TEST(test_bit_flips)
{
	struct thing t = sample(), u;
	struct state_buf b = saved(&thing_desc, &t);
	struct err e;
	size_t taken = 0;

	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= 1u << bit % 8;
		u = t;
		if (load(&thing_desc, &u, &b, &e)) {
			ck_assert(!memcmp(&u, &t, sizeof(u)));
		} else {
			taken++;
			ck_assert(u.ier <= 0x0f && u.level[0] <= 999 && u.ring[0].size <= 1024);
			ck_assert(u.nused <= ARRAY_SIZE(u.used) && u.ndata <= sizeof(u.data));
		}
		b.data[bit / 8] ^= 1u << bit % 8;
	}
	ck_assert_uint_gt(taken, 0);
	ck_assert_uint_lt(taken, 4 * b.len);
	state_buf_free(&b);
}
END_TEST

START_TEST(test_trailing_bytes)
{
	struct thing t = sample();
	struct state_buf b = saved(&thing_desc, &t);

	state_buf_put_le(&b, 1, 0);
	refused(&thing_desc, &b, "1 bytes too many");
	state_buf_free(&b);
}
END_TEST

/* Saves with one description and expects another to refuse. */
static void mismatch(const struct state_desc *writer, const char *sentence)
{
	struct thing t = sample();
	struct state_buf b = saved(writer, &t);

	refused(&thing_desc, &b, sentence);
	state_buf_free(&b);
}

START_TEST(test_mismatches)
{
	struct state_field f[THING_FIELDS + 1];
	struct state_desc d = thing_desc;

	memcpy(f, thing_fields, sizeof(thing_fields));
	d.field = f;
	f[0].name = "other";
	mismatch(&d, "version 2 of \"thing\" has no field \"other\"");
	f[0] = thing_fields[1];
	mismatch(&d, "field ier comes twice");
	f[0] = thing_fields[0];
	f[0].width = 2;
	f[0].kind = STATE_U16;
	mismatch(&d, "field divisor is of kind 3, not 4");
	f[0] = thing_fields[0];
	f[3].count = 2;
	mismatch(&d, "field level[0] has 2 elements, not 3");
	f[3] = thing_fields[3];
	d.nfields--;
	mismatch(&d, "field late is missing");
	d = thing_desc;
	d.version = 3;
	mismatch(&d, "written by a newer godwit");
	d.version = 1;
	f[7].since = 0;
	d.field = f;
	mismatch(&d, "version 1 of \"thing\" has no field \"late\"");
	d = thing_desc;
	d.name = "thong";
	mismatch(&d, "state of a \"thong\" where \"thing\" belongs");
}
END_TEST

START_TEST(test_values_out_of_range)
{
	struct state_field f[THING_FIELDS], g[ARRAY_SIZE(ring_fields)];
	struct state_desc d = thing_desc, lax_ring = ring_desc;
	struct state_target to = newest;
	struct state_buf b = { 0 };
	struct thing t = sample();
	struct err e;

	memcpy(f, thing_fields, sizeof(f));
	memcpy(g, ring_fields, sizeof(g));
	g[1].max = 0;
	lax_ring.field = g;
	f[4].nested = &lax_ring;
	d.field = f;
	t.ring[1].size = 1025;
	ck_assert_int_eq(state_save(&thing_desc, &t, &to, &b, &e), -ERANGE);
	ck_assert(strstr(e.text, "t0: field ring[1].size holds 1025, more than 1024"));
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(state_save(&d, &t, &to, &b, &e), 0);
	refused(&thing_desc, &b, "field ring[1].size holds 1025, more than 1024");
	state_buf_free(&b);
	t = sample();
	t.nused = 5;
	ck_assert_int_eq(state_save(&thing_desc, &t, &to, &b, &e), -ERANGE);
	state_buf_free(&b);
}
END_TEST

START_TEST(test_counted_bounds)
{
	struct state_field f[THING_FIELDS];
	struct state_desc d = thing_desc;
	struct {
		struct thing t;
		uint8_t more[64];
	} big = { sample(), { 0 } };

	memcpy(f, thing_fields, sizeof(f));
	f[6].count = 17;
	d.field = f;
	big.t.ndata = 17;
	struct state_buf b = saved(&d, &big.t);

	refused(&thing_desc, &b, "field data[0] has 17 elements, not up to 16");
	state_buf_free(&b);
}
END_TEST

START_TEST(test_older_record)
{
	struct thing t = sample(), back = { .late = true };
	struct state_buf b = saved(&thing_v1, &t);
	struct err e;

	ck_assert_int_eq(load(&thing_desc, &back, &b, &e), 0);
	ck_assert(back.late && back.divisor == 12);
	state_buf_free(&b);
	b = saved(&thing_desc, &t);
	refused(&thing_v1, &b, "version 2, written by a newer godwit");
	state_buf_free(&b);
}
END_TEST

START_TEST(test_older_reader)
{
	static const struct state_version v1[] = { { "thing", 1 }, { "ring", 9 } };
	static const struct state_version v0[] = { { "thing", 2 } };
	struct thing t = sample(), reset = { .divisor = 1 }, back = { 0 };
	struct state_target to = { "t0", v1, ARRAY_SIZE(v1), &reset };
	struct state_buf b = { 0 };
	struct err e;

	ck_assert_int_eq(state_save(&thing_desc, &t, &to, &b, &e), -EPROTONOSUPPORT);
	ck_assert(strstr(e.text, "t0: field late is in use, and version 1 of \"thing\""));
	ck_assert_uint_eq(b.len, 0);
	t.late = false;
	ck_assert_int_eq(state_save(&thing_desc, &t, &to, &b, &e), 0);
	ck_assert_int_eq(load(&thing_v1, &back, &b, &e), 0);
	state_buf_free(&b);
	t.late = reset.late = true;
	ck_assert_int_eq(state_save(&thing_desc, &t, &to, &b, &e), 0);
	state_buf_free(&b);
	to.known = v0;
	to.nknown = ARRAY_SIZE(v0);
	ck_assert_int_eq(state_save(&thing_desc, &t, &to, &b, &e), -EPROTONOSUPPORT);
	ck_assert(strstr(e.text, "t0: the other side does not know \"ring\""));
	state_buf_free(&b);
}
END_TEST

/* What is spare is left out for it while in use, and not missed. */
START_TEST(test_spare_field)
{
	static const struct state_version v1[] = { { "thing", 1 }, { "ring", 1 } };
	struct state_field f[THING_FIELDS];
	struct state_desc d = thing_desc;
	struct thing t = sample(), reset = { .divisor = 1 }, back = { 0 };
	struct state_target to = { "t0", v1, ARRAY_SIZE(v1), &reset };
	struct state_buf b = { 0 };
	struct err e;

	memcpy(f, thing_fields, sizeof(f));
	f[7].spare = true;
	d.field = f;
	ck_assert_int_eq(state_save(&d, &t, &to, &b, &e), 0);
	ck_assert_int_eq(load(&thing_v1, &back, &b, &e), 0);
	ck_assert_int_eq(load(&d, &back, &b, &e), 0);
	ck_assert(!back.late && back.divisor == 12);
	state_buf_free(&b);
	b = saved(&d, &t);
	ck_assert_int_eq(load(&d, &back, &b, &e), 0);
	ck_assert(back.late);
	state_buf_free(&b);
}
END_TEST

START_TEST(test_reader_too_old)
{
	static const struct state_version v1[] = { { "thing", 1 }, { "ring", 1 } };
	struct state_desc d = thing_desc;
	struct thing t = { 0 };
	struct state_buf b = { 0 };
	struct err e;

	d.oldest = 2;
	ck_assert_int_eq(state_save(&d, &t, &(struct state_target){ "t0", v1, 2, &t }, &b, &e),
			 -EPROTONOSUPPORT);
	ck_assert(strstr(e.text, "older than the 2 this godwit can write"));
	state_buf_free(&b);
}
END_TEST

START_TEST(test_print)
{
	struct thing t = sample();
	struct state_buf b = saved(&thing_desc, &t);
	CLEANUP(free) char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct err e;

	ck_assert_int_eq(state_print(f, 0, b.data, b.len, &e), 0);
	fclose(f);
	ck_assert_msg(strstr(text, "thing version 2\n"
				   "  divisor 0xc\n"
				   "  ier 0x5\n"
				   "  pending true\n"
				   "  level[3]\n"
				   "    0001 0002 03e7\n"
				   "  ring[2]\n"
				   "    ring version 1\n"
				   "      base 0x1000\n"),
		      "%s", text);
	ck_assert_msg(strstr(text, "  data[5]\n    68 65 6c 6c 6f\n  late true\n"), "%s", text);
	state_buf_free(&b);
}
END_TEST

START_TEST(test_print_survives_damage)
{
	struct thing t = sample();
	struct state_buf b = saved(&thing_desc, &t);
	CLEANUP(file) FILE *null = fopen("/dev/null", "w");
	struct err e;

	for (size_t len = 0; len < b.len; len++) {
		CLEANUP(free) uint8_t *exact = malloc(len ? len : 1);

		memcpy(exact, b.data, len);
		ck_assert_int_eq(state_print(null, 0, exact, len, &e), -EBADMSG);
	}
	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= 1u << bit % 8;
		state_print(null, 0, b.data, b.len, &e);
		b.data[bit / 8] ^= 1u << bit % 8;
	}
	state_buf_free(&b);
}
END_TEST

START_TEST(test_print_refuses_deep_nesting)
{
	CLEANUP(file) FILE *null = fopen("/dev/null", "w");
	struct state_buf b = { 0 };
	struct err e;

	for (unsigned i = 0; i < 100000; i++)
		state_buf_put(&b, "\1r\1\0\1\0\1f\6\1\0\0\0", 13);
	ck_assert_int_eq(state_print(null, 0, b.data, b.len, &e), -EBADMSG);
	ck_assert(strstr(e.text, "nested deeper"));
	state_buf_free(&b);
}
END_TEST

START_TEST(test_names_are_harmless)
{
	struct state_view v = { (const uint8_t *)"\3a\033b", 4 };
	char name[STATE_NAME_MAX + 1];

	ck_assert(!state_view_take_name(&v, name));
	v = (struct state_view){ (const uint8_t *)"\0", 1 };
	ck_assert(!state_view_take_name(&v, name));
	v = (struct state_view){ (const uint8_t *)"\3a-b", 4 };
	ck_assert(state_view_take_name(&v, name));
	ck_assert_str_eq(name, "a-b");
}
END_TEST

static size_t count_bytes(const struct state_desc *d, enum state_byte what)
{
	CLEANUP(free) enum state_byte *map = calloc(d->size, sizeof(*map));
	size_t n = 0;

	state_coverage(d, map);
	for (size_t i = 0; i < d->size; i++)
		n += map[i] == what;
	return n;
}

START_TEST(test_coverage)
{
	struct state_field f[THING_FIELDS];
	struct state_desc d = thing_desc;

	ck_assert_uint_eq(count_bytes(&thing_desc, STATE_BYTE_UNCOVERED), 0);
	/* each ring ends in 5, level is followed by 4, late by 7 */
	ck_assert_uint_eq(count_bytes(&thing_desc, STATE_BYTE_PADDING), 6 * 5 + 4 + 7);
	d.field = thing_fields + 1;
	d.nfields--;
	ck_assert_uint_eq(count_bytes(&d, STATE_BYTE_UNCOVERED), sizeof(uint32_t));
	memcpy(f, thing_fields, sizeof(f));
	f[4] = thing_fields[0];
	d = thing_desc;
	d.field = f;
	ck_assert_uint_ge(count_bytes(&d, STATE_BYTE_UNCOVERED), 2 * sizeof(struct ring));
}
END_TEST

START_TEST(test_check)
{
	struct state_field f[THING_FIELDS];
	struct state_desc d = thing_desc;
	struct err e;

	ck_assert_msg(state_check(&thing_desc, &e) == 0, "%s", e.text);
	memcpy(f, thing_fields, sizeof(f));
	d.field = f;
	f[1].name = "divisor";
	ck_assert_int_eq(state_check(&d, &e), -EINVAL);
	f[1].name = "white space";
	ck_assert_int_eq(state_check(&d, &e), -EINVAL);
	f[1] = thing_fields[0];
	f[1].name = "twin";
	ck_assert_int_eq(state_check(&d, &e), -EINVAL);
	f[1] = thing_fields[1];
	f[7].since = 3;
	ck_assert_int_eq(state_check(&d, &e), -EINVAL);
	f[7] = thing_fields[7];
	d.oldest = 0;
	ck_assert_int_eq(state_check(&d, &e), -EINVAL);
}
END_TEST

static Suite *state_suite(void)
{
	Suite *s = suite_create("state");
	TCase *t = tcase_create("state");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_round_trip);
	tcase_add_test(t, test_format);
	tcase_add_test(t, test_any_order_of_fields);
	tcase_add_test(t, test_truncations);
	tcase_add_test(t, test_bit_flips);
	tcase_add_test(t, test_trailing_bytes);
	tcase_add_test(t, test_mismatches);
	tcase_add_test(t, test_values_out_of_range);
	tcase_add_test(t, test_counted_bounds);
	tcase_add_test(t, test_older_record);
	tcase_add_test(t, test_older_reader);
	tcase_add_test(t, test_spare_field);
	tcase_add_test(t, test_reader_too_old);
	tcase_add_test(t, test_print);
	tcase_add_test(t, test_print_survives_damage);
	tcase_add_test(t, test_print_refuses_deep_nesting);
	tcase_add_test(t, test_names_are_harmless);
	tcase_add_test(t, test_coverage);
	tcase_add_test(t, test_check);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(state_suite)
