/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and locking images, and both queue engines with the same requests. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bits.h"
#include "check_main.h"
#include "cleanup.h"
#include "disk_queue.h"
#include "forbid.h"
#include "loop.h"
#include "rundir.h"

enum { IMAGE_BYTES = 4 * MIB, DEPTH = 8, NOBODY = 65534 };

static char dir[64], image[96];

static void make_image(off_t bytes)
{
	int fd = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fchmod(fd, 0666), 0);
	ck_assert_int_eq(ftruncate(fd, bytes), 0);
	close(fd);
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.32s/test-disk-XXXXXX", tmp ? tmp : "/var/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0777), 0);
	snprintf(image, sizeof(image), "%s/disk.img", dir);
	make_image(IMAGE_BYTES);
}

static void teardown(void)
{
	unlink(image);
	rmdir(dir);
}

static void write_image(const void *bytes, size_t len, off_t offset)
{
	CLEANUP(fd) int fd = open(image, O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, bytes, len, offset), (ssize_t)len);
}

static void read_image(void *bytes, size_t len, off_t offset)
{
	CLEANUP(fd) int fd = open(image, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(pread(fd, bytes, len, offset), (ssize_t)len);
}

static bool all_zeroes(const uint8_t *p, size_t len)
{
	return !*p && !memcmp(p, p + 1, len - 1);
}

static blkcnt_t image_blocks(void)
{
	struct stat st;

	ck_assert_int_eq(stat(image, &st), 0);
	return st.st_blocks;
}

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
	c.path = dir;
	expect_refusal(&c, -EISDIR, "is a directory");
	c.path = "/dev/null";
	expect_refusal(&c, -EINVAL, "is a character device");
	c.path = "/nonexistent/disk.img";
	expect_refusal(&c, -ENOENT, "does not exist; make it with");
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

/* As a user whose permissions count. */
static void become_nobody(void)
{
	if (geteuid())
		return;
	ck_assert_int_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
	ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
	/* Else /proc/PID/fd is root's. */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
}

static void in_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		become_nobody();
		body();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

static void check_permissions(void)
{
	struct disk_config c = { .path = image };

	expect_refusal(&c, -EACCES, "may be read but not written");
	expect_refusal(&c, -EACCES, "add readonly=on");
	c.readonly = true;
	ck_assert_int_eq(try_open(&c, &(struct err){}), 0);
}

static void check_unreadable(void)
{
	struct disk_config c = { .path = image, .readonly = true };

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

static void check_holder_is_named(void)
{
	struct disk_config c = { .path = image };
	char path[256], file[300], expected[128];
	FILE *f;
	pid_t pid;
	int hold;

	pid = start_holder(&hold);
	snprintf(expected, sizeof(expected), "(process %d); stop that first", (int)pid);
	expect_refusal(&c, -EAGAIN, expected);

	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", dir, 1), 0);
	ck_assert_int_eq(rundir_path(geteuid(), path, sizeof(path)), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(file, sizeof(file), "%s/web", path);
	ck_assert_int_eq(mkdir(file, 0700), 0);
	snprintf(file, sizeof(file), "%s/web/pid", path);
	f = fopen(file, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "%d\n", (int)pid);
	fclose(f);
	snprintf(expected, sizeof(expected), "disk.img is in use by VM 'web' (process %d);",
		 (int)pid);
	expect_refusal(&c, -EAGAIN, expected);

	unlink(file);
	snprintf(file, sizeof(file), "%s/web", path);
	rmdir(file);
	rmdir(path);
	close(hold);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(try_open(&c, &(struct err){}), 0);
}

START_TEST(test_holder_is_named)
{
	in_child(check_holder_is_named);
}
END_TEST

/* Queues */

struct fixture {
	struct loop *loop;
	struct disk *disk;
	struct disk_queue *queue;
	struct timer watchdog;
	unsigned outstanding, batches;
};

struct job {
	struct disk_request req;
	struct fixture *f;
	struct iovec iov[4];
	int result;
	struct job *then; /* submitted when this one is done */
};

/* The loop test's number says what is used. */
enum { ON_POOL = 1, DIRECT = 2, VARIANTS = 4 };

static void late(void *arg)
{
	(void)arg;
	ck_abort_msg("requests did not complete");
}

static void batch_done(void *arg)
{
	struct fixture *f = arg;

	f->batches++;
	if (!f->outstanding)
		loop_quit(f->loop);
}

static void open_fixture(struct fixture *f, int variant, const char *path)
{
	struct disk_config c = { .path = path, .direct = variant & DIRECT };
	struct disk_queue common = { .depth = DEPTH, .batch_done = batch_done, .arg = f };
	struct err e;
	int r;

	*f = (struct fixture){ .watchdog = { .expired = late } };
	ck_assert_int_eq(loop_new(&f->loop, &e), 0);
	r = disk_open(&f->disk, &c, &e);
	ck_assert_msg(!r, "%s", e.text);
	common.disk = f->disk;
	common.loop = f->loop;
	if (variant & ON_POOL)
		r = disk_pool_new(&f->queue, &common, &e);
	else
		r = disk_queue_new(&f->queue, f->disk, f->loop, DEPTH, batch_done, f, &e);
	ck_assert_msg(!r, "%s", e.text);
}

static void close_fixture(struct fixture *f)
{
	disk_queue_free(f->queue);
	disk_close(f->disk);
	loop_timer_cancel(f->loop, &f->watchdog);
	loop_free(f->loop);
}

static void job_done(struct disk_request *req, int result)
{
	struct job *job = container_of(req, struct job, req);

	job->result = result;
	job->f->outstanding--;
	if (job->then) {
		job->f->outstanding++;
		disk_submit(job->f->queue, &job->then->req);
	}
}

static void prepare_job(struct fixture *f, struct job *job, enum disk_op op, uint64_t offset,
			uint64_t len)
{
	job->f = f;
	job->result = 1;
	job->req = (struct disk_request){
		.op = op, .iov = job->iov, .offset = offset, .len = len, .done = job_done
	};
}

static void job_buffer(struct job *job, void *buffer, size_t len)
{
	job->iov[job->req.niov++] = (struct iovec){ .iov_base = buffer, .iov_len = len };
}

static void submit(struct job *job)
{
	job->f->outstanding++;
	disk_submit(job->f->queue, &job->req);
}

static void run(struct fixture *f)
{
	loop_timer_set(f->loop, &f->watchdog, loop_now_ns() + UINT64_C(20000000000));
	disk_commit(f->queue);
	loop_run(f->loop);
}

static int run_one(struct fixture *f, enum disk_op op, uint64_t offset, void *buffer, size_t len)
{
	struct job job = {};

	prepare_job(f, &job, op, offset, len);
	if (buffer)
		job_buffer(&job, buffer, len);
	submit(&job);
	run(f);
	return job.result;
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((i + seed) * 7 + i / 251);
}

START_TEST(test_write_and_read_back)
{
	_Alignas(4096) static uint8_t out[3 * 4096], in[3 * 4096];
	struct job job = {};
	struct fixture f;

	open_fixture(&f, _i, image);
	fill(out, sizeof(out), 1);
	prepare_job(&f, &job, DISK_WRITE, 65536, sizeof(out));
	job_buffer(&job, out, 4096);
	job_buffer(&job, out + 4096, 4096);
	job_buffer(&job, out + 8192, 4096);
	submit(&job);
	run(&f);
	ck_assert_int_eq(job.result, 0);
	read_image(in, sizeof(in), 65536);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);

	memset(in, 0xee, sizeof(in));
	ck_assert_int_eq(run_one(&f, DISK_READ, 65536, in, sizeof(in)), 0);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);
	ck_assert_int_eq(run_one(&f, DISK_FLUSH, 0, NULL, 0), 0);
	close_fixture(&f);
}
END_TEST

/* Buffers, offsets and lengths that O_DIRECT does not take. */
START_TEST(test_any_alignment)
{
	static uint8_t out[1536 + 1], in[1536 + 1];
	struct fixture f;

	open_fixture(&f, _i, image);
	fill(out, sizeof(out), 2);
	ck_assert_int_eq(run_one(&f, DISK_WRITE, 512, out + 1, 1536), 0);
	ck_assert_int_eq(run_one(&f, DISK_READ, 512, in + 1, 1536), 0);
	ck_assert_int_eq(memcmp(in + 1, out + 1, 1536), 0);
	ck_assert_int_eq(run_one(&f, DISK_WRITE, 777, out, 5), 0);
	ck_assert_int_eq(run_one(&f, DISK_READ, 777, in, 5), 0);
	ck_assert_int_eq(memcmp(in, out, 5), 0);
	close_fixture(&f);
}
END_TEST

/* What is written around the page cache is seen through it, and the other way round. */
START_TEST(test_direct_and_buffered_agree)
{
	_Alignas(4096) static uint8_t aligned[4096], odd[4097];
	struct fixture f;

	open_fixture(&f, _i, image);
	for (unsigned round = 0; round < 20; round++) {
		fill(aligned, sizeof(aligned), round);
		ck_assert_int_eq(run_one(&f, DISK_WRITE, 8192, aligned, 4096), 0);
		ck_assert_int_eq(run_one(&f, DISK_READ, 8192, odd + 1, 4096), 0);
		ck_assert_int_eq(memcmp(aligned, odd + 1, 4096), 0);
		fill(odd, sizeof(odd), round + 100);
		ck_assert_int_eq(run_one(&f, DISK_WRITE, 8192, odd + 1, 4096), 0);
		ck_assert_int_eq(run_one(&f, DISK_READ, 8192, aligned, 4096), 0);
		ck_assert_int_eq(memcmp(aligned, odd + 1, 4096), 0);
	}
	close_fixture(&f);
}
END_TEST

/* Far more requests than the depth, each followed by another from its done(). */
START_TEST(test_many_and_chained)
{
	enum { N = 40 * DEPTH };
	_Alignas(4096) static uint8_t out[N][512], in[N][512];
	static struct job writes[N], reads[N];
	struct fixture f;

	open_fixture(&f, _i, image);
	memset(writes, 0, sizeof(writes));
	memset(reads, 0, sizeof(reads));
	memset(in, 0, sizeof(in));
	for (unsigned i = 0; i < N; i++) {
		fill(out[i], 512, i * 3);
		prepare_job(&f, &writes[i], DISK_WRITE, i * 512, 512);
		job_buffer(&writes[i], out[i], 512);
		prepare_job(&f, &reads[i], DISK_READ, i * 512, 512);
		job_buffer(&reads[i], in[i], 512);
		writes[i].then = &reads[i];
		submit(&writes[i]);
	}
	run(&f);
	for (unsigned i = 0; i < N; i++)
		ck_assert_int_eq(writes[i].result | reads[i].result, 0);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);
	ck_assert_uint_ge(f.batches, 1);
	ck_assert_uint_le(f.batches, 2 * N);
	close_fixture(&f);
}
END_TEST

START_TEST(test_end_of_file_reads_zeroes)
{
	_Alignas(4096) static uint8_t in[8192];
	struct fixture f;

	open_fixture(&f, _i, image);
	write_image("tail", 4, 4096);
	ck_assert_int_eq(truncate(image, 4096 + 4), 0);
	memset(in, 0xee, sizeof(in));
	ck_assert_int_eq(run_one(&f, DISK_READ, 0, in, sizeof(in)), 0);
	ck_assert_int_eq(memcmp(in + 4096, "tail\0\0\0", 8), 0);
	ck_assert(all_zeroes(in + 4100, sizeof(in) - 4100));
	memset(in, 0xee, sizeof(in));
	ck_assert_int_eq(run_one(&f, DISK_READ, MIB, in, sizeof(in)), 0);
	ck_assert(all_zeroes(in, sizeof(in)));
	close_fixture(&f);
}
END_TEST

static void check_zeroes(off_t offset, size_t len)
{
	uint8_t *p = malloc(len + 2);

	ck_assert_ptr_nonnull(p);
	read_image(p, len + 2, offset - 1);
	ck_assert_uint_eq(p[0], 0xaa);
	ck_assert_uint_eq(p[len + 1], 0xaa);
	ck_assert(all_zeroes(p + 1, len));
	free(p);
}

static void fill_image(void)
{
	static uint8_t aa[IMAGE_BYTES];

	memset(aa, 0xaa, sizeof(aa));
	write_image(aa, sizeof(aa), 0);
}

static void write_zeroes(struct fixture *f, uint64_t offset, uint64_t len, bool unmap)
{
	struct job job = {};

	fill_image();
	prepare_job(f, &job, DISK_WRITE_ZEROES, offset, len);
	job.req.unmap = unmap;
	submit(&job);
	run(f);
	ck_assert_int_eq(job.result, 0);
	check_zeroes((off_t)offset, len);
}

START_TEST(test_write_zeroes)
{
	struct fixture f;
	blkcnt_t before;

	open_fixture(&f, _i, image);
	fill_image();
	before = image_blocks();
	write_zeroes(&f, 4096, 3 * MIB, true);
	ck_assert_int_lt(image_blocks(), before);
	write_zeroes(&f, 512, 3 * MIB, false);
	ck_assert_int_ge(image_blocks(), before);
	atomic_store(&f.disk->lacking, BIT(STEP_PUNCH_HOLE) | BIT(STEP_ZERO_RANGE));
	write_zeroes(&f, 4096, 3 * MIB, true);
	ck_assert_int_ge(image_blocks(), before);
	write_zeroes(&f, 512, 3 * MIB + 512, true);
	close_fixture(&f);
}
END_TEST

START_TEST(test_discard)
{
	struct fixture f;
	blkcnt_t before;

	open_fixture(&f, _i, image);
	fill_image();
	before = image_blocks();
	ck_assert_int_eq(run_one(&f, DISK_DISCARD, MIB, NULL, MIB), 0);
	ck_assert_int_eq(image_blocks(), before - MIB / 512);
	ck_assert_uint_eq(disk_size_bytes(f.disk), IMAGE_BYTES);
	close_fixture(&f);
}
END_TEST

START_TEST(test_errors_are_reported)
{
	_Alignas(4096) static uint8_t out[4096];
	struct fixture f;

	open_fixture(&f, _i, image);
	ck_assert_int_eq(run_one(&f, DISK_READ, 0, (void *)8192, 4096), -EFAULT);
	ck_assert_int_eq(run_one(&f, DISK_WRITE, BIT(62), out, 4096), -EFBIG);
	ck_assert_int_eq(run_one(&f, DISK_READ, 0, out, 4096), 0);
	close_fixture(&f);
}
END_TEST

static void check_without_io_uring(void)
{
	static uint8_t in[512];
	struct fixture f;

	forbid_syscall(SYS_io_uring_setup, EPERM);
	open_fixture(&f, 0, image);
	write_image("bytes", 5, 512);
	ck_assert_int_eq(run_one(&f, DISK_READ, 512, in, sizeof(in)), 0);
	ck_assert_str_eq((char *)in, "bytes");
	close_fixture(&f);
}

START_TEST(test_without_io_uring)
{
	in_child(check_without_io_uring);
}
END_TEST

/* The work is done, if slowly. */
static void check_without_threads(void)
{
	forbid_syscall(SYS_clone3, EAGAIN);
	forbid_syscall(SYS_clone, EAGAIN);
	check_without_io_uring();
}

START_TEST(test_without_threads)
{
	in_child(check_without_threads);
}
END_TEST

/* A block device of the host's behind the image, until fd is closed; NULL: not allowed. */
static char *attach_loop_device(int *fd)
{
	static char path[32];
	CLEANUP(fd) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	CLEANUP(fd) int file = open(image, O_RDWR | O_CLOEXEC);
	struct loop_config c = { .fd = (unsigned)file, .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

	if (n < 0)
		return NULL;
	snprintf(path, sizeof(path), "/dev/loop%d", n);
	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd >= 0 && !ioctl(*fd, LOOP_CONFIGURE, &c))
		return path;
	cleanup_fd(fd);
	return NULL;
}

START_TEST(test_block_device)
{
	_Alignas(4096) static uint8_t out[8192], in[8192];
	struct disk_config c = {};
	struct fixture f;
	int fd = -1;
	char *path = attach_loop_device(&fd);
	blkcnt_t before;

	if (!path)
		return;
	fill_image();
	open_fixture(&f, _i, path);
	ck_assert_uint_eq(disk_size_bytes(f.disk), IMAGE_BYTES);
	fill(out, sizeof(out), 9);
	ck_assert_int_eq(run_one(&f, DISK_WRITE, 4096, out, sizeof(out)), 0);
	ck_assert_int_eq(run_one(&f, DISK_READ, 4096, in, sizeof(in)), 0);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);
	ck_assert_int_eq(run_one(&f, DISK_FLUSH, 0, NULL, 0), 0);
	before = image_blocks();
	ck_assert_int_eq(run_one(&f, DISK_DISCARD, MIB, NULL, MIB), 0);
	ck_assert_int_eq(image_blocks(), before - MIB / 512);
	ck_assert_int_eq(run_one(&f, DISK_WRITE_ZEROES, 4096, NULL, 4096), 0);
	ck_assert_int_eq(run_one(&f, DISK_READ, 4096, in, sizeof(in)), 0);
	ck_assert_uint_eq(in[0] | in[4095], 0);
	ck_assert_int_eq(memcmp(in + 4096, out + 4096, 4096), 0);
	c.path = path;
	expect_refusal(&c, -EBUSY, "is in use by");
	close_fixture(&f);
	close(fd);
}
END_TEST

/* Steps: what the host may answer and seldom does. */

static struct disk plain = { .fd = 3, .direct_fd = -1, .block_bytes = 512 };

START_TEST(test_short_transfers_continue)
{
	struct iovec iov[] = { { (void *)0x1000, 100 },
			       { (void *)0x2000, 0 },
			       { (void *)0x3000, 50 } };
	struct disk_request req = {
		.op = DISK_WRITE, .iov = iov, .niov = 3, .offset = 1000, .len = 150
	};
	struct disk_step step;

	disk_step_next(&plain, &req, &step);
	ck_assert_int_eq(step.kind, STEP_WRITE);
	ck_assert_uint_eq(step.offset, 1000);
	ck_assert(!disk_step_done(&plain, &req, -EINTR));
	ck_assert(!disk_step_done(&plain, &req, 30));
	disk_step_next(&plain, &req, &step);
	ck_assert_uint_eq(step.offset, 1030);
	ck_assert_uint_eq(step.niov, 3);
	ck_assert_ptr_eq(step.iov->iov_base, (void *)0x101e);
	ck_assert_uint_eq(step.iov->iov_len, 70);
	ck_assert(!disk_step_done(&plain, &req, 80));
	ck_assert(!disk_step_done(&plain, &req, -EAGAIN));
	disk_step_next(&plain, &req, &step);
	ck_assert_uint_eq(step.offset, 1110);
	ck_assert_uint_eq(step.niov, 1);
	ck_assert_ptr_eq(step.iov->iov_base, (void *)0x300a);
	ck_assert(disk_step_done(&plain, &req, 40));
	ck_assert_int_eq(req.result, 0);
}
END_TEST

START_TEST(test_write_of_nothing_is_an_error)
{
	struct iovec iov = { (void *)0x1000, 512 };
	struct disk_request req = { .op = DISK_WRITE, .iov = &iov, .niov = 1, .len = 512 };
	struct disk_step step;

	disk_step_next(&plain, &req, &step);
	ck_assert(disk_step_done(&plain, &req, 0));
	ck_assert_int_eq(req.result, -EIO);
}
END_TEST

static enum disk_step_kind kind_after(struct disk *d, struct disk_request *req, int result)
{
	struct disk_step step;

	ck_assert(!disk_step_done(d, req, result));
	disk_step_next(d, req, &step);
	return step.kind;
}

START_TEST(test_zeroing_falls_back)
{
	struct disk d = plain;
	struct disk_request req = { .op = DISK_WRITE_ZEROES, .len = 3 * MIB / 2, .unmap = true };
	struct disk_step step;

	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(step.kind, STEP_PUNCH_HOLE);
	ck_assert_int_eq(kind_after(&d, &req, -EOPNOTSUPP), STEP_ZERO_RANGE);
	ck_assert_int_eq(kind_after(&d, &req, -EOPNOTSUPP), STEP_WRITE_ZEROES);
	ck_assert_int_eq(kind_after(&d, &req, MIB), STEP_WRITE_ZEROES);
	ck_assert(disk_step_done(&d, &req, MIB / 2));
	ck_assert_int_eq(req.result, 0);

	/* Remembered; a misaligned range is not. */
	req = (struct disk_request){ .op = DISK_WRITE_ZEROES, .len = 512, .unmap = true };
	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(step.kind, STEP_WRITE_ZEROES);
	d.lacking = 0;
	req.step = STEP_UNDECIDED;
	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(kind_after(&d, &req, -EINVAL), STEP_WRITE_ZEROES);
	ck_assert_uint_eq(d.lacking, 0);
	ck_assert(disk_step_done(&d, &req, -ENOSPC));
	ck_assert_int_eq(req.result, -ENOSPC);
}
END_TEST

START_TEST(test_discard_is_a_hint)
{
	struct disk d = plain;
	struct disk_request req = { .op = DISK_DISCARD, .len = 512 };
	struct disk_step step;

	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(step.kind, STEP_PUNCH_HOLE);
	ck_assert(disk_step_done(&d, &req, -EOPNOTSUPP));
	ck_assert_int_eq(req.result, 0);
	d.is_block_device = true;
	req.step = STEP_UNDECIDED;
	disk_step_next(&d, &req, &step);
	ck_assert_int_eq(step.kind, STEP_DISCARD);
	ck_assert(disk_step_done(&d, &req, -EIO));
	ck_assert_int_eq(req.result, -EIO);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("disk");
	TCase *image_case = tcase_create("image");
	TCase *queue_case = tcase_create("queue");
	TCase *step_case = tcase_create("step");

	tcase_add_checked_fixture(image_case, setup, teardown);
	tcase_add_test(image_case, test_open_refuses);
	tcase_add_test(image_case, test_size_is_whole_sectors);
	tcase_add_test(image_case, test_permissions);
	tcase_add_test(image_case, test_lock);
	tcase_add_test(image_case, test_holder_is_named);
	suite_add_tcase(s, image_case);
	tcase_add_checked_fixture(queue_case, setup, teardown);
	tcase_set_timeout(queue_case, 60);
	tcase_add_loop_test(queue_case, test_write_and_read_back, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_any_alignment, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_direct_and_buffered_agree, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_many_and_chained, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_end_of_file_reads_zeroes, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_write_zeroes, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_discard, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_errors_are_reported, 0, VARIANTS);
	tcase_add_loop_test(queue_case, test_block_device, 0, VARIANTS);
	tcase_add_test(queue_case, test_without_io_uring);
	tcase_add_test(queue_case, test_without_threads);
	suite_add_tcase(s, queue_case);
	tcase_add_test(step_case, test_short_transfers_continue);
	tcase_add_test(step_case, test_write_of_nothing_is_an_error);
	tcase_add_test(step_case, test_zeroing_falls_back);
	tcase_add_test(step_case, test_discard_is_a_hint);
	suite_add_tcase(s, step_case);
	return s;
}

CHECK_MAIN(suite)
