/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, cursors, notifications and stops of a queue whose guest is honest. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check_main.h"
#include "virtqueue_bench.h"

START_TEST(test_request)
{
	char buf[16] = { 0 };

	start(false);
	memcpy(at(DATA), "question", 8);
	put(3, DATA, 8, N, 5);
	put(5, HIGH + 0x1000, 4, N | W, 0);
	put(0, DATA + 0x100, 100, W, 0);
	ck_assert(!vq_pop(&b.vq, &b.req));
	offer(3);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert_uint_eq(b.req.head, 3);
	ck_assert_uint_eq(b.req.readable_bytes, 8);
	ck_assert_uint_eq(b.req.writable_bytes, 104);
	ck_assert_uint_eq(req_read(&b.req, buf, sizeof(buf)), 8);
	ck_assert_str_eq(buf, "question");
	ck_assert_uint_eq(req_read(&b.req, buf, 1), 0);
	ck_assert_uint_eq(req_write(&b.req, "answer", 6), 6);
	ck_assert(!memcmp(at(HIGH + 0x1000), "answ", 4));
	ck_assert(!memcmp(at(DATA + 0x100), "er", 2));
	vq_complete(&b.vq, &b.req, 6);
	ck_assert_uint_eq(b.used->idx, 0);
	vq_flush(&b.vq);
	ck_assert_uint_eq(b.used->idx, 1);
	ck_assert_uint_eq(b.used->ring[0].id, 3);
	ck_assert_uint_eq(b.used->ring[0].len, 6);
	ck_assert_uint_eq(b.signals, 1);
	vq_flush(&b.vq);
	ck_assert_uint_eq(b.signals, 1);
	ck_assert(!vq_pop(&b.vq, &b.req));
	ck_assert_ptr_null(b.why);
}
END_TEST

START_TEST(test_completions_mark_pages)
{
	struct iovec *iov;

	start(true);
	memset(b.dirty, 0, sizeof(b.dirty));
	put(0, DATA, 16, N, 1);
	put(1, HIGH + 0xff0, 0x1010, N | W, 2);
	put(2, DATA + 0x2000, 0x1001, W, 0);
	offer(0);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert_int_eq(req_take_writable(&b.req, 0x1010 + 0x1000, &iov), 2);
	/* As host I/O does after a short read. */
	iov[0].iov_base = (char *)iov[0].iov_base + 0x1010;
	iov[0].iov_len = 0;
	ck_assert(!is_dirty(HIGH));
	vq_complete(&b.vq, &b.req, 0);
	ck_assert(is_dirty(HIGH) && is_dirty(HIGH + 0x1000) && !is_dirty(HIGH + 0x2000));
	ck_assert(is_dirty(DATA + 0x2000) && !is_dirty(DATA + 0x3000));
	ck_assert(!is_dirty(DATA) && is_dirty(USED));
	memset(b.dirty, 0, sizeof(b.dirty));
	vq_flush(&b.vq);
	ck_assert(is_dirty(USED) && !is_dirty(DATA));
	memset(b.dirty, 0, sizeof(b.dirty));
	ck_assert(!vq_enable_kicks(&b.vq));
	ck_assert(is_dirty(USED));
}
END_TEST

START_TEST(test_indirect)
{
	char buf[8] = { 0 };

	start(false);
	/* The table follows a direct descriptor and lies at an odd address. */
	struct vring_desc table[] = { { DATA + 4, 2, N, 2 },
				      { 0, 0, 0, 0 },
				      { DATA + 0x100, 2, W, 0 } };

	memcpy(at(TABLE + 3), table, sizeof(table));
	memcpy(at(DATA), "abcdef", 6);
	put(0, DATA, 4, N, 1);
	put(1, TABLE + 3, sizeof(table), I | W, 0);
	offer(0);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert_uint_eq(b.req.nreadable, 2);
	ck_assert_uint_eq(b.req.nwritable, 1);
	ck_assert_uint_eq(req_read(&b.req, buf, 8), 6);
	ck_assert_str_eq(buf, "abcdef");
	vq_complete(&b.vq, &b.req, 0);
	ck_assert_uint_eq(b.used->ring[0].id, 0);
}
END_TEST

START_TEST(test_empty_buffers)
{
	start(false);
	put(0, UINT64_MAX, 0, N, 1);
	put(1, DATA, 1, N | W, 2);
	put(2, UINT64_MAX, 0, W, 0);
	offer(0);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert_uint_eq(b.req.nreadable, 0);
	ck_assert_uint_eq(b.req.nwritable, 1);
	vq_complete(&b.vq, &b.req, 0);
	put(0, 0, 0, 0, 0);
	offer(0);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert_uint_eq(b.req.readable_bytes + b.req.writable_bytes, 0);
	ck_assert_uint_eq(req_write(&b.req, "x", 1), 0);
	vq_complete(&b.vq, &b.req, 0);
}
END_TEST

static void one_request(void)
{
	offer(0);
	ck_assert(vq_pop(&b.vq, &b.req));
	vq_complete(&b.vq, &b.req, 0);
	vq_flush(&b.vq);
}

START_TEST(test_flags_suppress)
{
	start(false);
	ck_assert_uint_eq(b.used->flags, 0);
	vq_disable_kicks(&b.vq);
	ck_assert_uint_eq(b.used->flags, VRING_USED_F_NO_NOTIFY);
	offer(0);
	ck_assert(vq_enable_kicks(&b.vq));
	ck_assert_uint_eq(b.used->flags, 0);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert(!vq_enable_kicks(&b.vq));
	vq_complete(&b.vq, &b.req, 0);
	b.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	vq_flush(&b.vq);
	ck_assert_uint_eq(b.signals, 0);
	b.avail->flags = 0;
	one_request();
	ck_assert_uint_eq(b.signals, 1);
}
END_TEST

START_TEST(test_event_idx)
{
	uint16_t *avail_event = (uint16_t *)&b.used->ring[SIZE];
	uint16_t *used_event = &b.avail->ring[SIZE];

	/* Across the wrap of the indices. */
	b.s.next_avail = b.s.next_used = b.avail->idx = b.used->idx = 0xfffe;
	start(true);
	ck_assert_uint_eq(*avail_event, 0xfffe);
	*used_event = 0x1234;
	b.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	/* Nothing is known of earlier interrupts: the first is sent. */
	one_request();
	ck_assert_uint_eq(b.signals, 1);
	vq_disable_kicks(&b.vq);
	ck_assert_uint_eq(b.used->flags, 0);
	*used_event = 0;
	one_request();
	ck_assert_uint_eq(b.signals, 1);
	one_request();
	ck_assert_uint_eq(b.signals, 2);
	one_request();
	ck_assert_uint_eq(b.signals, 2);
	ck_assert_uint_eq(*avail_event, 0xfffe);
	ck_assert(!vq_enable_kicks(&b.vq));
	ck_assert_uint_eq(*avail_event, 2);
}
END_TEST

START_TEST(test_unpop)
{
	start(true);
	put(0, DATA, 4, W, 0);
	put(1, DATA, 8, W, 0);
	put(2, DATA, 16, W, 0);
	for (uint16_t i = 0; i < 3; i++)
		offer(i);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(vq_pop(&b.vq, &b.req));
	vq_unpop(&b.vq, 2);
	ck_assert_uint_eq(b.vq.in_flight, 1);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert_uint_eq(b.req.head, 1);
	ck_assert_uint_eq(b.req.writable_bytes, 8);
	b.vq.stopped = true;
	vq_unpop(&b.vq, 2);
	vq_flush(&b.vq);
	ck_assert_uint_eq(b.drained, 1);
	ck_assert_uint_eq(b.s.next_avail, 0);
}
END_TEST

START_TEST(test_stop)
{
	start(true);
	put(0, DATA, 4, W, 0);
	offer(0);
	offer(0);
	ck_assert(vq_pop(&b.vq, &b.req));
	b.vq.stopped = true;
	vq_flush(&b.vq);
	ck_assert_uint_eq(b.drained, 0);
	ck_assert(!vq_pop(&b.vq, &b.req));
	ck_assert(!vq_enable_kicks(&b.vq));
	vq_complete(&b.vq, &b.req, 0);
	vq_flush(&b.vq);
	ck_assert_uint_eq(b.drained, 1);
	ck_assert_uint_eq(b.used->idx, 1);
	start(true);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert_uint_eq(b.s.next_avail, 2);
}
END_TEST

START_TEST(test_take)
{
	struct iovec *iov;
	char c;

	start(false);
	put(0, DATA, 10, N, 1);
	put(1, DATA + 10, 10, N, 2);
	put(2, DATA + 0x100, 10, N | W, 3);
	put(3, DATA + 0x10a, 11, W, 0);
	offer(0);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert_int_eq(req_take_readable(&b.req, 0, &iov), 0);
	ck_assert_int_eq(req_take_readable(&b.req, 21, &iov), -EINVAL);
	/* Ends inside the second buffer: it is split. */
	ck_assert_int_eq(req_take_readable(&b.req, 13, &iov), 2);
	ck_assert_uint_eq(iov[1].iov_len, 3);
	ck_assert_ptr_eq(iov[1].iov_base, at(DATA + 10));
	*(char *)at(DATA + 13) = 'x';
	ck_assert_uint_eq(req_read(&b.req, &c, 1), 1);
	ck_assert_int_eq(c, 'x');
	ck_assert_int_eq(req_take_readable(&b.req, 6, &iov), 1);
	ck_assert_int_eq(req_take_writable(&b.req, 20, &iov), 2);
	ck_assert_ptr_eq(iov[0].iov_base, at(DATA + 0x100));
	ck_assert_uint_eq(iov[1].iov_len, 10);
	ck_assert_uint_eq(req_write(&b.req, "s", 1), 1);
	ck_assert_int_eq(*(char *)at(DATA + 0x114), 's');
	ck_assert_uint_eq(b.req.readable_bytes + b.req.writable_bytes, 0);
	vq_complete(&b.vq, &b.req, 21);
}
END_TEST

START_TEST(test_take_without_room)
{
	struct iovec *iov;

	start(false);
	b.req.segment_max = 1;
	put(0, DATA, 10, 0, 0);
	offer(0);
	ck_assert(vq_pop(&b.vq, &b.req));
	ck_assert_int_eq(req_take_readable(&b.req, 5, &iov), -EINVAL);
	ck_assert_int_eq(req_take_readable(&b.req, 10, &iov), 1);
}
END_TEST

/* However the guest cuts its buffers, the bytes are the same. */
static void random_chain(unsigned total, unsigned *first_writable)
{
	unsigned n = 1 + (unsigned)rand() % SIZE, left = total;

	*first_writable = (unsigned)rand() % n;
	for (unsigned i = 0; i < n; i++) {
		unsigned len = i == n - 1 ? left : (unsigned)rand() % (left + 1);

		put(i, DATA + total - left, len,
		    (uint16_t)((i < n - 1 ? N : 0) | (i >= *first_writable ? W : 0)),
		    (uint16_t)(i + 1));
		left -= len;
	}
}

static unsigned copy_all(bool writable, uint8_t *flat)
{
	unsigned done = 0, left;

	while ((left = writable ? b.req.writable_bytes : b.req.readable_bytes)) {
		unsigned n = 1 + (unsigned)rand() % left;
		struct iovec *iov;
		int niov;

		if (rand() % 2) {
			ck_assert_uint_eq(writable ? req_write(&b.req, flat + done, n)
						   : req_read(&b.req, flat + done, n),
					  n);
			done += n;
			continue;
		}
		niov = writable ? req_take_writable(&b.req, n, &iov)
				: req_take_readable(&b.req, n, &iov);
		ck_assert_int_gt(niov, 0);
		for (int i = 0; i < niov; i++) {
			memcpy(writable ? iov[i].iov_base : flat + done,
			       writable ? flat + done : iov[i].iov_base, iov[i].iov_len);
			done += (unsigned)iov[i].iov_len;
		}
	}
	return done;
}

START_TEST(test_cuts)
{
	uint8_t in[200], out[200], want[200];

	start(false);
	b.req.segment_max = ARRAY_SIZE(b.segment);
	for (unsigned round = 0; round < 3000; round++) {
		unsigned total = (unsigned)rand() % 50, readable, first;

		random_chain(total, &first);
		for (unsigned i = 0; i < total; i++) {
			((uint8_t *)at(DATA))[i] = want[i] = (uint8_t)rand();
			out[i] = (uint8_t)rand();
		}
		offer(0);
		ck_assert(vq_pop(&b.vq, &b.req));
		readable = copy_all(false, in);
		ck_assert(!memcmp(in, want, readable));
		ck_assert_uint_eq(copy_all(true, out), total - readable);
		ck_assert(!memcmp(at(DATA), want, readable));
		ck_assert(!memcmp((uint8_t *)at(DATA) + readable, out, total - readable));
		vq_complete(&b.vq, &b.req, total - readable);
		vq_flush(&b.vq);
	}
}
END_TEST

/* A driver and a device that both sleep whenever they may: no wake-up is lost. */
enum { ROUNDS = 20000, WAIT_MS = 5000 };

struct race {
	int kick, interrupt;
	bool event_idx;
};

static bool wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t count;

	return poll(&p, 1, WAIT_MS) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

static void ring(int fd)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

static void race_interrupt(struct virtqueue *vq)
{
	ring(((struct race *)vq->owner)->interrupt);
}

static void *race_device(void *arg)
{
	struct race *race = arg;
	unsigned done = 0;

	while (done < ROUNDS) {
		if (!wait_for(race->kick))
			return "the device waits for ever";
		vq_disable_kicks(&b.vq);
		do {
			for (; vq_pop(&b.vq, &b.req); done++)
				vq_complete(&b.vq, &b.req, 0);
			vq_flush(&b.vq);
		} while (vq_enable_kicks(&b.vq));
	}
	return NULL;
}

static bool device_wants_kick(struct race *race, uint16_t now, uint16_t before)
{
	uint16_t *avail_event = (uint16_t *)&b.used->ring[SIZE];

	atomic_thread_fence(memory_order_seq_cst);
	if (!race->event_idx)
		return !(__atomic_load_n(&b.used->flags, __ATOMIC_RELAXED) &
			 VRING_USED_F_NO_NOTIFY);
	return vring_need_event(__atomic_load_n(avail_event, __ATOMIC_RELAXED), now, before);
}

static const char *race_driver(struct race *race)
{
	uint16_t offered = 0, seen = 0;

	for (unsigned sent = 0; sent < ROUNDS;) {
		unsigned batch = MIN(1 + (unsigned)rand() % SIZE, ROUNDS - sent);
		uint16_t before = offered;

		for (unsigned i = 0; i < batch; i++)
			b.avail->ring[offered++ % SIZE] = 0;
		/* Interrupt at the last of the batch. */
		__atomic_store_n(&b.avail->ring[SIZE], (uint16_t)(offered - 1), __ATOMIC_RELAXED);
		__atomic_store_n(&b.avail->idx, offered, __ATOMIC_RELEASE);
		if (device_wants_kick(race, offered, before))
			ring(race->kick);
		atomic_thread_fence(memory_order_seq_cst);
		while ((seen = __atomic_load_n(&b.used->idx, __ATOMIC_ACQUIRE)) != offered)
			if (!wait_for(race->interrupt))
				return "the driver waits for ever";
		sent += batch;
	}
	return NULL;
}

START_TEST(test_no_lost_wakeup)
{
	struct race race = { .kick = eventfd(0, 0), .interrupt = eventfd(0, 0), .event_idx = _i };
	const char *driver;
	void *device;
	pthread_t t;

	/* Marking pages would be a barrier, too. */
	b.mem.region[0].dirty = NULL;
	b.vq.owner = &race;
	b.vq.signal = race_interrupt;
	put(0, DATA, 1, 0, 0);
	start(race.event_idx);
	ck_assert_int_eq(pthread_create(&t, NULL, race_device, &race), 0);
	driver = race_driver(&race);
	pthread_join(t, &device);
	close(race.kick);
	close(race.interrupt);
	ck_assert_msg(!driver && !device, "%s", driver ? driver : (char *)device);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("virtqueue");
	TCase *t = tcase_create("virtqueue");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_request);
	tcase_add_test(t, test_completions_mark_pages);
	tcase_add_test(t, test_indirect);
	tcase_add_test(t, test_empty_buffers);
	tcase_add_test(t, test_flags_suppress);
	tcase_add_test(t, test_event_idx);
	tcase_add_test(t, test_unpop);
	tcase_add_test(t, test_stop);
	tcase_add_test(t, test_take);
	tcase_add_test(t, test_take_without_room);
	tcase_add_test(t, test_cuts);
	tcase_add_loop_test(t, test_no_lost_wakeup, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
