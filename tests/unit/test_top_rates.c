/* SPDX-License-Identifier: Apache-2.0 */
/* What VMs do in a second, from two readings. */
#include <math.h>
#include <string.h>

#include "check_main.h"
#include "top_rates.h"

#define INFO "{\"state\":\"Running\",\"memory_actual_size\":1073741824}"

static const char first[] =
	"{\"_vcpu0\":{\"exits_io\":10,\"exits_hlt\":100,\"run_ns\":1000000000,\"wait_ns\":0,"
	"\"throttled_ns\":0},"
	"\"_vcpu1\":{\"exits_io\":0,\"exits_hlt\":0,\"run_ns\":0,\"wait_ns\":0},"
	"\"disk0\":{\"read_bytes\":0,\"write_bytes\":512,\"read_ops\":0,\"write_ops\":1},"
	"\"console\":{\"rx_bytes\":0,\"tx_bytes\":0},"
	"\"net0\":{\"rx_bytes\":0,\"rx_frames\":0,\"tx_bytes\":5,\"tx_frames\":1},"
	"\"_cpus\":{\"limit_ns\":2500000000,\"throttled_ns\":5},"
	"\"_memory\":{\"rss\":1,\"swapped\":2}}";
/* Two seconds later; disk1 is new. */
static const char second[] =
	"{\"_vcpu0\":{\"exits_io\":30,\"exits_hlt\":300,\"run_ns\":2000000000,"
	"\"wait_ns\":500000000,\"throttled_ns\":1000000000},"
	"\"_vcpu1\":{\"exits_io\":0,\"exits_hlt\":8,\"run_ns\":2000000000,\"wait_ns\":0},"
	"\"disk0\":{\"read_bytes\":8192,\"write_bytes\":512,\"read_ops\":4,\"write_ops\":1},"
	"\"disk1\":{\"read_bytes\":4096,\"write_bytes\":0,\"read_ops\":1,\"write_ops\":0},"
	"\"console\":{\"rx_bytes\":700,\"tx_bytes\":700},"
	"\"net0\":{\"rx_bytes\":3000,\"rx_frames\":2,\"tx_bytes\":5,\"tx_frames\":1},"
	"\"_cpus\":{\"limit_ns\":2500000000,\"throttled_ns\":500000005},"
	"\"_memory\":{\"rss\":2048,\"swapped\":4096},"
	"\"_move\":{\"dirty_rate\":70,\"write_set\":700}}";

static struct vm_rates vm;
static struct reading before, now;

static struct reading reading(unsigned seconds, const char *counters)
{
	struct reading r = { .at_ns = seconds * UINT64_C(1000000000),
			     .info = json_loads(INFO, 0, NULL),
			     .counters = json_loads(counters, 0, NULL) };

	ck_assert_ptr_nonnull(r.info);
	ck_assert_ptr_nonnull(r.counters);
	return r;
}

static void setup(void)
{
	before = reading(10, first);
	now = reading(12, second);
	top_rates_init(&vm, "web");
}

static void teardown(void)
{
	reading_free(&before);
	reading_free(&now);
	top_rates_free(&vm);
}

/* A new one only counts from its second reading on; a console is no network card. */
START_TEST(sums)
{
	top_rates_update(&vm, &before, &now);
	ck_assert(vm.answers);
	ck_assert_str_eq(vm.state, "Running");
	ck_assert_double_eq(vm.cpu, 1.5);
	ck_assert_double_eq(vm.steal, 0.25);
	ck_assert_double_eq(vm.throttled, 0.75);
	ck_assert_double_eq(vm.exits, 114);
	ck_assert_double_eq(vm.given, 1073741824);
	ck_assert_double_eq(vm.resident, 2048);
	ck_assert_double_eq(vm.swapped, 4096);
	ck_assert_double_eq(vm.dirty_rate, 70);
	ck_assert_double_eq(vm.write_set, 700);
	ck_assert_double_eq(vm.read_bytes, 4096);
	ck_assert_double_eq(vm.read_ops, 2);
	ck_assert_double_eq(vm.write_bytes, 0);
	ck_assert_double_eq(vm.write_ops, 0);
	ck_assert_double_eq(vm.rx_bytes, 1500);
	ck_assert_double_eq(vm.rx_frames, 1);
	ck_assert_double_eq(vm.tx_bytes, 0);
	ck_assert_double_eq(vm.tx_frames, 0);
	ck_assert_double_eq(vm.history[TOP_HISTORY - 1], 0.75);
	ck_assert_double_nan(vm.history[TOP_HISTORY - 2]);
}
END_TEST

START_TEST(vcpus)
{
	top_rates_update(&vm, &before, &now);
	ck_assert_uint_eq(vm.nvcpus, 2);
	ck_assert_str_eq(vm.vcpu[0].id, "vcpu0");
	ck_assert_double_eq(vm.vcpu[0].cpu, 0.5);
	ck_assert_double_eq(vm.vcpu[0].exits, 110);
	ck_assert_uint_eq(vm.vcpu[0].nkinds, 2);
	ck_assert_str_eq(vm.vcpu[0].kind[0].kind, "hlt");
	ck_assert_double_eq(vm.vcpu[0].kind[0].rate, 100);
	ck_assert_str_eq(vm.vcpu[0].kind[1].kind, "io");
	ck_assert_str_eq(vm.vcpu[1].id, "vcpu1");
	ck_assert_double_eq(vm.vcpu[1].cpu, 1);
}
END_TEST

/* The first reading has no rates, but the rest. */
START_TEST(unknown)
{
	struct reading none = { 0 };

	top_rates_update(&vm, &none, &now);
	ck_assert_double_nan(vm.cpu);
	ck_assert_double_nan(vm.read_bytes);
	ck_assert_double_eq(vm.resident, 2048);
	ck_assert_uint_eq(vm.nvcpus, 2);
	ck_assert_double_nan(vm.vcpu[0].exits);
}
END_TEST

START_TEST(silence)
{
	top_rates_update(&vm, &before, &now);
	top_rates_silence(&vm);
	ck_assert(!vm.answers);
	ck_assert_double_nan(vm.cpu);
	ck_assert_double_nan(vm.tx_frames);
	ck_assert_double_eq(vm.resident, 2048);
	ck_assert_uint_eq(vm.nvcpus, 0);
	ck_assert_double_nan(vm.history[TOP_HISTORY - 1]);
	ck_assert_double_eq(vm.history[TOP_HISTORY - 2], 0.75);
}
END_TEST

/* Booted again: what it has is what it did. */
START_TEST(begun_anew)
{
	struct reading later = reading(14, first);

	top_rates_update(&vm, &now, &later);
	ck_assert_double_eq(vm.vcpu[0].cpu, 0.5);
	ck_assert_double_eq(vm.exits, 55);
	ck_assert_double_eq(vm.read_bytes, 0);
	reading_free(&later);
}
END_TEST

/* Another VM's process may say anything. */
START_TEST(nonsense)
{
	static const char *const texts[] = {
		"[]", "{\"_vcpu0\":3,\"_memory\":[],\"d\":{\"read_bytes\":\"x\",\"read_ops\":{}}}",
		"{\"_vcpu\\u001b[2J\":{\"exits_\\u0007\":1,\"run_ns\":-5}}"
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct reading r = { .at_ns = 5, .counters = json_loads(texts[i], 0, NULL) };
		json_t *json;

		ck_assert_ptr_nonnull(r.counters);
		top_rates_update(&vm, &r, &r);
		for (unsigned k = 0; k < vm.nvcpus; k++)
			ck_assert_ptr_null(strchr(vm.vcpu[k].id, '\033'));
		json = top_rates_json(&vm);
		ck_assert_ptr_nonnull(json);
		json_decref(json);
		reading_free(&r);
	}
}
END_TEST

START_TEST(sorts)
{
	struct vm_rates a, b, c, *rows[] = { &a, &b, &c };

	top_rates_init(&a, "a");
	top_rates_init(&b, "b");
	top_rates_init(&c, "c");
	b.cpu = 1;
	c.cpu = 2;
	a.resident = 7;
	b.read_bytes = b.write_bytes = 1;
	a.read_bytes = a.write_bytes = 0;
	a.rx_bytes = a.tx_bytes = 0;
	b.rx_bytes = b.tx_bytes = 0;
	top_rates_sort(rows, 3, TOP_BY_CPU);
	ck_assert(rows[0] == &c && rows[1] == &b && rows[2] == &a);
	top_rates_sort(rows, 3, TOP_BY_MEMORY);
	ck_assert(rows[0] == &a && rows[1] == &b && rows[2] == &c);
	top_rates_sort(rows, 3, TOP_BY_DISK);
	ck_assert(rows[0] == &b && rows[1] == &a && rows[2] == &c);
	top_rates_sort(rows, 3, TOP_BY_NET);
	ck_assert(rows[0] == &a && rows[1] == &b && rows[2] == &c);
	top_rates_sort(NULL, 0, TOP_BY_NET);
}
END_TEST

START_TEST(as_json)
{
	json_t *json, *vcpu;
	const char *name;
	double cpu, hlt;
	int resident;

	top_rates_update(&vm, &before, &now);
	json = top_rates_json(&vm);
	ck_assert_int_eq(json_unpack(json, "{s:s, s:f, s:{s:i}, s:[o, o]}", "name", &name, "cpu",
				     &cpu, "memory", "resident", &resident, "vcpus", &vcpu,
				     &(json_t *){ NULL }),
			 0);
	ck_assert_str_eq(name, "web");
	ck_assert_double_eq(cpu, 1.5);
	ck_assert_int_eq(resident, 2048);
	ck_assert_int_eq(json_unpack(vcpu, "{s:{s:f}}", "exits_by_kind", "hlt", &hlt), 0);
	ck_assert_double_eq(hlt, 100);
	json_decref(json);
	top_rates_silence(&vm);
	json = top_rates_json(&vm);
	ck_assert(json_is_null(json_object_get(json, "cpu")));
	ck_assert(json_is_false(json_object_get(json, "answers")));
	json_decref(json);
}
END_TEST

static Suite *top_rates_suite(void)
{
	Suite *s = suite_create("top_rates");
	TCase *c = tcase_create("rates");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, sums);
	tcase_add_test(c, vcpus);
	tcase_add_test(c, unknown);
	tcase_add_test(c, silence);
	tcase_add_test(c, begun_anew);
	tcase_add_test(c, nonsense);
	tcase_add_test(c, sorts);
	tcase_add_test(c, as_json);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(top_rates_suite)
