/* SPDX-License-Identifier: Apache-2.0 */
#include "ram_unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "page_codec.h"
#include "page_diff.h"

enum { DIFF_HEAD_BYTES = 2 };

struct ram_unpack {
	void *context[PAGE_CODECS];
	uint8_t packed[SECTION_PACKED_MAX], pages[SECTION_PACKED_MAX];
};

int ram_unpack_new(struct ram_unpack **out, struct err *e)
{
	struct ram_unpack *u = malloc(sizeof(*u));

	if (!u)
		return err_set(e, -ENOMEM, "out of memory for a migration");
	memset(u->context, 0, sizeof(u->context));
	for (unsigned i = 0; i < PAGE_CODECS; i++) {
		u->context[i] = page_codecs[i].new_decompressor();
		if (!u->context[i]) {
			ram_unpack_free(u);
			return err_set(e, -ENOMEM, "out of memory for a migration");
		}
	}
	*out = u;
	return 0;
}

void ram_unpack_free(struct ram_unpack *u)
{
	for (unsigned i = 0; u && i < PAGE_CODECS; i++)
		if (u->context[i])
			page_codecs[i].free_decompressor(u->context[i]);
	free(u);
}

/* One of each page, in the order of the pages. */
static bool apply_diffs(const uint8_t *p, size_t left, const struct iovec *iov, int niov)
{
	for (int i = 0; i < niov; i++)
		for (size_t at = 0; at < iov[i].iov_len; at += GUEST_PAGE_BYTES) {
			size_t len = left < DIFF_HEAD_BYTES ? 0 : get_le(p, DIFF_HEAD_BYTES);

			if (left < DIFF_HEAD_BYTES || len > left - DIFF_HEAD_BYTES ||
			    !page_diff_apply((uint8_t *)iov[i].iov_base + at, p + DIFF_HEAD_BYTES,
					     len))
				return false;
			p += DIFF_HEAD_BYTES + len;
			left -= DIFF_HEAD_BYTES + len;
		}
	return !left;
}

/* Into memory of our own first: a codec may have written something before it finds a lie. */
static bool decompress(struct ram_unpack *u, uint32_t type, size_t len, const struct iovec *iov,
		       int niov)
{
	size_t wanted = 0, at = 0;
	unsigned codec = 0;

	for (int i = 0; i < niov; i++)
		wanted += iov[i].iov_len;
	while (page_codecs[codec].type != type)
		codec++;
	if (!wanted || wanted > sizeof(u->pages) ||
	    !page_codecs[codec].decompress(u->context[codec], u->packed, len, u->pages, wanted))
		return false;
	for (int i = 0; i < niov; at += iov[i++].iov_len)
		memcpy(iov[i].iov_base, u->pages + at, iov[i].iov_len);
	return true;
}

int ram_unpack_section(struct ram_unpack *u, struct section *in, const struct iovec *iov, int niov,
		       struct err *e)
{
	size_t len = in->left;
	int r;

	if (len > sizeof(u->packed))
		return err_set(e, -EBADMSG, "the stream is damaged: a section is too long");
	r = section_read(in, u->packed, len, e);
	if (!r)
		r = section_check(in, e);
	if (r)
		return r;
	if (in->type == SECTION_DIFF && !apply_diffs(u->packed, len, iov, niov))
		return err_set(e, -EBADMSG, "the stream is damaged: a difference has no sense");
	if (in->type != SECTION_DIFF && !decompress(u, in->type, len, iov, niov))
		return err_set(e, -EBADMSG,
			       "the stream is damaged: compressed pages are not what they should "
			       "be");
	return 0;
}
