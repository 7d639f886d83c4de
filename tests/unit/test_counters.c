/* SPDX-License-Identifier: Apache-2.0 */
/* Counters as tables: blocks that are added up, latencies, what is left out. */
#include <sys/mman.h>

#include "check_main.h"
#include "counter_of.h"
#include "vm.h"

enum { BLOCKS = 3, US = 1000, LINE_BYTES = 64 };

struct toy_counters {
	_Atomic uint64_t ops, level;
	struct latency wait;
};

struct toy {
	struct device dev;
	bool unknown;
	unsigned fetched;
};

static const struct counter toy_rows[] = {
	COUNTER(struct toy_counters, ops),
	COUNTER_GAUGE_OF(struct toy_counters, level),
	COUNTER_LATENCY_OF(struct toy_counters, wait),
};

static bool toy_fetch(struct device *dev)
{
	struct toy *toy = (struct toy *)dev;

	toy->fetched++;
	return !toy->unknown;
}

static const struct counter_table toy_table = COUNTER_TABLE(struct toy_counters, toy_rows,
							    .fetch = toy_fetch);
static const struct counter_table part_table = COUNTER_TABLE(struct toy_counters, toy_rows,
							     .is_machine = true);

static int toy_attach(struct device *dev, struct err *e)
{
	return dev->class->counters ? device_claim_counters(dev, BLOCKS, e) : 0;
}

static void toy_reset(struct device *dev)
{
	(void)dev;
}

static const struct device_class toy_class = { .kind = "toy",
					       .size = sizeof(struct toy),
					       .counters = &toy_table,
					       .attach = toy_attach,
					       .reset = toy_reset };
static const struct device_class part_class = { .kind = "part",
						.size = sizeof(struct toy),
						.counters = &part_table,
						.attach = toy_attach,
						.reset = toy_reset };
static const struct device_class mute_class = {
	.kind = "mute", .size = sizeof(struct toy), .attach = toy_attach, .reset = toy_reset
};

static struct vm vm;
static struct toy *toy;

static void add(const struct device_class *class, const char *id, struct toy **out)
{
	struct device *dev;
	struct err e;

	ck_assert_msg(!device_new(&dev, class, id, &vm, NULL, &e), "%s", e.text);
	*out = (struct toy *)dev;
}

static void setup(void)
{
	struct loop *loop;
	struct toy *unused;
	struct err e;

	ck_assert_int_eq(loop_new(&loop, &e), 0);
	ck_assert_int_eq(vm_init(&vm, -1, loop, 0, &e), 0);
	add(&mute_class, "mute", &unused);
	add(&toy_class, "toy0", &toy);
	add(&part_class, "part0", &unused);
}

static void teardown(void)
{
	struct loop *loop = vm.loop;

	vm_free(&vm);
	loop_free(loop);
}

static struct toy_counters *block(unsigned i)
{
	return device_counters(&toy->dev, i);
}

START_TEST(test_blocks_are_added_up)
{
	ck_assert_uint_eq(counter_of(&vm, "toy0", "ops"), 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		counter_add(&block(i)->ops, 1u << i);
		counter_add(&block(i)->ops, 1u << i);
		counter_set(&block(i)->level, 5);
	}
	ck_assert_uint_eq(counter_of(&vm, "toy0", "ops"), 14);
	ck_assert_uint_eq(counter_of(&vm, "toy0", "level"), 15);
	counter_add(&block(1)->ops, UINT64_C(1) << 40);
	ck_assert_uint_eq(counter_of(&vm, "toy0", "ops"), (UINT64_C(1) << 40) + 14);
}
END_TEST

/* Two threads that count do not slow each other down. */
START_TEST(test_blocks_share_no_cache_line)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		ck_assert_uint_eq((uintptr_t)block(i) % LINE_BYTES, 0);
		ck_assert(!i ||
			  (char *)block(i) >= (char *)block(i - 1) + sizeof(struct toy_counters));
	}
}
END_TEST

START_TEST(test_readings)
{
	struct counter_readings all;
	uint64_t value;

	ck_assert_int_eq(counters_read(&vm, &all), 0);
	ck_assert_str_eq(all.reading[0].id, "toy0");
	ck_assert_str_eq(all.reading[1].id, "_part0");
	ck_assert_ptr_eq(all.reading[1].table, &part_table);
	ck_assert_str_eq(all.reading[2].id, "_cpus");
	ck_assert_str_eq(all.reading[3].id, "_memory");
	ck_assert_uint_eq(all.n, 4);
	counters_free(&all);
	ck_assert_uint_eq(toy->fetched, 1);
	ck_assert(!counter_find(&vm, "mute", "ops", &value));
	toy->unknown = true;
	ck_assert(!counter_find(&vm, "toy0", "ops", &value));
	ck_assert(counter_find(&vm, "_part0", "ops", &value));
}
END_TEST

/* A page more is a page more, and it is on the host or swapped out. */
START_TEST(test_memory)
{
	enum { BYTES = 32 * MIB };
	uint64_t before = counter_of(&vm, "_memory", "rss") + counter_of(&vm, "_memory", "swapped");
	void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
		       MAP_ANONYMOUS | MAP_POPULATE | (_i ? MAP_SHARED : MAP_PRIVATE), -1, 0);
	uint64_t after;

	ck_assert_ptr_ne(p, MAP_FAILED);
	after = counter_of(&vm, "_memory", "rss") + counter_of(&vm, "_memory", "swapped");
	ck_assert_uint_ge(after, before + BYTES / 2);
	munmap(p, BYTES);
}
END_TEST

START_TEST(test_latency)
{
	ck_assert_uint_eq(counter_of(&vm, "toy0", "wait_min"), 0);
	ck_assert_uint_eq(counter_of(&vm, "toy0", "wait_max"), 0);
	ck_assert_uint_eq(counter_of(&vm, "toy0", "wait_avg"), 0);
	latency_add(&block(1)->wait, 70 * US);
	latency_add(&block(1)->wait, 20 * US);
	latency_add(&block(2)->wait, 300 * US);
	latency_add(&block(2)->wait, 30 * US + 999);
	ck_assert_uint_eq(counter_of(&vm, "toy0", "wait_min"), 20);
	ck_assert_uint_eq(counter_of(&vm, "toy0", "wait_max"), 300);
	ck_assert_uint_eq(counter_of(&vm, "toy0", "wait_avg"), 105);
}
END_TEST

START_TEST(test_latency_buckets)
{
	struct latency l = { 0 };

	for (unsigned i = 0; i < LATENCY_BOUNDS; i++) {
		uint64_t ns = latency_bounds[i].ns;

		ck_assert(!i || ns > latency_bounds[i - 1].ns);
		ck_assert_double_eq_tol(strtod(latency_bounds[i].seconds, NULL), 1e-9 * (double)ns,
					1e-12);
		latency_add(&l, ns);
		ck_assert_uint_eq(l.bucket[i], i ? 2 : 1);
		latency_add(&l, ns + 1);
		ck_assert_uint_eq(l.bucket[i + 1], 1);
	}
	ck_assert_uint_eq(latency_ops(&l), 2 * LATENCY_BOUNDS);
	/* Something so fast that the clock stood still has been there. */
	latency_add(&l, 0);
	ck_assert_uint_eq(l.least_ns, 1);
	ck_assert_uint_eq(l.bucket[0], 2);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("counters");
	TCase *tc = tcase_create("counters");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_blocks_are_added_up);
	tcase_add_test(tc, test_blocks_share_no_cache_line);
	tcase_add_test(tc, test_readings);
	tcase_add_loop_test(tc, test_memory, 0, 2);
	tcase_add_test(tc, test_latency);
	tcase_add_test(tc, test_latency_buckets);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
