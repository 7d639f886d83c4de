/* SPDX-License-Identifier: Apache-2.0 */
/* The lock of a disk changes hands, and what is read of it before and after. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/mman.h>

#include "check_main.h"
#include "disk_queue.h"
#include "forbid.h"
#include "image_file.h"
#include "in_child.h"

static const struct disk_config here = { .path = image };
static const struct disk_config later = { .path = image, .later = true };

static struct disk *open_disk(const struct disk_config *c)
{
	struct disk *d = NULL;
	struct err e;

	ck_assert_msg(!disk_open(&d, c, &e), "%s", e.text);
	return d;
}

static void refuses_to_take(struct disk *d, int code, const char *sentence)
{
	struct err e = { "" };

	ck_assert_int_eq(disk_take(d, &e), code);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	ck_assert(!d->locked);
}

static void takes(struct disk *d)
{
	struct err e = { "" };

	ck_assert_msg(!disk_take(d, &e), "%s", e.text);
	ck_assert(d->locked);
}

START_TEST(test_changes_hands)
{
	struct disk *source = open_disk(&here), *destination = open_disk(&later);
	struct err e;

	refuses_to_take(destination, -EAGAIN, "is locked by another");
	ck_assert_int_eq(disk_prove_lock(destination, &e), 1);
	disk_let_go(source);
	ck_assert_int_eq(disk_prove_lock(destination, &e), 0);
	/* Which left it free. */
	takes(source);
	takes(source);
	disk_let_go(source);
	takes(destination);
	refuses_to_take(source, -EAGAIN, "is locked by another");
	ck_assert_int_eq(disk_prove_lock(source, &e), 1);
	ck_assert_int_eq(disk_sync(destination, &e), 0);
	disk_close(source);
	takes(destination);
	disk_close(destination);
}
END_TEST

/* The lock is the process's that opened the disk: a child neither has it nor ends it. */
static void take_in_child(void)
{
	struct disk *d = open_disk(&later);

	refuses_to_take(d, -EAGAIN, "is locked by another");
	disk_close(d);
}

START_TEST(test_other_process)
{
	struct disk *d = open_disk(&here);

	in_child(take_in_child);
	ck_assert(d->locked);
	in_child(take_in_child);
	disk_close(d);
}
END_TEST

/* A killed holder lets go. */
START_TEST(test_holder_dies)
{
	struct disk *d = open_disk(&later);
	int ready[2];
	char byte = 0;
	pid_t pid;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		open_disk(&here);
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		pause();
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	ck_assert_int_eq(disk_prove_lock(d, &(struct err){}), 1);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	takes(d);
	disk_close(d);
	close(ready[0]);
	close(ready[1]);
}
END_TEST

START_TEST(test_size_and_format_when_taken)
{
	struct disk *d;

	write_image("QFI\xfb", 4, 0);
	d = open_disk(&later); /* nothing is read yet */
	refuses_to_take(d, -EINVAL, "is a qcow2 image");
	write_image("raw!", 4, 0);
	ck_assert_int_eq(truncate(image, 2 * IMAGE_BYTES), 0);
	refuses_to_take(d, -EINVAL, "has 8388608 bytes, but had 4194304");
	ck_assert_int_eq(truncate(image, IMAGE_BYTES), 0);
	takes(d);
	disk_close(d);
}
END_TEST

/* Pages of the image that the host has in its cache. */
static size_t cached_pages(void)
{
	static unsigned char in[IMAGE_BYTES / 4096];
	CLEANUP(fd) int fd = open(image, O_RDONLY | O_CLOEXEC);
	void *p = mmap(NULL, IMAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	size_t n = 0;

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(mincore(p, IMAGE_BYTES, in), 0);
	munmap(p, IMAGE_BYTES);
	for (size_t i = 0; i < ARRAY_SIZE(in); i++)
		n += in[i] & 1;
	return n;
}

static void fill_cache(void)
{
	static uint8_t bytes[IMAGE_BYTES];
	CLEANUP(fd) int fd = open(image, O_RDWR | O_CLOEXEC);

	fill(bytes, sizeof(bytes), 1);
	write_image(bytes, sizeof(bytes), 0);
	ck_assert_int_eq(fsync(fd), 0);
	read_image(bytes, sizeof(bytes), 0);
}

START_TEST(test_cache_is_dropped)
{
	struct disk_config c = { .path = image, .later = true, .raw = true };
	struct disk *d;

	fill_cache();
	d = open_disk(&c);
	ck_assert_uint_eq(cached_pages(), IMAGE_BYTES / 4096);
	takes(d);
	ck_assert_uint_eq(cached_pages(), 0);
	disk_close(d);
}
END_TEST

/* Calls of this process that read, of which this is one. */
static unsigned long reads_so_far(void)
{
	CLEANUP(fd) int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
	char text[256] = "";
	const char *count;

	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
	count = strstr(text, "syscr: ");
	ck_assert_ptr_nonnull(count);
	return strtoul(count + strlen("syscr: "), NULL, 10);
}

/* _i: direct.  Not even to find out about direct I/O. */
START_TEST(test_nothing_is_read_before)
{
	struct disk_config c = { .path = image, .later = true, .direct = _i };
	struct err e = { "" };
	unsigned long before;
	struct disk *d;

	json_object_seed(0); /* reads, once in a process */
	before = reads_so_far();
	d = open_disk(&c);
	ck_assert_int_eq(disk_prove_lock(d, &e), 0);
	ck_assert_uint_eq(reads_so_far(), before + 1);
	takes(d);
	ck_assert_uint_ge(reads_so_far(), before + 3 + (unsigned)_i); /* the head; the probe */
	ck_assert_int_eq(fcntl(d->fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(d->direct_fd, F_GETFD), _i ? FD_CLOEXEC : -1);
	disk_close(d);
}
END_TEST

START_TEST(test_block_device)
{
	int fd = -1;
	struct disk_config c = { .path = attach_loop_device(&fd), .later = true };
	struct disk_config holds = { .path = c.path };
	struct err e = { "" };
	struct disk *d, *source;

	if (!c.path)
		return;
	ck_assert_int_eq(disk_open(&d, &c, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "add direct=on"));
	c.direct = true;
	/* The VM that hands it over has it to itself. */
	source = open_disk(&holds);
	d = open_disk(&c);
	refuses_to_take(d, -EAGAIN, "is locked by another");
	disk_let_go(source);
	takes(d);
	disk_close(d);
	disk_close(source);
	close(fd);
}
END_TEST

static void check_sync(void)
{
	struct disk *d = open_disk(&here);
	struct err e = { "" };

	d->cached = true;
	forbid_syscall(SYS_fdatasync, EIO);
	ck_assert_int_eq(disk_sync(d, &e), -EIO);
	ck_assert(d->lost);
	disk_close(d);
}

/* A disk of which nobody knows what is on it is not given away. */
START_TEST(test_lost)
{
	struct err e = { "" };
	struct disk *d;

	in_child(check_sync);
	d = open_disk(&here);
	d->lost = true;
	ck_assert_int_eq(disk_sync(d, &e), -ENOTRECOVERABLE);
	ck_assert_msg(strstr(e.text, "cannot write what"), "%s", e.text);
	disk_close(d);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("disk_take");
	TCase *tc = tcase_create("disk_take");

	tcase_add_checked_fixture(tc, image_setup, image_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_changes_hands);
	tcase_add_test(tc, test_other_process);
	tcase_add_test(tc, test_holder_dies);
	tcase_add_test(tc, test_size_and_format_when_taken);
	tcase_add_test(tc, test_cache_is_dropped);
	tcase_add_loop_test(tc, test_nothing_is_read_before, 0, 2);
	tcase_add_test(tc, test_block_device);
	tcase_add_test(tc, test_lost);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
