/* SPDX-License-Identifier: Apache-2.0 */
/* A disk image in a directory of its own, made anew for each test. */
#ifndef IMAGE_FILE_H
#define IMAGE_FILE_H

#include <check.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"

enum { IMAGE_BYTES = 4 * MIB };

static char image_dir[64], image[96], image_owner[104];

static inline void make_image(off_t bytes)
{
	CLEANUP(fd) int fd = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fchmod(fd, 0666), 0);
	ck_assert_int_eq(ftruncate(fd, bytes), 0);
}

/* Not in /tmp, which may be a tmpfs: it lacks much of what is tested. */
static inline void image_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(image_dir, sizeof(image_dir), "%.32s/godwit-image-XXXXXX", tmp ? tmp : "/var/tmp");
	ck_assert_ptr_nonnull(mkdtemp(image_dir));
	ck_assert_int_eq(chmod(image_dir, 0777), 0);
	snprintf(image, sizeof(image), "%s/disk.img", image_dir);
	snprintf(image_owner, sizeof(image_owner), "%s.owner", image);
	make_image(IMAGE_BYTES);
}

static inline void image_teardown(void)
{
	unlink(image_owner);
	unlink(image);
	rmdir(image_dir);
}

static inline void write_image(const void *bytes, size_t len, off_t offset)
{
	CLEANUP(fd) int fd = open(image, O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, bytes, len, offset), (ssize_t)len);
}

static inline void read_image(void *bytes, size_t len, off_t offset)
{
	CLEANUP(fd) int fd = open(image, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(pread(fd, bytes, len, offset), (ssize_t)len);
}

static inline blkcnt_t image_blocks(void)
{
	struct stat st;

	ck_assert_int_eq(stat(image, &st), 0);
	return st.st_blocks;
}

/* A block device of the host's behind the image, until fd is closed; NULL: not allowed. */
static inline char *attach_loop_device(int *fd)
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

/* Bytes that differ from their neighbours and from another seed's. */
static inline void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((i + seed) * 13 + i / 509);
}

#endif
