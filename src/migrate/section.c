/* SPDX-License-Identifier: Apache-2.0 */
#include "section.h"

#include <errno.h>
#include <inttypes.h>

#include "bits.h"
#include "crc32c.h"

enum { HEADER_BYTES = 16, HEADER_CRC = 4, FORMAT = 1 };

static const char magic[8] = { 'g', 'o', 'd', 'w', 'i', 't', 'V', 'M' };

int section_write_magic(struct channel *ch, struct err *e)
{
	uint8_t head[sizeof(magic) + 8];

	memcpy(head, magic, sizeof(magic));
	put_le(head + sizeof(magic), 4, FORMAT);
	put_le(head + sizeof(magic) + 4, 4, 0);
	return channel_write(ch, &(struct iovec){ head, sizeof(head) }, 1, e);
}

int section_read_magic(struct channel *ch, struct err *e)
{
	uint8_t head[sizeof(magic) + 8];
	int r = channel_read(ch, &(struct iovec){ head, sizeof(head) }, 1, e);

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

/* The first ncheck of the payload's parts are behind the checksum. */
static int write_section(struct channel *ch, enum section_type type, struct iovec *iov, int niov,
			 int ncheck, struct err *e)
{
	uint8_t head[HEADER_BYTES] = { 0 };
	uint64_t len = 0;
	uint32_t crc;

	for (int i = 1; i < niov; i++)
		len += iov[i].iov_len;
	put_le(head, 4, type);
	put_le(head + 8, 8, len);
	crc = crc32c(0, head, sizeof(head));
	for (int i = 1; i <= ncheck; i++)
		crc = crc32c(crc, iov[i].iov_base, iov[i].iov_len);
	put_le(head + HEADER_CRC, 4, crc);
	iov[0] = (struct iovec){ head, sizeof(head) };
	return channel_write(ch, iov, niov, e);
}

int section_write(struct channel *ch, enum section_type type, struct iovec *iov, int niov,
		  struct err *e)
{
	return write_section(ch, type, iov, niov, niov - 1, e);
}

int section_write_pages(struct channel *ch, enum section_type type, struct iovec *iov, int niov,
			struct err *e)
{
	return write_section(ch, type, iov, niov, 1, e);
}

int section_begin(struct section *s, struct channel *ch, struct err *e)
{
	uint8_t head[HEADER_BYTES];
	int r = channel_read(ch, &(struct iovec){ head, sizeof(head) }, 1, e);

	if (r)
		return r;
	*s = (struct section){ .ch = ch,
			       .type = (uint32_t)get_le(head, 4),
			       .expected = (uint32_t)get_le(head + HEADER_CRC, 4),
			       .left = get_le(head + 8, 8) };
	put_le(head + HEADER_CRC, 4, 0);
	s->crc = crc32c(0, head, sizeof(head));
	return 0;
}

int section_read(struct section *s, void *data, size_t len, struct err *e)
{
	return section_readv(s, &(struct iovec){ data, len }, 1, e);
}

int section_read_pages(struct section *s, struct iovec *iov, int niov, struct err *e)
{
	uint64_t len = 0;
	int r;

	for (int i = 0; i < niov; i++)
		len += iov[i].iov_len;
	if (len > s->left)
		return err_set(e, -EBADMSG, "the stream is damaged: a section is too short");
	r = channel_read(s->ch, iov, niov, e);
	if (!r)
		s->left -= len;
	return r;
}

int section_readv(struct section *s, struct iovec *iov, int niov, struct err *e)
{
	struct iovec done[SECTION_RUNS_MAX];
	int r;

	memcpy(done, iov, (size_t)niov * sizeof(*iov));
	r = section_read_pages(s, iov, niov, e);
	for (int i = 0; !r && i < niov; i++)
		s->crc = crc32c(s->crc, done[i].iov_base, done[i].iov_len);
	return r;
}

int section_check(const struct section *s, struct err *e)
{
	if (s->crc != s->expected)
		return err_set(e, -EBADMSG, "the stream is damaged: a checksum is wrong");
	return 0;
}

int section_end(const struct section *s, struct err *e)
{
	if (s->left)
		return err_set(e, -EBADMSG, "the stream is damaged: a section is too long");
	return section_check(s, e);
}
