/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests from strangers, one behind the other: whatever comes, it must not matter in which
 * pieces.  The first byte says how large they are.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t parse_pieces(struct http_parser *p, const uint8_t *data, size_t size, size_t piece)
{
	size_t done = 0;

	while (done < size && p->state < HTTP_DONE)
		done += http_parse(p, data + done, MIN(piece, size - done));
	return done;
}

static void check_same(const struct http_parser *a, const struct http_parser *b)
{
	if (a->state != b->state || a->status != b->status || a->body_len != b->body_len)
		abort();
	if (a->body_len && (memcmp(a->body, b->body, a->body_len) || a->body[a->body_len]))
		abort();
	if (a->state == HTTP_DONE &&
	    (a->method != b->method || a->close != b->close || strcmp(a->path, b->path) ||
	     strcmp(a->query, b->query) || strcmp(a->accept, b->accept)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_parser whole, pieces;
	size_t done = 1;

	http_start(&whole);
	http_start(&pieces);
	while (done < size) {
		size_t used = http_parse(&whole, data + done, size - done);

		if (parse_pieces(&pieces, data + done, size - done, 1 + data[0] % 64U) != used)
			abort();
		check_same(&whole, &pieces);
		if (whole.state != HTTP_DONE)
			break;
		http_reset(&whole);
		http_reset(&pieces);
		done += used;
	}
	http_reset(&whole);
	http_reset(&pieces);
	return 0;
}
