/* SPDX-License-Identifier: Apache-2.0 */
#include "section.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "bits.h"

enum { HEADER_BYTES = 16, HEADER_CRC = 4, FORMAT = 1 };

static const char magic[8] = { 'g', 'o', 'd', 'w', 'i', 't', 'V', 'M' };

/* CRC-32C (RFC 3720, B.4), bit by bit: for processors older than SSE 4.2. */
static uint32_t crc_slow(uint32_t crc, const uint8_t *p, size_t len)
{
	while (len--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

__attribute__((target("sse4.2"))) static uint32_t crc_fast(uint32_t crc, const uint8_t *p,
							   size_t len)
{
	uint64_t word, wide = crc;

	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	while (len--)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}

static uint32_t crc_add(uint32_t crc, const void *data, size_t len)
{
	crc = ~crc;
	crc = __builtin_cpu_supports("sse4.2") ? crc_fast(crc, data, len)
					       : crc_slow(crc, data, len);
	return ~crc;
}

/* Step over the first done bytes. */
static void advance(struct iovec **iov, int *niov, size_t done)
{
	while (*niov && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*niov)--;
	}
	if (*niov) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

static int write_all(int fd, struct iovec *iov, int niov, struct err *e)
{
	ssize_t n;

	advance(&iov, &niov, 0);
	while (niov) {
		n = writev(fd, iov, niov);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "cannot write the stream: %s", strerror(errno));
		advance(&iov, &niov, (size_t)n);
	}
	return 0;
}

static int read_all(int fd, struct iovec *iov, int niov, struct err *e)
{
	ssize_t n;

	advance(&iov, &niov, 0);
	while (niov) {
		n = readv(fd, iov, niov);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "cannot read the stream: %s", strerror(errno));
		if (n == 0)
			return err_set(e, -EBADMSG, "the stream is cut short");
		advance(&iov, &niov, (size_t)n);
	}
	return 0;
}

int section_write_magic(int fd, struct err *e)
{
	uint8_t head[sizeof(magic) + 8];

	memcpy(head, magic, sizeof(magic));
	put_le(head + sizeof(magic), 4, FORMAT);
	put_le(head + sizeof(magic) + 4, 4, 0);
	return write_all(fd, &(struct iovec){ head, sizeof(head) }, 1, e);
}

int section_read_magic(int fd, struct err *e)
{
	uint8_t head[sizeof(magic) + 8];
	int r = read_all(fd, &(struct iovec){ head, sizeof(head) }, 1, e);

	if (r)
		return r;
	if (memcmp(head, magic, sizeof(magic)))
		return err_set(e, -EBADMSG, "this is not a stream of godwit");
	if (get_le(head + sizeof(magic), 8) != FORMAT)
		return err_set(e, -EBADMSG,
			       "the stream has format %" PRIu64 " and this godwit reads %d; use "
			       "the version that wrote it",
			       get_le(head + sizeof(magic), 8), FORMAT);
	return 0;
}

int section_write(int fd, enum section_type type, struct iovec *iov, int niov, struct err *e)
{
	uint8_t head[HEADER_BYTES] = { 0 };
	uint64_t len = 0;
	uint32_t crc;

	for (int i = 1; i < niov; i++)
		len += iov[i].iov_len;
	put_le(head, 4, type);
	put_le(head + 8, 8, len);
	crc = crc_add(0, head, sizeof(head));
	for (int i = 1; i < niov; i++)
		crc = crc_add(crc, iov[i].iov_base, iov[i].iov_len);
	put_le(head + HEADER_CRC, 4, crc);
	iov[0] = (struct iovec){ head, sizeof(head) };
	return write_all(fd, iov, niov, e);
}

int section_begin(struct section *s, int fd, struct err *e)
{
	uint8_t head[HEADER_BYTES];
	int r = read_all(fd, &(struct iovec){ head, sizeof(head) }, 1, e);

	if (r)
		return r;
	*s = (struct section){ .fd = fd,
			       .type = (uint32_t)get_le(head, 4),
			       .expected = (uint32_t)get_le(head + HEADER_CRC, 4),
			       .left = get_le(head + 8, 8) };
	put_le(head + HEADER_CRC, 4, 0);
	s->crc = crc_add(0, head, sizeof(head));
	return 0;
}

int section_read(struct section *s, void *data, size_t len, struct err *e)
{
	return section_readv(s, &(struct iovec){ data, len }, 1, e);
}

int section_readv(struct section *s, struct iovec *iov, int niov, struct err *e)
{
	struct iovec done[SECTION_RUNS_MAX];
	uint64_t len = 0;
	int r;

	for (int i = 0; i < niov; i++) {
		len += iov[i].iov_len;
		done[i] = iov[i];
	}
	if (len > s->left)
		return err_set(e, -EBADMSG, "the stream is damaged: a section is too short");
	r = read_all(s->fd, iov, niov, e);
	if (r)
		return r;
	for (int i = 0; i < niov; i++)
		s->crc = crc_add(s->crc, done[i].iov_base, done[i].iov_len);
	s->left -= len;
	return 0;
}

int section_end(const struct section *s, struct err *e)
{
	if (s->left)
		return err_set(e, -EBADMSG, "the stream is damaged: a section is too long");
	if (s->crc != s->expected)
		return err_set(e, -EBADMSG, "the stream is damaged: a checksum is wrong");
	return 0;
}
