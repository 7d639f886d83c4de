/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "crc32c.h"
#include "file.h"
#include "page.h"

enum { PIECE_BYTES = 1 << 20 };

/* On the way through the file, from its beginning to its end. */
struct walk {
	int fd;
	const struct guest_mem *mem;
	const atomic_bool *cancel; /* NULL: none */
	struct err *e;
	uint64_t at;
	/* Of the extent so far.  Its last zeros are not in the checksum yet: without data there
	 * will be none. */
	bool data;
	uint32_t crc;
	uint64_t zeros;
};

static uint32_t sum_zeros(uint32_t crc, uint64_t n)
{
	static const uint8_t zeros[GUEST_PAGE_BYTES];

	for (uint64_t some; n; n -= some) {
		some = MIN(n, sizeof(zeros));
		crc = crc32c(crc, zeros, some);
	}
	return crc;
}

static void pass_zeros(struct walk *w, uint64_t n)
{
	w->at += n;
	w->zeros += n;
}

static void pass_data(struct walk *w, const void *data, uint64_t n)
{
	w->crc = crc32c(sum_zeros(w->crc, w->zeros), data, n);
	w->zeros = 0;
	w->data = true;
	w->at += n;
}

static struct manifest_extent end_extent(struct walk *w)
{
	struct manifest_extent extent = { .zero = !w->data };

	if (w->data)
		extent.crc = sum_zeros(w->crc, w->zeros);
	w->data = false;
	w->crc = 0;
	w->zeros = 0;
	return extent;
}

/* What part() does, for each part of a region until the file's offset end. */
static int walk_to(struct walk *w, uint64_t end,
		   int (*part)(struct walk *, const struct guest_mem_region *, uint64_t end))
{
	int r = 0;

	for (unsigned i = 0; !r && i < w->mem->nregions; i++) {
		const struct guest_mem_region *region = &w->mem->region[i];
		uint64_t stop = MIN(end, region->fd_offset + region->size_bytes);

		if (w->at < stop)
			r = part(w, region, stop);
	}
	return r;
}

static int write_bytes(struct walk *w, const uint8_t *data, uint64_t len)
{
	if (atomic_load(w->cancel))
		return err_set(w->e, -ECANCELED, "the snapshot was given up");
	for (uint64_t done = 0; done < len;) {
		ssize_t n = file_write_at(w->fd, data + done, len - done, (off_t)(w->at + done));

		if (n < 0 && errno != EINTR)
			return err_set(w->e, -errno, "memory cannot be written: %s",
				       strerror(errno));
		done += n > 0 ? (uint64_t)n : 0;
	}
	pass_data(w, data, len);
	return 0;
}

/* How much from here on is not zero, as far as one write goes. */
static uint64_t run_of_data(const uint8_t *host, uint64_t len)
{
	uint64_t n = 0;

	while (n < MIN(len, PIECE_BYTES) && !page_is_zero(host + n))
		n += GUEST_PAGE_BYTES;
	return n;
}

static int write_pages(struct walk *w, const uint8_t *host, uint64_t len)
{
	uint64_t n;
	int r = 0;

	for (; !r && len; host += n, len -= n) {
		n = run_of_data(host, len);
		if (n) {
			r = write_bytes(w, host, n);
		} else {
			n = GUEST_PAGE_BYTES;
			pass_zeros(w, n);
		}
	}
	return r;
}

static int write_part(struct walk *w, const struct guest_mem_region *region, uint64_t end)
{
	uint64_t stop = end - region->fd_offset, from, to;
	int r = 0;

	while (!r && w->at < end) {
		from = w->at - region->fd_offset;
		if (!page_next_data(w->mem, region, &from, &to))
			from = to = stop;
		from = MIN(from, stop);
		to = MIN(to, stop);
		pass_zeros(w, region->fd_offset + from - w->at);
		r = write_pages(w, region->host + from, to - from);
	}
	return r;
}

int snapshot_memory_write(int fd, const struct guest_mem *mem, struct manifest *m,
			  const atomic_bool *cancel, struct err *e)
{
	struct walk w = { .fd = fd, .mem = mem, .cancel = cancel, .e = e };
	int r = 0;

	if (ftruncate(fd, (off_t)m->memory_bytes))
		return err_set(e, -errno, "memory cannot be written: %s", strerror(errno));
	for (size_t i = 0; !r && i < m->nextents; i++) {
		r = walk_to(&w, (i + 1) * SNAPSHOT_EXTENT_BYTES, write_part);
		m->extent[i] = end_extent(&w);
	}
	return r;
}

static int read_bytes(struct walk *w, uint8_t *data, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t n = file_read_at(w->fd, data + done, len - done, (off_t)(w->at + done));

		if (!n)
			return err_set(w->e, -EBADMSG, SNAPSHOT_MEMORY " is too short");
		if (n < 0 && errno != EINTR)
			return err_set(w->e, -errno, SNAPSHOT_MEMORY " cannot be read: %s",
				       strerror(errno));
		done += n > 0 ? (uint64_t)n : 0;
	}
	pass_data(w, data, len);
	return 0;
}

/* The next offset of data or of a hole, up to end. */
static uint64_t seek(const struct walk *w, int whence, uint64_t end)
{
	off_t found = lseek(w->fd, (off_t)w->at, whence);

	if (found >= 0)
		return MIN((uint64_t)found, end);
	/* ENXIO: no data follows.  Else the file system knows no holes. */
	return whence == SEEK_DATA && errno != ENXIO ? w->at : end;
}

static int read_part(struct walk *w, const struct guest_mem_region *region, uint64_t end)
{
	int r = 0;

	while (!r && w->at < end) {
		pass_zeros(w, seek(w, SEEK_DATA, end) - w->at);
		if (w->at < end)
			r = read_bytes(w, region->host + (w->at - region->fd_offset),
				       MIN(seek(w, SEEK_HOLE, end) - w->at, PIECE_BYTES));
	}
	return r;
}

static bool extents_match(struct manifest_extent a, struct manifest_extent b, uint64_t len)
{
	if (a.zero && b.zero)
		return true;
	return (a.zero ? sum_zeros(0, len) : a.crc) == (b.zero ? sum_zeros(0, len) : b.crc);
}

int snapshot_memory_read(int fd, struct guest_mem *mem, const struct manifest *m, struct err *e)
{
	struct walk w = { .fd = fd, .mem = mem, .e = e };
	int r = 0;

	for (size_t i = 0; !r && i < m->nextents; i++) {
		uint64_t begin = w.at;

		r = walk_to(&w, begin + SNAPSHOT_EXTENT_BYTES, read_part);
		if (!r && !extents_match(end_extent(&w), m->extent[i], w.at - begin))
			r = err_set(e, -EBADMSG,
				    SNAPSHOT_MEMORY " is damaged: the checksum of the bytes from "
						    "%" PRIu64 " on is wrong",
				    begin);
	}
	return r;
}
