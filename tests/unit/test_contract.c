/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every device class promises, today's and tomorrow's (docs/writing-a-device.md).  Each
 * test runs once for each class in the table; a class whose state the kernel holds is left
 * out where /dev/kvm does not open.
 */
#include "check_main.h"
#include "contract_counters.h"
#include "contract_storm.h"
#include "log.h"
#include "memory_use.h"
#include "own_network.h"

enum { STORM_STEPS = 4000, TWIN_LIVES = 16, TWIN_STEPS = 200, TWIN_TRIES = 3, CLAIMS_MAX = 10000 };

static bool kvm_opens(void)
{
	CLEANUP(fd) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd >= 0;
}

/* The class of this round, or NULL if it cannot run here. */
static const struct device_class *class_at(int i)
{
	const struct device_class *class = device_classes[i];
	struct row row = row_of(class);

	return (row.kvm && !kvm_opens()) || (row.tun && !own_network()) ? NULL : class;
}

START_TEST(test_tables)
{
	const struct device_class *class = device_classes[_i];
	struct err e;

	ck_assert_msg(class->attach && class->reset, "%s: no attach or no reset", class->kind);
	ck_assert_uint_ge(class->size, sizeof(struct device));
	ck_assert_msg(state_name_ok(class->kind), "%s: bad name", class->kind);
	for (int i = 0; i < _i; i++)
		ck_assert_str_ne(device_classes[i]->kind, class->kind);
	if (class->state) {
		ck_assert_msg(state_check(class->state, &e) == 0, "%s", e.text);
		ck_assert_uint_ge(class->state_offset, sizeof(struct device));
		ck_assert_uint_le(class->state_offset + class->state->size, class->size);
	}
}
END_TEST

/* Descriptions agree across hosts by name: two of one name would be mistaken for each other. */
static void unique_names(const struct state_desc *d, const struct state_desc *other)
{
	ck_assert_msg(d == other || strcmp(d->name, other->name), "two descriptions \"%s\"",
		      d->name);
	for (size_t i = 0; i < other->nfields; i++)
		if (other->field[i].nested)
			unique_names(d, other->field[i].nested);
}

static void all_unique(const struct state_desc *d)
{
	for (size_t i = 0; i < ndevice_classes; i++)
		if (device_classes[i]->state)
			unique_names(d, device_classes[i]->state);
	for (size_t i = 0; i < d->nfields; i++)
		if (d->field[i].nested)
			all_unique(d->field[i].nested);
}

START_TEST(test_names_of_state)
{
	if (device_classes[_i]->state)
		all_unique(device_classes[_i]->state);
}
END_TEST

START_TEST(test_every_byte_is_covered)
{
	const struct state_desc *d = device_classes[_i]->state;
	CLEANUP(free) enum state_byte *map = d ? calloc(d->size, sizeof(*map)) : NULL;

	if (!d)
		return;
	state_coverage(d, map);
	for (size_t i = 0; i < d->size; i++)
		ck_assert_msg(map[i] != STATE_BYTE_UNCOVERED,
			      "%s: no field describes byte %zu of its state",
			      device_classes[_i]->kind, i);
}
END_TEST

START_TEST(test_counters)
{
	const struct device_class *class = device_classes[_i];

	if (!class->counters)
		return;
	check_counter_table(class->kind, class->counters);
	for (size_t i = 0; i < ndevice_classes; i++)
		check_families_apart(class->counters, device_classes[i]->counters);
}
END_TEST

/* Which no class has. */
START_TEST(test_counters_of_memory)
{
	check_counter_table("memory", &memory_use_table);
	check_families_apart(&memory_use_table, device_classes[_i]->counters);
}
END_TEST

/* From attach on they can be read. */
START_TEST(test_counters_are_there)
{
	const struct device_class *class = class_at(_i);
	struct counter_readings all;
	struct rig rig;
	bool found = false;

	if (!class || !class->counters)
		return;
	rig_new_with_device(&rig, class);
	ck_assert_uint_ge(rig.dev->ncounters, 1);
	ck_assert_int_eq(counters_read(&rig.vm, &all), 0);
	for (size_t i = 0; i < all.n; i++)
		found |= strstr(all.reading[i].id, "dut") &&
			 all.reading[i].table == class->counters;
	ck_assert_msg(found, "%s: has counters and tells none", class->kind);
	counters_free(&all);
	rig_free(&rig);
}
END_TEST

START_TEST(test_failed_attach_leaves_nothing)
{
	const struct device_class *class = class_at(_i);
	struct device *dev;
	struct traces before;
	struct rig rig;
	struct err e = { "" };

	for (unsigned n = 1, r = 1; class && r && n < CLAIMS_MAX; n++) {
		rig_new(&rig, class);
		before = traces_of(&rig);
		rig.vm.fail_claim = n;
		r = rig_add(&rig, "dut", &dev, &e) != 0;
		ck_assert_msg(r || rig.vm.fail_claim, "%s: claim %u failed unnoticed", class->kind,
			      n);
		if (r) {
			no_new_traces(&rig, &before, "attach failed");
			ck_assert_msg(strstr(e.text, "dut"), "\"%s\" names no device", e.text);
		}
		rig_free(&rig);
	}
}
END_TEST

START_TEST(test_free_leaves_nothing)
{
	const struct device_class *class = class_at(_i);
	struct traces before;
	struct rig rig;
	struct err e;

	if (!class)
		return;
	rig_new(&rig, class);
	before = traces_of(&rig);
	ck_assert_msg(rig_add(&rig, "dut", &rig.dev, &e) == 0, "%s", e.text);
	if (!row_of(class).kvm)
		storm(&rig, 17, 500);
	device_free(rig.dev);
	no_new_traces(&rig, &before, "free");
	rig_free(&rig);
}
END_TEST

/* A second one is refused with a sentence, or is a second one. */
START_TEST(test_duplicates)
{
	const struct device_class *class = class_at(_i);
	struct device *dev;
	struct traces before;
	struct rig rig;
	struct err e;

	if (!class)
		return;
	rig_new_with_device(&rig, class);
	before = traces_of(&rig);
	ck_assert_int_eq(rig_add(&rig, "dut", &dev, &e), -EEXIST);
	no_new_traces(&rig, &before, "the same id");
	if (rig_add(&rig, "dut2", &dev, &e)) {
		no_new_traces(&rig, &before, "a duplicate");
		ck_assert_str_ne(e.text, "");
	}
	rig_free(&rig);
}
END_TEST

/* Leave a device in the middle of things. */
static void use(struct rig *rig, uint64_t seed)
{
	rig_start(rig);
	drive(rig, &seed, false);
	rig_pump(rig);
	rig_stop(rig);
}

START_TEST(test_reset_is_a_fixed_point)
{
	const struct device_class *class = class_at(_i);
	struct state_buf fresh, again;
	struct rig rig;

	if (!class || !class->state || row_of(class).drifts)
		return;
	rig_new_with_device(&rig, class);
	fresh = rig_save(&rig);
	device_reset(rig.dev);
	again = rig_save(&rig);
	same_record(&fresh, &again, class->kind, "reset after reset");
	for (uint64_t seed = 31; seed < 39; seed++) {
		fresh = rig_save(&rig);
		storm(&rig, seed, 1000);
		use(&rig, seed);
		device_reset(rig.dev);
		again = rig_save(&rig);
		same_record(&fresh, &again, class->kind, "reset after use");
	}
	ck_assert_str_eq(rig.vm.failure.text, "");
	rig_free(&rig);
}
END_TEST

START_TEST(test_storm)
{
	const struct device_class *class = class_at(_i);
	struct state_buf b;
	struct rig rig;

	if (!class)
		return;
	rig_new_with_device(&rig, class);
	for (uint64_t seed = 1; seed <= 8; seed++) {
		storm(&rig, seed, STORM_STEPS);
		if (class->state) {
			b = rig_save(&rig);
			state_buf_free(&b);
		}
		if (seed % 2)
			device_reset(rig.dev);
	}
	rig_free(&rig);
}
END_TEST

START_TEST(test_stop_and_start)
{
	const struct device_class *class = class_at(_i);
	uint64_t seed = 5;
	struct rig rig;

	if (!class)
		return;
	rig_new_with_device(&rig, class);
	for (int i = 0; i < 50; i++) {
		rig_start(&rig);
		if (i % 3 == 0)
			drive(&rig, &seed, i % 2);
		if (i % 2)
			rig_pump(&rig);
		rig_stop(&rig);
	}
	rig_free(&rig);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
	CLEANUP(fd) int in = open(from, O_RDONLY | O_CLOEXEC);
	CLEANUP(fd) int out = open(to, O_WRONLY | O_CLOEXEC);
	static uint8_t data[DISK_BYTES];

	ck_assert_int_eq(pread(in, data, sizeof(data), 0), sizeof(data));
	ck_assert_int_eq(pwrite(out, data, sizeof(data), 0), sizeof(data));
}

/* Move the device of a, STOPPED, to b: a VM of its own with the same memory and disk. */
static void move(struct rig *a, struct rig *b)
{
	struct state_buf before = rig_save(a), after;
	struct err e;

	memcpy(guest_mem_at(b->vm.mem, 0, RAM_BYTES), guest_mem_at(a->vm.mem, 0, RAM_BYTES),
	       RAM_BYTES);
	copy_file(a->path, b->path);
	ck_assert_msg(rig_load(b, &before, &e) == 0, "%s: its own state is refused: %s",
		      a->class->kind, e.text);
	after = rig_save(b);
	same_record(&before, &after, a->class->kind, "saved, loaded, saved");
}

/* Bytes between fields must not matter: a member without a field may hide there. */
static void poison_padding(struct rig *rig)
{
	const struct state_desc *d = rig->class->state;
	CLEANUP(free) enum state_byte *map = calloc(d->size, sizeof(*map));
	uint8_t *s = device_state(rig->dev);

	state_coverage(d, map);
	for (size_t i = 0; i < d->size; i++)
		if (map[i] == STATE_BYTE_PADDING)
			s[i] ^= 0xa5;
}

static bool lines_alike(struct rig *a, struct rig *b)
{
	return !memcmp(a->vm.irq.level, b->vm.irq.level, sizeof(a->vm.irq.level));
}

/* One access to both; false: they differ in what they answer or do. */
static bool step_alike(struct rig *a, struct rig *b, uint64_t *seed)
{
	struct rig *both[] = { a, b };
	struct access access;
	uint64_t value[2];

	for (int i = 0; i < 2; i++) {
		rig_start(both[i]);
		rig_pump(both[i]);
	}
	access = draw_access(a, seed);
	for (int i = 0; i < 2; i++)
		value[i] = do_access(both[i], &access);
	for (int i = 0; i < 2; i++) {
		rig_pump(both[i]);
		rig_stop(both[i]);
	}
	return value[0] == value[1] && lines_alike(a, b);
}

/*
 * Index and data ports: write each value to one port and read the next.  Random accesses seldom
 * do that in this order.
 */
static bool sweep_alike(struct rig *a, struct rig *b)
{
	struct region *region[REGIONS_MAX];
	unsigned n = regions_of(a, region);
	bool alike = true;

	for (unsigned i = 0; i < n; i++) {
		for (unsigned v = 0; region[i]->size_bytes <= 8 && v < 256; v++) {
			struct access write = { ACCESS_REGION, i, 0, v, 1, true };
			struct access read = { ACCESS_REGION, i, 1, 0, 1, false };

			do_access(a, &write);
			do_access(b, &write);
			alike &= do_access(a, &read) == do_access(b, &read);
		}
	}
	return alike;
}

/* Rings are in the lower half of memory; what requests read and write is in the upper. */
static bool rings_alike(struct rig *a, struct rig *b)
{
	drive_on(a);
	drive_on(b);
	return lines_alike(a, b) && !memcmp(guest_mem_at(a->vm.mem, 0, RAM_BYTES),
					    guest_mem_at(b->vm.mem, 0, RAM_BYTES), RAM_BYTES / 2);
}

/* False: the two lives diverged after so many steps. */
static bool live_alike(const struct device_class *class, uint64_t seed, unsigned *steps)
{
	struct rig a, b;
	struct state_buf left, right;
	struct err e;
	bool alike;

	rig_new_with_device(&a, class);
	rig_new_with_device(&b, class);
	storm(&a, seed, 1000);
	if (seed % 2)
		use(&a, seed);
	move(&a, &b);
	poison_padding(&b);
	if (a.row.tells_of_moves)
		ck_assert_int_eq(device_loaded(a.dev, &e), 0);
	alike = seed % 2 ? rings_alike(&a, &b) : sweep_alike(&a, &b);
	for (*steps = 0; alike && *steps < TWIN_STEPS; ++*steps)
		alike = step_alike(&a, &b, &seed);
	if (alike) {
		left = rig_save(&a);
		right = rig_save(&b);
		alike = left.len == right.len && !memcmp(left.data, right.data, left.len);
		state_buf_free(&left);
		state_buf_free(&right);
	}
	rig_free(&a);
	rig_free(&b);
	return alike;
}

/* A timer may expire, or the host's disk answer, between the accesses to the two: only what
 * repeats counts. */
START_TEST(test_lives_on_after_a_move)
{
	const struct device_class *class = class_at(_i);
	unsigned steps = 0;

	if (!class || !class->state || row_of(class).kvm)
		return;
	for (uint64_t seed = 21; seed < 21 + TWIN_LIVES; seed++) {
		int tries = 0;

		while (tries < TWIN_TRIES && !live_alike(class, seed, &steps))
			tries++;
		ck_assert_msg(tries < TWIN_TRIES,
			      "%s: behaves differently after a load, %u accesses on (seed %u)",
			      class->kind, steps, (unsigned)seed);
	}
}
END_TEST

/* What the kernel holds arrives there and comes back. */
START_TEST(test_moves_what_the_kernel_holds)
{
	const struct device_class *class = class_at(_i);
	struct rig a, b;

	if (!class || !row_of(class).kvm)
		return;
	rig_new_with_device(&a, class);
	rig_new_with_device(&b, class);
	if (!row_of(class).drifts) {
		move(&a, &b);
	} else {
		struct state_buf s = rig_save(&a);
		struct err e;

		ck_assert_msg(rig_load(&b, &s, &e) == 0, "%s: %s", class->kind, e.text);
		state_buf_free(&s);
		rig_start(&b);
		rig_stop(&b);
	}
	rig_free(&a);
	rig_free(&b);
}
END_TEST

START_TEST(test_truncations)
{
	const struct device_class *class = class_at(_i);
	struct state_buf b;
	struct rig rig;
	struct err e;

	if (!class || !class->state)
		return;
	rig_new_with_device(&rig, class);
	b = rig_save(&rig);
	for (size_t len = 0; len < b.len; len += 1 + b.len / 8192) {
		CLEANUP(free) uint8_t *exact = malloc(len ? len : 1);
		struct state_buf cut = { .data = exact, .len = len };

		memcpy(exact, b.data, len);
		ck_assert_int_eq(rig_load(&rig, &cut, &e), -EBADMSG);
	}
	state_buf_free(&b);
	rig_free(&rig);
}
END_TEST

/* A state that decodes is refused by the device, or the device lives with it. */
static void live_with(struct rig *rig, const struct state_buf *b, uint64_t seed)
{
	struct state_buf s;
	struct err e;

	if (rig_load(rig, b, &e) == 0) {
		s = rig_save(rig);
		state_buf_free(&s);
		storm(rig, seed, 40);
	}
	device_reset(rig->dev);
}

START_TEST(test_bit_flips)
{
	const struct device_class *class = class_at(_i);
	CLEANUP(free) void *copy = NULL;
	struct state_buf b;
	struct rig rig;
	struct err e;
	size_t taken = 0;

	if (!class || !class->state)
		return;
	rig_new_with_device(&rig, class);
	storm(&rig, 9, STORM_STEPS);
	b = rig_save(&rig);
	copy = malloc(class->state->size);
	for (size_t bit = 0; bit < 8 * b.len; bit += 1 + b.len / 4096) {
		memcpy(copy, device_state(rig.dev), class->state->size);
		b.data[bit / 8] ^= 1u << bit % 8;
		if (state_load(class->state, copy, "dut", b.data, b.len, &e) == 0 &&
		    taken++ % (1 + b.len / 512) == 0)
			live_with(&rig, &b, bit + 1);
		b.data[bit / 8] ^= 1u << bit % 8;
	}
	state_buf_free(&b);
	rig_free(&rig);
}
END_TEST

static Suite *contract_suite(void)
{
	const TTest *const tests[] = {
		test_tables,
		test_names_of_state,
		test_every_byte_is_covered,
		test_counters,
		test_counters_of_memory,
		test_counters_are_there,
		test_failed_attach_leaves_nothing,
		test_free_leaves_nothing,
		test_duplicates,
		test_reset_is_a_fixed_point,
		test_storm,
		test_stop_and_start,
		test_lives_on_after_a_move,
		test_moves_what_the_kernel_holds,
		test_truncations,
		test_bit_flips,
	};
	Suite *s = suite_create("contract");
	TCase *t = tcase_create("contract");

	log_set_level(LOG_ERROR); /* what the guest does wrong is no news here */
	tcase_set_timeout(t, 120);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(t, tests[i], 0, (int)ndevice_classes);
	suite_add_tcase(s, t);
	for (size_t i = 0; i < ndevice_classes; i++)
		if (!class_at((int)i))
			printf("skipped: %s, as /dev/kvm does not open\n", device_classes[i]->kind);
	return s;
}

CHECK_MAIN(contract_suite)
