/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and locking images. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>

#include "check_main.h"
#include "disk_queue.h"
#include "forbid.h"
#include "image_file.h"
#include "in_child.h"
#include "log.h"
#include "rundir.h"

static int try_open(const struct disk_config *c, struct err *e)
{
	struct disk *d = NULL;
	int r = disk_open(&d, c, e);

	ck_assert_int_eq(!r, !!d);
	disk_close(d);
	return r;
}

static void expect_refusal(const struct disk_config *c, int code, const char *sentence)
{
	struct err e = { "" };

	ck_assert_int_eq(try_open(c, &e), code);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
}

START_TEST(test_open_refuses)
{
	struct disk_config c = { .path = image };

	write_image("QFI\xfb", 4, 0);
	expect_refusal(&c, -EINVAL, "is a qcow2 image");
	expect_refusal(&c, -EINVAL, "qemu-img convert -O raw");
	c.raw = true;
	ck_assert_int_eq(try_open(&c, &(struct err){}), 0);
	make_image(0);
	expect_refusal(&c, -EINVAL, "is empty");
	make_image(511);
	expect_refusal(&c, -EINVAL, "smaller than one sector");
	c.path = image_dir;
	expect_refusal(&c, -EISDIR, "is a directory");
	c.path = "/dev/null";
	expect_refusal(&c, -EINVAL, "is a character device");
	c.path = "/nonexistent/disk.img";
	expect_refusal(&c, -ENOENT, "does not exist; make it with");
}
END_TEST

/* Each reset of the device by the guest begins a queue anew. */
static void check_threads_are_told_of_once(void)
{
	const struct disk_config c = { .path = image };
	char said[1024] = "";
	struct disk_queue *q;
	struct disk_ring *ring;
	struct loop *loop;
	struct disk *d;
	struct err e;
	int fd = memfd_create("log", MFD_CLOEXEC);

	ck_assert(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	log_set_level(LOG_INFO);
	forbid_syscall(SYS_io_uring_setup, EPERM);
	make_image(4096);
	ck_assert_int_eq(loop_new(&loop, &e), 0);
	ring = disk_ring_new(loop);
	ck_assert_ptr_nonnull(ring);
	ck_assert_int_eq(disk_open(&d, &c, &e), 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(disk_prepare(d, ring, 1, &e), 0);
		ck_assert_int_eq(disk_queue_new(&q, d, ring, NULL, NULL, &e), 0);
		disk_queue_free(q);
	}
	ck_assert_int_gt(pread(fd, said, sizeof(said) - 1, 0), 0);
	ck_assert_ptr_nonnull(strstr(said, "disk I/O uses threads"));
	ck_assert_ptr_eq(strchr(said, '\n'), strrchr(said, '\n'));
	disk_close(d);
	disk_ring_free(ring);
	loop_free(loop);
}

START_TEST(test_threads_are_told_of_once)
{
	in_child(check_threads_are_told_of_once);
}
END_TEST

START_TEST(test_size_is_whole_sectors)
{
	struct disk_config c = { .path = image };
	struct err e;
	struct disk *d;

	make_image(1000000);
	ck_assert_int_eq(disk_open(&d, &c, &e), 0);
	ck_assert_uint_eq(disk_size_bytes(d), 1000000 / 512 * 512);
	ck_assert_uint_eq(disk_block_bytes(d), 512);
	ck_assert_int_eq(fcntl(d->fd, F_GETFD), FD_CLOEXEC);
	disk_close(d);
	disk_close(NULL);
}
END_TEST

static void refuses_size(struct disk *d, uint64_t bytes, int code, const char *sentence)
{
	uint64_t before = disk_size_bytes(d);
	struct err e = { "" };

	ck_assert_int_eq(disk_resize(d, bytes, &e), code);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	ck_assert_uint_eq(disk_size_bytes(d), before);
}

/* _i: sparse. */
START_TEST(test_resize_file)
{
	struct disk_config c = { .path = image, .sparse = _i };
	static const uint64_t sizes[] = { 2 * IMAGE_BYTES, 2 * IMAGE_BYTES, IMAGE_BYTES / 2, 512 };
	struct disk *d;
	struct stat st;
	struct err e;

	ck_assert_int_eq(disk_open(&d, &c, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_assert_int_eq(disk_resize(d, sizes[i], &e), 0);
		ck_assert_uint_eq(disk_size_bytes(d), sizes[i]);
		ck_assert_int_eq(stat(image, &st), 0);
		ck_assert_int_eq(st.st_size, (off_t)sizes[i]);
		/* What was added, or nothing. */
		if (!i)
			ck_assert_int_eq(image_blocks(), _i ? 0 : IMAGE_BYTES / 512);
	}
	refuses_size(d, UINT64_C(1) << 62, -EFBIG, "cannot give ");
	ck_assert_int_eq(stat(image, &st), 0);
	ck_assert_int_eq(st.st_size, 512);
	disk_close(d);
	c.readonly = true;
	ck_assert_int_eq(disk_open(&d, &c, &e), 0);
	refuses_size(d, IMAGE_BYTES, -EROFS, "is read-only here");
	disk_close(d);
}
END_TEST

/* It is made larger by others; here its new size is only taken note of. */
START_TEST(test_resize_block_device)
{
	int fd = -1;
	struct disk_config c = { .path = attach_loop_device(&fd) };
	struct disk *d;
	struct err e;

	if (!c.path)
		return;
	ck_assert_int_eq(disk_open(&d, &c, &e), 0);
	refuses_size(d, 2 * IMAGE_BYTES, -ENOTSUP, "is a block device and has 4194304 bytes");
	ck_assert_int_eq(truncate(image, 2 * IMAGE_BYTES), 0);
	ck_assert_int_eq(ioctl(fd, LOOP_SET_CAPACITY), 0);
	refuses_size(d, IMAGE_BYTES, -ENOTSUP, "has 8388608 bytes");
	ck_assert_int_eq(disk_resize(d, 2 * IMAGE_BYTES, &e), 0);
	ck_assert_uint_eq(disk_size_bytes(d), 2 * IMAGE_BYTES);
	disk_close(d);
	close(fd);
}
END_TEST

static void check_permissions(void)
{
	struct disk_config c = { .path = image };

	become_nobody();
	expect_refusal(&c, -EACCES, "may be read but not written");
	expect_refusal(&c, -EACCES, "add readonly=on");
	c.readonly = true;
	ck_assert_int_eq(try_open(&c, &(struct err){}), 0);
}

static void check_unreadable(void)
{
	struct disk_config c = { .path = image, .readonly = true };

	become_nobody();
	expect_refusal(&c, -EACCES, "cannot open");
}

START_TEST(test_permissions)
{
	ck_assert_int_eq(chmod(image, 0444), 0);
	in_child(check_permissions);
	ck_assert_int_eq(chmod(image, 0), 0);
	in_child(check_unreadable);
}
END_TEST

START_TEST(test_lock)
{
	struct disk_config writer = { .path = image };
	struct disk_config reader = { .path = image, .readonly = true };
	struct disk *first, *second;
	struct err e;

	ck_assert_int_eq(disk_open(&first, &writer, &e), 0);
	expect_refusal(&writer, -EAGAIN, "is given twice to this VM");
	expect_refusal(&reader, -EAGAIN, "is given twice to this VM");
	disk_close(first);
	ck_assert_int_eq(disk_open(&first, &reader, &e), 0);
	ck_assert_int_eq(disk_open(&second, &reader, &e), 0);
	expect_refusal(&writer, -EAGAIN, "is given twice to this VM");
	disk_close(second);
	disk_close(first);
	ck_assert_int_eq(try_open(&writer, &e), 0);
}
END_TEST

/* As when a ring of the kernel still has the file. */
START_TEST(test_close_unlocks)
{
	struct disk_config c = { .path = image };
	struct disk *d;
	struct err e;
	int fd;

	ck_assert_int_eq(disk_open(&d, &c, &e), 0);
	fd = dup(d->fd);
	disk_close(d);
	ck_assert_int_eq(try_open(&c, &e), 0);
	close(fd);
}
END_TEST

/* A holder that lives until its pipe is closed. */
static pid_t start_holder(int *hold)
{
	int ready[2], end[2];
	struct disk_config c = { .path = image };
	struct disk *d;
	char byte = 0;
	pid_t pid;

	ck_assert_int_eq(pipe(ready) | pipe(end), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		close(end[1]);
		if (disk_open(&d, &c, &(struct err){}) || write(ready[1], &byte, 1) != 1)
			_exit(1);
		_exit(read(end[0], &byte, 1) != 0);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(end[0]);
	close(ready[0]);
	close(ready[1]);
	*hold = end[1];
	return pid;
}

static const char *const vm_names[] = { "cache", "db", "web", "zoo" };
enum { WEB = 2 };

/* VMs as the command writes them down.  Only web runs, as process pid; the others were left behind
 * by processes that had the same number.  Returns what is open while web runs. */
static int write_run_directory(const char *path, pid_t pid)
{
	int web = -1;
	char name[300];
	FILE *f;

	ck_assert_int_eq(mkdir(path, 0700), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(vm_names); i++) {
		snprintf(name, sizeof(name), "%s/%s", path, vm_names[i]);
		ck_assert_int_eq(mkdir(name, 0700), 0);
		snprintf(name, sizeof(name), "%s/%s/pid", path, vm_names[i]);
		f = fopen(name, "w");
		ck_assert_ptr_nonnull(f);
		fprintf(f, "%d\n", (int)pid);
		fclose(f);
	}
	snprintf(name, sizeof(name), "%s/%s", path, vm_names[WEB]);
	web = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert(web >= 0 && !flock(web, LOCK_EX | LOCK_NB));
	return web;
}

static void remove_run_directory(const char *path)
{
	char name[300];

	for (unsigned i = 0; i < ARRAY_SIZE(vm_names); i++) {
		snprintf(name, sizeof(name), "%s/%s/pid", path, vm_names[i]);
		unlink(name);
		snprintf(name, sizeof(name), "%s/%s", path, vm_names[i]);
		rmdir(name);
	}
	rmdir(path);
}

static void check_holder_is_named(void)
{
	struct disk_config c = { .path = image };
	char path[256], expected[128];
	pid_t pid;
	int hold, web;

	become_nobody();
	pid = start_holder(&hold);
	snprintf(expected, sizeof(expected), "(process %d); stop that first", (int)pid);
	expect_refusal(&c, -EAGAIN, expected);

	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", image_dir, 1), 0);
	ck_assert_int_eq(rundir_path(geteuid(), path, sizeof(path)), 0);
	web = write_run_directory(path, pid);
	snprintf(expected, sizeof(expected), "disk.img is in use by VM 'web' (process %d);",
		 (int)pid);
	expect_refusal(&c, -EAGAIN, expected);
	remove_run_directory(path);
	close(web);

	close(hold);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(try_open(&c, &(struct err){}), 0);
}

START_TEST(test_holder_is_named)
{
	in_child(check_holder_is_named);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("disk");
	TCase *tc = tcase_create("disk");

	tcase_add_checked_fixture(tc, image_setup, image_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_open_refuses);
	tcase_add_test(tc, test_threads_are_told_of_once);
	tcase_add_test(tc, test_size_is_whole_sectors);
	tcase_add_loop_test(tc, test_resize_file, 0, 2);
	tcase_add_test(tc, test_resize_block_device);
	tcase_add_test(tc, test_permissions);
	tcase_add_test(tc, test_lock);
	tcase_add_test(tc, test_close_unlocks);
	tcase_add_test(tc, test_holder_is_named);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
