/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 as far as the control API speaks it: one request out of bytes that come in any
 * pieces, and the head of its answer.  Pure: no sockets, no clock.  Per request: http_start(),
 * http_parse() with what comes until the state says DONE or FAILED; then the strings and the
 * body are valid until http_reset(), which is ready for the next.
 *
 * Where two readers could see different ends of a request it is refused: both lengths, lengths
 * that differ, folded lines, a lone LF, spaces before a colon.  Refused for want of anyone who
 * sends them: trailers, extensions of chunks, transfer encodings other than chunked.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bits.h"

enum {
	HTTP_HEAD_MAX = 16 * KIB, /* request line and headers, else 431 */
	HTTP_BODY_MAX = 4 * MIB, /* else 413 */
	HTTP_CHUNK_LINE_MAX = 18, /* 16 digits, CR, LF */
	HTTP_ANSWER_HEAD_MAX = 1023, /* libvirt reads it with one recv() of so many bytes */
};

enum http_method { HTTP_GET, HTTP_PUT };

/* Those before HTTP_BODY wait for the end of a line. */
enum http_state {
	HTTP_REQUEST_LINE,
	HTTP_HEADER,
	HTTP_CHUNK_SIZE,
	HTTP_CHUNK_END,
	HTTP_LAST_CHUNK_END,
	HTTP_BODY,
	HTTP_DONE,
	HTTP_FAILED,
};

struct http_parser {
	enum http_state state;
	enum http_method method;
	const char *path, *query, *accept; /* query and accept: "" if there is none */
	char *body; /* NUL behind it; NULL: none, or empty */
	size_t body_len;
	bool close; /* no request after this one */
	bool expects_continue; /* the client waits for a 100 before it sends the body */
	int status; /* FAILED: the answer, and a sentence why */
	const char *reason;

	/* The parser's own */
	bool minor_0, has_length, chunked;
	size_t length; /* Content-Length */
	size_t left; /* of the body or chunk */
	size_t body_room;
	size_t text_len, line; /* the line under way begins at text + line */
	char text[HTTP_HEAD_MAX + HTTP_CHUNK_LINE_MAX + 1];
};

void http_start(struct http_parser *);
void http_reset(struct http_parser *); /* frees the body */
/* Returns how many bytes belong to this request; fewer than len only if it is DONE or FAILED. */
size_t http_parse(struct http_parser *, const void *data, size_t len);
bool http_begun(const struct http_parser *); /* a byte of the request has come */

/* The number of "key=NUMBER" in a query, if that is there; false: it is none. */
bool http_query_number(const char *query, const char *key, uint64_t *value);

struct http_answer {
	int status; /* 204: has neither type nor body */
	const char *type; /* Content-Type of the body, also of an empty one; NULL: it has none */
	size_t len; /* of the body */
	bool close; /* the connection ends with it */
};

/* Returns the length of the head, below HTTP_ANSWER_HEAD_MAX. */
size_t http_answer_head(char head[HTTP_ANSWER_HEAD_MAX], const struct http_answer *);

#endif
