/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon from the guest's side. */
#include "balloon_guest.h"

static void setup(void)
{
	json = json_array();
	make(&g, "{\"size\": 1048576, \"free_page_reporting\": true, \"deflate_on_oom\": true}");
	guest_start(&g);
}

static struct balloon_reading reading(void)
{
	struct balloon_reading now;

	pthread_mutex_lock(&g.vm.lock);
	balloon_read(&g.v->dev, &now);
	pthread_mutex_unlock(&g.vm.lock);
	return now;
}

static void put_pfns(const uint32_t *pfn, unsigned n)
{
	memcpy(ram(&g, PFNS_GPA), pfn, n * sizeof(*pfn));
}

/* step: between one and the next. */
static void move_pages(unsigned queue, unsigned first, unsigned n, int step)
{
	uint32_t pfn[PAGES];

	for (unsigned i = 0; i < n; i++)
		pfn[i] = (uint32_t)((int)first + (int)i * step);
	put_pfns(pfn, n);
	send(queue, PFNS_GPA, n * 4, 0);
}

START_TEST(test_features_and_size)
{
	static const struct {
		const char *options;
		uint64_t features;
		unsigned queues;
	} cases[] = {
		{ "{\"size\": 4096}", BIT(VIRTIO_BALLOON_F_STATS_VQ), 3 },
		{ "{\"size\": 0, \"deflate_on_oom\": true}",
		  BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM), 3 },
		{ "{\"size\": 8191, \"free_page_reporting\": true}",
		  BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_PAGE_POISON) |
			  BIT(VIRTIO_BALLOON_F_REPORTING),
		  4 },
		{ "{\"size\": 4096, \"free_page_hinting\": true}",
		  BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_PAGE_POISON) |
			  BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT),
		  4 },
	};
	struct guest other;

	make(&other, cases[_i].options);
	ck_assert_uint_eq(other.v->features & UINT32_MAX & ~BIT(VIRTIO_RING_F_EVENT_IDX) &
				  ~BIT(VIRTIO_RING_F_INDIRECT_DESC),
			  cases[_i].features);
	ck_assert_uint_eq(other.v->nqueues, cases[_i].queues);
	ck_assert_uint_eq(rd(&other, other.config, 4), _i == 1 ? 0 : 1);
	guest_free(&other);
}
END_TEST

START_TEST(test_the_guest_writes_what_is_its)
{
	ck_assert_uint_eq(FIELD(num_pages), 256);
	wr(&g, g.config, 4, 77);
	wr(&g, g.config + 8, 4, 77);
	ck_assert_uint_eq(FIELD(num_pages), 256);
	ck_assert_uint_eq(FIELD(free_page_hint_cmd_id), 0);
	wr(&g, g.config + 4, 4, 5);
	wr(&g, g.config + 12, 4, 0xaaaaaaaa);
	ck_assert_uint_eq(FIELD(actual), 5);
	ck_assert_uint_eq(FIELD(poison_val), 0xaaaaaaaa);
	wr(&g, g.config + 5, 1, 1);
	ck_assert_uint_eq(FIELD(actual), 0x105);
	ck_assert_uint_eq(reading().actual_bytes, 0x105000);
	set_status(&g, 0);
	wait_until(&g, status_is, 0);
	ck_assert_uint_eq(FIELD(actual), 0);
	ck_assert_uint_eq(FIELD(poison_val), 0);
	ck_assert_uint_eq(FIELD(num_pages), 256);
}
END_TEST

START_TEST(test_pages_go_and_come)
{
	balloon_drive(&g, all);
	fill(FIRST, 100);
	move_pages(INFLATE, FIRST + 49, 50, -1);
	ck_assert_uint_eq(resident(FIRST, 100), 50);
	ck_assert_uint_eq(reading().given_bytes, 50 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(reading().touched_bytes, 0);
	/* The same, and some more: each counts once. */
	move_pages(INFLATE, FIRST, 99, 1);
	ck_assert_uint_eq(resident(FIRST, 100), 1);
	ck_assert_uint_eq(counter("inflated"), 99 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(counter("given"), 99 * GUEST_PAGE_BYTES);
	fill(FIRST + 10, 3);
	fill(FIRST + 99, 1);
	ck_assert_uint_eq(reading().touched_bytes, 3 * GUEST_PAGE_BYTES);
	/* More than were given. */
	move_pages(DEFLATE, FIRST + 11, 100, 1);
	ck_assert_uint_eq(counter("deflated"), 88 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(reading().given_bytes, 11 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(reading().touched_bytes, GUEST_PAGE_BYTES);
	ck_assert_uint_eq(*(char *)ram(&g, (FIRST + 99) * GUEST_PAGE_BYTES), 'x');
	ck_assert_uint_eq(counter("refused"), 0);
	ck_assert_uint_eq(counter("kept"), 0);
	/* A driver that goes takes all of it back. */
	set_status(&g, 0);
	wait_until(&g, status_is, 0);
	ck_assert_uint_eq(reading().given_bytes, 0);
	ck_assert_uint_eq(reading().touched_bytes, 0);
}
END_TEST

/* Seen where each piece is counted. */
START_TEST(test_pages_go_together)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, RAM_BYTES), 0);
	guest_free(&g);
	make_with(&g, "{\"size\": 0}", fd);
	close(fd);
	guest_start(&g);
	balloon_drive(&g, BIT(VIRTIO_F_VERSION_1));
	for (unsigned i = 0; i < 64; i++)
		((uint32_t *)ram(&g, PFNS_GPA))[i] = FIRST + i * 37 % 64;
	send(INFLATE, PFNS_GPA, 256, 0);
	ck_assert_uint_eq(g.vm.mem->pieces, 1);
	ck_assert_uint_eq(reading().given_bytes, 64 * GUEST_PAGE_BYTES);
}
END_TEST

START_TEST(test_hostile_pages)
{
	const uint32_t pfn[] = { FIRST, PAGES,   FIRST,     UINT32_MAX, FIRST + 2, PAGES - 1,
				 FIRST, 0xfee00, FIRST + 1, PAGES - 1,  PAGES,     0x100000 };

	balloon_drive(&g, all);
	fill(FIRST, 4);
	fill(PAGES - 1, 1);
	put_pfns(pfn, ARRAY_SIZE(pfn));
	send(INFLATE, PFNS_GPA, sizeof(pfn), 0);
	ck_assert_uint_eq(resident(FIRST, 4), 1);
	ck_assert_uint_eq(reading().given_bytes, 4 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(counter("refused"), 5);
	/* Bytes that are no whole number, none at all, and none to be read. */
	send(INFLATE, PFNS_GPA, 3, 0);
	send(DEFLATE, PFNS_GPA, 7, 0);
	send(INFLATE, PFNS_GPA, 0, 0);
	send(INFLATE, PFNS_GPA, 64, VRING_DESC_F_WRITE);
	send(DEFLATE, PFNS_GPA, 64, VRING_DESC_F_WRITE);
	ck_assert_uint_eq(reading().given_bytes, 3 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(counter("refused"), 5);
	ck_assert_uint_eq(status(&g), UP);
}
END_TEST

/* A request of 128 KiB of numbers, each descriptor of an indirect table in the middle of one. */
START_TEST(test_indirect_and_long)
{
	enum { BYTES = 0x20000, PIECES = 101 };
	struct vring_desc *table = ram(&g, queue_gpa(INFLATE) + DATA);
	uint32_t at = 0, *pfn = ram(&g, PFNS_GPA);

	balloon_drive(&g, all);
	for (unsigned i = 0; i < BYTES / 4; i++)
		pfn[i] = FIRST + i % 128;
	for (unsigned i = 0; i < PIECES; i++) {
		uint32_t len = i == PIECES - 1 ? BYTES - at : 1001 + i;

		table[i] = (struct vring_desc){ PFNS_GPA + at, len,
						i < PIECES - 1 ? VRING_DESC_F_NEXT : 0,
						(uint16_t)(i + 1) };
		at += len;
	}
	/* What is in use by the request itself is given, too. */
	send(INFLATE, queue_gpa(INFLATE) + DATA, PIECES * sizeof(*table), VRING_DESC_F_INDIRECT);
	ck_assert_uint_eq(reading().given_bytes, 128 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(counter("inflated"), 128 * GUEST_PAGE_BYTES);
	/* No request takes longer than 8192 pages do. */
	ck_assert_uint_eq(counter("refused"), BYTES / 4 - 8192);
}
END_TEST

START_TEST(test_reports)
{
	balloon_drive(&g, _i == 3 ? all & ~BIT(VIRTIO_BALLOON_F_PAGE_POISON) : all);
	if (_i)
		wr(&g, g.config + 12, 4, _i == 1 ? 0 : 0xaa);
	fill(FIRST, 64);
	send(REPORTING, FIRST * GUEST_PAGE_BYTES, 16 * GUEST_PAGE_BYTES, VRING_DESC_F_WRITE);
	/* A pattern must stay. */
	if (_i == 2) {
		ck_assert_uint_eq(resident(FIRST, 64), 64);
		ck_assert_uint_eq(counter("reported"), 0);
		return;
	}
	ck_assert_uint_eq(resident(FIRST, 64), 48);
	/* Parts of pages stay. */
	send(REPORTING, (FIRST + 20) * GUEST_PAGE_BYTES + 1, 3 * GUEST_PAGE_BYTES,
	     VRING_DESC_F_WRITE);
	send(REPORTING, (FIRST + 30) * GUEST_PAGE_BYTES + 1, GUEST_PAGE_BYTES, VRING_DESC_F_WRITE);
	send(REPORTING, FIRST * GUEST_PAGE_BYTES, 16 * GUEST_PAGE_BYTES, 0);
	ck_assert_uint_eq(resident(FIRST, 64), 46);
	ck_assert_uint_eq(counter("reported"), 18 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(reading().given_bytes, 0);
	ck_assert_uint_eq(*(char *)ram(&g, (FIRST + 20) * GUEST_PAGE_BYTES + 1), 'x');
}
END_TEST

/* What is reported is the third queue of a guest without statistics, and nothing without either. */
START_TEST(test_queues_follow_features)
{
	balloon_drive(&g, all & ~BIT(VIRTIO_BALLOON_F_STATS_VQ));
	fill(FIRST, 64);
	send(STATS, FIRST * GUEST_PAGE_BYTES, 16 * GUEST_PAGE_BYTES, VRING_DESC_F_WRITE);
	ck_assert_uint_eq(counter("reported"), 16 * GUEST_PAGE_BYTES);
	balloon_drive(&g, BIT(VIRTIO_F_VERSION_1));
	for (unsigned i = STATS; i <= REPORTING; i++) {
		desc_of(&g, i)[0] = (struct vring_desc){ (FIRST + 32) * GUEST_PAGE_BYTES,
							 4 * GUEST_PAGE_BYTES, VRING_DESC_F_WRITE,
							 0 };
		publish(&g, i, 0);
		kick(&g, i);
	}
	guest_run(&g, 20);
	ck_assert_uint_eq(used_idx(&g, STATS), 0);
	ck_assert_uint_eq(used_idx(&g, REPORTING), 0);
	ck_assert_uint_eq(resident(FIRST, 64), 48);
}
END_TEST

START_TEST(test_large_pages_go_whole)
{
	balloon_drive(&g, all);
	g.vm.mem->page_bytes = 16 * GUEST_PAGE_BYTES;
	fill(FIRST, 64);
	move_pages(INFLATE, FIRST, 15, 1);
	ck_assert_uint_eq(resident(FIRST, 64), 64);
	move_pages(INFLATE, FIRST + 15, 18, 1);
	ck_assert_uint_eq(resident(FIRST, 64), 32);
	ck_assert_uint_eq(reading().given_bytes, 33 * GUEST_PAGE_BYTES);
	send(REPORTING, (FIRST + 40) * GUEST_PAGE_BYTES, 24 * GUEST_PAGE_BYTES, VRING_DESC_F_WRITE);
	ck_assert_uint_eq(resident(FIRST, 64), 16);
	ck_assert_uint_eq(counter("kept"), 0);
}
END_TEST

/* Statistics */

static void give_stats(unsigned n, const struct virtio_balloon_stat *stat, uint32_t bytes)
{
	memcpy(ram(&g, queue_gpa(STATS) + DATA), stat, n * sizeof(*stat));
	desc_of(&g, STATS)[0] = (struct vring_desc){ queue_gpa(STATS) + DATA, bytes, 0, 0 };
	publish(&g, STATS, 0);
	kick(&g, STATS);
}

static void asked(void *arg)
{
	++*(unsigned *)arg;
}

static bool samples_are(struct guest *guest, unsigned n)
{
	uint64_t value;

	return counter_find(&guest->vm, "balloon", "samples", &value) && value == n;
}

/* Without asking for more. */
static bool has_said(struct guest *guest, unsigned tag)
{
	struct balloon_reading now;

	balloon_read(&guest->v->dev, &now);
	return now.statistic[tag].at_ns;
}

/* A reading asks for the next one, but not all the time. */
static bool asked_by_readers(struct guest *guest, unsigned n)
{
	return samples_are(guest, 1) && used_idx(guest, STATS) == n;
}

static void ask_now(struct balloon_ask *a)
{
	pthread_mutex_lock(&g.vm.lock);
	balloon_ask(&g.v->dev, a);
	pthread_mutex_unlock(&g.vm.lock);
}

static unsigned done;

static bool done_is(struct guest *guest, unsigned n)
{
	(void)guest;
	return done == n;
}

START_TEST(test_statistics)
{
	const struct virtio_balloon_stat first[] = {
		{ 5, 1000 }, { 4, 600 }, { 16, 1 }, { 15, 7 }, { 0xffff, 9 }, { 4, UINT64_MAX }
	};
	const struct virtio_balloon_stat second[] = { { 4, 500 }, { 5, 2000 }, { 0, 3 } };
	struct balloon_ask a = { .done = asked, .arg = &done }, b = a;
	struct balloon_reading now;

	done = 0;
	/* Nobody who could answer. */
	ask_now(&a);
	ck_assert_uint_eq(done, 1);
	balloon_drive(&g, all);
	give_stats(ARRAY_SIZE(first), first, sizeof(first));
	wait_until(&g, samples_are, 1);
	now = reading();
	ck_assert_str_eq(now.statistic[4].name, "free_memory");
	ck_assert_uint_eq(now.statistic[4].value, UINT64_MAX);
	ck_assert_uint_eq(now.statistic[5].value, 1000);
	ck_assert_str_eq(now.statistic[15].name, "direct_reclaims");
	ck_assert_uint_eq(now.statistic[15].value, 7);
	for (unsigned i = 0; i < BALLOON_STATISTICS; i++)
		ck_assert_uint_eq(!!now.statistic[i].at_ns, i == 4 || i == 5 || i == 15);
	ck_assert_uint_eq(counter("total_memory"), 1000);
	wait_until(&g, asked_by_readers, 1);
	give_stats(ARRAY_SIZE(first), first, 0);
	wait_until(&g, samples_are, 2);
	/* On demand, by two. */
	ask_now(&a);
	ask_now(&b);
	wait_until(&g, used_is, STATS << 16 | 2);
	ck_assert_uint_eq(done, 1);
	give_stats(ARRAY_SIZE(second), second, sizeof(second) - 1);
	wait_until(&g, done_is, 3);
	now = reading();
	ck_assert_uint_eq(now.statistic[4].value, 500);
	ck_assert_uint_eq(now.statistic[5].value, 2000);
	ck_assert_uint_eq(now.statistic[0].at_ns, 0);
	/* The guest has no more to say, and then it is gone. */
	ask_now(&a);
	wait_until(&g, used_is, STATS << 16 | 3);
	wait_until(&g, done_is, 4);
	set_status(&g, 0);
	wait_until(&g, status_is, 0);
	ck_assert_uint_eq(reading().statistic[4].at_ns, 0);
	ck_assert_uint_eq(counter("free_memory"), 0);
}
END_TEST

/* The buffer is not in flight: to stop is possible, and it is read once. */
START_TEST(test_statistics_wait_for_nobody)
{
	const struct virtio_balloon_stat stat = { 4, 600 };
	static struct balloon_ask a = { .done = asked, .arg = &done };

	done = 0;
	balloon_drive(&g, all);
	give_stats(1, &stat, sizeof(stat));
	wait_until(&g, has_said, 4);
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	ask_now(&a);
	ck_assert_uint_eq(done, 1);
	guest_start(&g);
	kick(&g, STATS);
	guest_run(&g, 20);
	ck_assert_uint_eq(used_idx(&g, STATS), 0);
	ck_assert(samples_are(&g, 1));
	ask_now(&a);
	wait_until(&g, used_is, STATS << 16 | 1);
	/* The VM ends meanwhile. */
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
}
END_TEST

/* Its target */

static void set_target(uint64_t bytes)
{
	pthread_mutex_lock(&g.vm.lock);
	balloon_set_target(&g.v->dev, bytes);
	pthread_mutex_unlock(&g.vm.lock);
}

START_TEST(test_target)
{
	uint64_t generation;

	balloon_drive(&g, all);
	interrupts(&g, 0);
	generation = rd(&g, g.common + VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	set_target(5 * GUEST_PAGE_BYTES + 1);
	ck_assert_uint_eq(FIELD(num_pages), 5);
	ck_assert_uint_eq(interrupts(&g, 0), 1);
	ck_assert_uint_ne(rd(&g, g.common + VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	set_target(5 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(interrupts(&g, 0), 0);
	/* Of a guest that stands still. */
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	set_target(6 * GUEST_PAGE_BYTES);
	ck_assert_uint_eq(FIELD(num_pages), 5);
	ck_assert_uint_eq(reading().target_bytes, 6 * GUEST_PAGE_BYTES);
	guest_start(&g);
	ck_assert_uint_eq(FIELD(num_pages), 6);
	ck_assert_uint_eq(interrupts(&g, 0), 1);
	/* A reset of the VM asks for as much as was asked last. */
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	set_target(7 * GUEST_PAGE_BYTES);
	wr(&g, g.config + 4, 4, 5);
	device_reset(&g.v->dev);
	ck_assert_uint_eq(FIELD(num_pages), 7);
	ck_assert_uint_eq(FIELD(actual), 0);
}
END_TEST

/* What came with the state the guest knows; where another size is configured, it is told. */
START_TEST(test_comes_from_elsewhere)
{
	size_t bytes = virtio_balloon_class.state->size;
	void *state = malloc(bytes), *memory = malloc(RAM_BYTES);
	struct err e;

	balloon_drive(&g, all);
	wr(&g, g.config + 4, 4, 9);
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	memcpy(state, device_state(&g.v->dev), bytes);
	memcpy(memory, ram(&g, 0), RAM_BYTES);
	guest_free(&g);
	make(&g, _i ? "{\"size\": 8192, \"free_page_reporting\": true, \"deflate_on_oom\": true}"
		    : "{\"size\": 1048576, \"free_page_reporting\": true, "
		      "\"deflate_on_oom\": true}");
	memcpy(device_state(&g.v->dev), state, bytes);
	memcpy(ram(&g, 0), memory, RAM_BYTES);
	ck_assert_msg(!device_loaded(&g.v->dev, &e), "%s", e.text);
	ck_assert_uint_eq(FIELD(num_pages), 256);
	ck_assert_uint_eq(FIELD(actual), 9);
	guest_start(&g);
	ck_assert_uint_eq(FIELD(num_pages), _i ? 2 : 256);
	ck_assert_uint_eq(interrupts(&g, 0), _i);
	/* What it gave before, it may take back. */
	move_pages(DEFLATE, FIRST, 9, 1);
	ck_assert_uint_eq(counter("deflated"), 0);
	ck_assert_uint_eq(reading().given_bytes, 0);
	free(state);
	free(memory);
}
END_TEST

static Suite *balloon_suite(void)
{
	Suite *s = suite_create("balloon");
	TCase *tc = tcase_create("balloon");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_features_and_size, 0, 4);
	tcase_add_test(tc, test_the_guest_writes_what_is_its);
	tcase_add_test(tc, test_pages_go_and_come);
	tcase_add_test(tc, test_pages_go_together);
	tcase_add_test(tc, test_hostile_pages);
	tcase_add_test(tc, test_indirect_and_long);
	tcase_add_loop_test(tc, test_reports, 0, 4);
	tcase_add_test(tc, test_queues_follow_features);
	tcase_add_test(tc, test_large_pages_go_whole);
	tcase_add_test(tc, test_statistics);
	tcase_add_test(tc, test_statistics_wait_for_nobody);
	tcase_add_test(tc, test_target);
	tcase_add_loop_test(tc, test_comes_from_elsewhere, 0, 2);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(balloon_suite)
