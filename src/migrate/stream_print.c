/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "bits.h"
#include "cleanup.h"
#include "crc32c.h"
#include "section.h"
#include "state_codec.h"
#include "stream.h"

enum { PAYLOAD_MAX = SECTION_RECORD_MAX };

_Static_assert(PAYLOAD_MAX >= SECTION_PAGES_MAX + SECTION_RUN_BYTES * (SECTION_RUNS_MAX + 1),
	       "every section fits");

static int damaged(struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "the stream is damaged: %s", what);
}

static int print_regions(FILE *f, struct state_view *v, uint64_t n, struct err *e)
{
	uint64_t base, len;

	while (n--) {
		if (!state_view_take_le(v, 8, &base) || !state_view_take_le(v, 8, &len))
			return damaged(e, "a table is too short");
		fprintf(f, "memory %#" PRIx64 " bytes %" PRIu64 "\n", base, len);
	}
	return 0;
}

/* Two streams that hold other bytes print other text. */
static int print_pages(FILE *f, struct state_view *v, uint64_t n, struct err *e)
{
	struct state_view runs = *v;
	const uint8_t *pages;
	uint64_t base, len;

	if (n > SECTION_RUNS_MAX || !state_view_take(v, n * SECTION_RUN_BYTES, &pages))
		return damaged(e, "a table is too short");
	while (n--) {
		state_view_take_le(&runs, 8, &base);
		state_view_take_le(&runs, 8, &len);
		if (!state_view_take(v, len, &pages))
			return damaged(e, "pages are missing");
		fprintf(f, "pages %#" PRIx64 " bytes %" PRIu64 " crc32c %08" PRIx32 "\n", base, len,
			crc32c(0, pages, len));
	}
	return 0;
}

static int print_device(FILE *f, struct state_view v, struct err *e)
{
	char kind[STATE_NAME_MAX + 1], id[STATE_NAME_MAX + 1];
	int r = 0;

	if (!state_view_take_name(&v, kind) || !state_view_take_name(&v, id))
		return damaged(e, "a device has no name");
	fprintf(f, "device %s kind %s\n", id, kind);
	if (v.len)
		r = state_print(f, 1, v.data, v.len, e);
	return r ? err_prefix(e, r, "%s", id) : 0;
}

static int print_section(FILE *f, uint32_t type, struct state_view v, struct err *e)
{
	uint64_t n;

	switch (type) {
	case SECTION_MEMORY:
		return print_regions(f, &v, v.len / SECTION_RUN_BYTES, e);
	case SECTION_RAM:
		if (!state_view_take_le(&v, 8, &n))
			return damaged(e, "a table is too short");
		return print_pages(f, &v, n, e);
	case SECTION_DEVICE:
		return print_device(f, v, e);
	case SECTION_END:
		fputs("end\n", f);
		return 0;
	default:
		fprintf(f, "section type %" PRIu32 " bytes %zu\n", type, v.len);
		return 0;
	}
}

static int read_section(FILE *f, struct section *s, struct err *e)
{
	CLEANUP(free) uint8_t *payload = NULL;
	size_t len = s->left;
	int r;

	if (len > PAYLOAD_MAX)
		return damaged(e, "a section is too long");
	payload = malloc(len + 1);
	if (!payload)
		return err_set(e, -ENOMEM, "out of memory for a stream");
	r = section_read(s, payload, len, e);
	if (!r)
		r = section_end(s, e);
	return r ? r : print_section(f, s->type, (struct state_view){ payload, len }, e);
}

int stream_print(FILE *f, int fd, struct err *e)
{
	struct channel ch = channel_of(fd);
	struct section s = { .type = 0 };
	int r = section_read_magic(&ch, e);

	while (!r && s.type != SECTION_END) {
		r = section_begin(&s, &ch, e);
		if (!r)
			r = read_section(f, &s, e);
	}
	return r;
}
