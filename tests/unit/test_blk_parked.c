/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that the host cannot do wait until it can. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "blk_guest.h"
#include "check_main.h"
#include "counter_of.h"
#include "forbid.h"
#include "in_child.h"

enum { ROOM = MIB, FULL = ROOM / SECTOR, SLOTS = 16 }; /* no write at or behind FULL succeeds */

/* As virtio-blk has it. */
struct blk_saved {
	struct virtio_state virtio[1];
	uint64_t capacity;
	uint32_t block_bytes;
	uint32_t nparked;
	struct {
		uint32_t n;
		uint16_t head[VIRTQUEUE_SIZE_MAX];
	} parked[VIRTIO_QUEUES_MAX];
};

static struct guest g;
static unsigned errors; /* events */

static void on_event(void *arg, unsigned events)
{
	(void)arg;
	ck_assert_uint_eq(events, VM_IO_ERROR);
	errors++;
}

static bool has_errors(struct guest *guest, unsigned n)
{
	(void)guest;
	return errors == n;
}

static struct blk_saved *saved(void)
{
	return device_state(&g.v->dev);
}

/* The host's file cannot grow, and this one's files cannot be written, beyond that. */
static void limit_files(rlim_t bytes)
{
	struct rlimit r;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = bytes;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* One request is done then: the I/O thread looks at the queue when it is kicked, not before. */
static void begin(const char *options)
{
	errors = 0;
	signal(SIGXFSZ, SIG_IGN);
	power_on(&g, options);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
	g.vm.pause_on_io_error = true;
	g.vm.on_event = on_event;
}

static void stand_still(void)
{
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
}

/* What the machine does when it goes on. */
static void go_on(void)
{
	atomic_store(&g.vm.has_io_error, false);
	guest_start(&g);
}

static uint8_t status_of(unsigned slot)
{
	return *(uint8_t *)at(&g, STATUS + slot);
}

static void write_slot(unsigned slot, uint64_t sector)
{
	memset(at(&g, BUFFER + slot * SECTOR), (int)(slot + 1), SECTOR);
	put_request(&g, slot, VIRTIO_BLK_T_OUT, sector, BUFFER + slot * SECTOR, SECTOR);
}

/* Slot 0 waits for room at FULL. */
static void park_one(const char *options)
{
	begin(options);
	limit_files(ROOM);
	write_slot(0, FULL);
	kick(&g, 0);
	wait_until(&g, has_errors, 1);
	ck_assert_uint_eq(status_of(0), NO_STATUS);
	ck_assert_uint_eq(used_idx(&g, 0), 1);
}

static void is_written(unsigned slot, uint64_t sector)
{
	uint8_t in[SECTOR];

	read_image(in, SECTOR, (off_t)(sector * SECTOR));
	for (unsigned i = 0; i < SECTOR; i++)
		ck_assert_uint_eq(in[i], slot + 1);
}

START_TEST(it_waits)
{
	const struct vm_io_error *io = &g.vm.io_error;

	park_one("");
	ck_assert_str_eq(io->id, "disk0");
	ck_assert_str_eq(io->operation, "write");
	ck_assert_uint_eq(io->offset, ROOM);
	ck_assert_int_eq(io->error, EFBIG);
	stand_still();
	ck_assert_uint_eq(saved()->parked[0].n, 1);
	go_on(); /* nobody has repaired it */
	wait_until(&g, has_errors, 2);
	stand_still();
	ck_assert_uint_eq(saved()->parked[0].n, 1);
	ck_assert_uint_eq(status_of(0), NO_STATUS);
	limit_files(RLIM_INFINITY);
	go_on();
	wait_until(&g, used_is, 2);
	ck_assert_uint_eq(status_of(0), VIRTIO_BLK_S_OK);
	is_written(0, FULL);
	stand_still();
	ck_assert_uint_eq(saved()->parked[0].n, 0);
	go_on();
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "errors"), 0);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(errors, 2);
	power_off(&g);
}
END_TEST

/* _i: those that wait, beginning with the first. */
START_TEST(the_rest_of_its_batch_is_done)
{
	unsigned waiting = (unsigned)_i;

	begin("");
	limit_files(ROOM);
	for (unsigned slot = 0; slot < SLOTS - 1; slot++)
		write_slot(slot, slot < waiting ? FULL + slot : slot);
	put_request(&g, SLOTS - 1, VIRTIO_BLK_T_FLUSH, 0, BUFFER, 0);
	kick(&g, 0);
	wait_until(&g, used_is, 1 + SLOTS - waiting);
	wait_until(&g, has_errors, 1);
	/* Taken by nobody before the first ones are. */
	write_slot(SLOTS, 100);
	kick(&g, 0);
	stand_still();
	ck_assert_uint_eq(saved()->virtio->queue[0].next_avail, 1 + SLOTS);
	ck_assert_uint_eq(saved()->parked[0].n, waiting);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		ck_assert_uint_eq(status_of(slot), slot < waiting ? NO_STATUS : VIRTIO_BLK_S_OK);
	limit_files(RLIM_INFINITY);
	go_on();
	wait_until(&g, used_is, 1 + SLOTS + 1);
	for (unsigned slot = 0; slot <= SLOTS; slot++)
		ck_assert_uint_eq(status_of(slot), VIRTIO_BLK_S_OK);
	for (unsigned slot = 0; slot < SLOTS - 1; slot++)
		is_written(slot, slot < waiting ? FULL + slot : slot);
	ck_assert_uint_eq(errors, 1);
	power_off(&g);
}
END_TEST

/* Its state and the guest's memory are all there is of it. */
START_TEST(it_comes_with_the_state)
{
	static struct blk_saved copy;
	struct err e = { "" };

	park_one("");
	stand_still();
	copy = *saved();
	device_reset(&g.v->dev);
	ck_assert_uint_eq(saved()->parked[0].n, 0);
	*saved() = copy;
	ck_assert_msg(!device_loaded(&g.v->dev, &e), "%s", e.text);
	limit_files(RLIM_INFINITY);
	go_on();
	wait_until(&g, used_is, 2);
	ck_assert_uint_eq(status_of(0), VIRTIO_BLK_S_OK);
	is_written(0, FULL);
	power_off(&g);
}
END_TEST

static void refused(const struct blk_saved *state, const char *why)
{
	struct err e = { "" };

	*saved() = *state;
	ck_assert_int_eq(device_loaded(&g.v->dev, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, why), "%s", e.text);
}

START_TEST(what_cannot_be_is_refused)
{
	static struct blk_saved good, bad;
	struct err e = { "" };

	park_one(", \"num_queues\": 2, \"queue_size\": 64");
	stand_still();
	bad = good = *saved();
	bad.parked[0].head[0] = 64;
	refused(&bad, "the impossible parked request 64");
	bad = good;
	bad.parked[0].n = 2;
	bad.parked[0].head[1] = bad.parked[0].head[0] = 7;
	refused(&bad, "the impossible parked request 7");
	bad = good;
	bad.parked[1].n = 1;
	bad.virtio->queue[1].enabled = false;
	refused(&bad, "queue 1 was saved with parked requests, but unused");
	bad = good;
	bad.virtio->status = ACK | DRIVER | FEATURES_OK;
	refused(&bad, "queue 0 was saved with parked requests, but unused");
	bad = good;
	bad.nparked = 1;
	refused(&bad, "of 1 queues, not 2");
	*saved() = good;
	ck_assert_msg(!device_loaded(&g.v->dev, &e), "%s", e.text);
	power_off(&g);
}
END_TEST

START_TEST(a_reset_drops_it)
{
	park_one("");
	blk_drive(&g, offered(&g));
	ck_assert_uint_eq(saved()->parked[0].n, 0);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used_idx(&g, 0), 1);
	power_off(&g);
}
END_TEST

static bool needs_reset(struct guest *guest, unsigned arg)
{
	(void)arg;
	return guest->v->s->status & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* What the guest has made of it meanwhile is looked at as if it were new. */
START_TEST(it_has_become_nonsense)
{
	park_one("");
	stand_still();
	desc_of(&g, 0)[1].next = 0;
	go_on();
	wait_until(&g, needs_reset, 0);
	stand_still();
	ck_assert_uint_eq(saved()->parked[0].n, 0);
	guest_start(&g);
	blk_drive(&g, offered(&g));
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
	power_off(&g);
}
END_TEST

START_TEST(one_head_twice_is_answered_once)
{
	begin("");
	limit_files(ROOM);
	write_slot(0, FULL);
	publish(&g, 0, 0);
	kick(&g, 0);
	wait_until(&g, has_errors, 1);
	stand_still();
	ck_assert_uint_eq(saved()->virtio->queue[0].next_avail, 3);
	ck_assert_uint_eq(saved()->parked[0].n, 1);
	limit_files(RLIM_INFINITY);
	go_on();
	wait_until(&g, used_is, 2);
	power_off(&g);
}
END_TEST

/* Reads, too: the file was cut short, and whoever did that makes up for it. */
START_TEST(reads_wait)
{
	begin("");
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, SECTORS - 1, SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(truncate(image, ROOM), 0);
	put_request(&g, 0, VIRTIO_BLK_T_IN, FULL, BUFFER, SECTOR);
	kick(&g, 0);
	wait_until(&g, has_errors, 1);
	ck_assert_int_eq(g.vm.io_error.error, ENODATA);
	ck_assert_str_eq(g.vm.io_error.operation, "read");
	stand_still();
	make_image(IMAGE_BYTES);
	write_image("back", 4, ROOM);
	go_on();
	wait_until(&g, used_is, 3);
	ck_assert_uint_eq(status_of(0), VIRTIO_BLK_S_OK);
	ck_assert_str_eq(at(&g, BUFFER), "back");
	power_off(&g);
}
END_TEST

START_TEST(the_guest_is_told)
{
	begin("");
	g.vm.pause_on_io_error = false;
	limit_files(ROOM);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, FULL, SECTOR), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(truncate(image, ROOM), 0);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, FULL, SECTOR), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, FULL - 1, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, FULL - 1, SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(errors, 0);
	power_off(&g);
}
END_TEST

/* On the thread pool, whose calls are seen to fail. */
static void check_flush(void)
{
	forbid_syscall(SYS_io_uring_setup, EPERM);
	forbid_syscall(SYS_fdatasync, EIO);
	begin("");
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_OK);
	put_request(&g, 0, VIRTIO_BLK_T_FLUSH, 0, BUFFER, 0);
	kick(&g, 0);
	wait_until(&g, has_errors, 1);
	ck_assert_int_eq(g.vm.io_error.error, EIO);
	ck_assert_uint_eq(status_of(0), NO_STATUS);
	stand_still();
	go_on();
	/* No retry makes up for what it lost. */
	wait_until(&g, used_is, 3);
	ck_assert_uint_eq(status_of(0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(errors, 1);
	power_off(&g);
}

START_TEST(a_flush_waits_once)
{
	in_child(check_flush);
}
END_TEST

/* A write that the driver wants on stable storage is written anew, and flushed. */
static void check_write_through(void)
{
	forbid_syscall(SYS_io_uring_setup, EPERM);
	forbid_syscall(SYS_fdatasync, EIO);
	begin("");
	blk_drive(&g, offered(&g) & ~BIT(VIRTIO_BLK_F_FLUSH));
	write_slot(0, 5);
	kick(&g, 0);
	wait_until(&g, has_errors, 1);
	ck_assert_str_eq(g.vm.io_error.operation, "flush");
	ck_assert_uint_eq(status_of(0), NO_STATUS);
	stand_still();
	ck_assert_uint_eq(saved()->parked[0].n, 1);
	make_image(IMAGE_BYTES);
	go_on();
	wait_until(&g, used_is, 1);
	ck_assert_uint_eq(status_of(0), VIRTIO_BLK_S_IOERR);
	is_written(0, 5);
	power_off(&g);
}

START_TEST(a_write_through_waits)
{
	in_child(check_write_through);
}
END_TEST

static void check_discard(void)
{
	forbid_syscall(SYS_io_uring_setup, EPERM);
	forbid_syscall(SYS_fallocate, EIO);
	begin("");
	*(struct virtio_blk_discard_write_zeroes *)at(&g, RANGE) =
		(struct virtio_blk_discard_write_zeroes){ .num_sectors = 8 };
	put_request(&g, 0, VIRTIO_BLK_T_DISCARD, 0, RANGE, 16);
	ck_assert_uint_eq(finish(&g), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(errors, 0);
	put_request(&g, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, RANGE, 16);
	kick(&g, 0);
	wait_until(&g, has_errors, 1);
	ck_assert_str_eq(g.vm.io_error.operation, "write zeroes to");
	power_off(&g);
}

START_TEST(a_hint_does_not_wait)
{
	in_child(check_discard);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("blk_parked");
	TCase *tc = tcase_create("blk_parked");

	tcase_add_checked_fixture(tc, image_setup, blk_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, it_waits);
	tcase_add_loop_test(tc, the_rest_of_its_batch_is_done, 1, SLOTS);
	tcase_add_test(tc, it_comes_with_the_state);
	tcase_add_test(tc, what_cannot_be_is_refused);
	tcase_add_test(tc, a_reset_drops_it);
	tcase_add_test(tc, it_has_become_nonsense);
	tcase_add_test(tc, one_head_twice_is_answered_once);
	tcase_add_test(tc, reads_wait);
	tcase_add_test(tc, the_guest_is_told);
	tcase_add_test(tc, a_flush_waits_once);
	tcase_add_test(tc, a_write_through_waits);
	tcase_add_test(tc, a_hint_does_not_wait);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
