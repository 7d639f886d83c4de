/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

enum { BODY_ROOM_MIN = 4 * KIB, NO_CONTENT = 204 };

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define TOKEN DIGITS LETTERS "!#$%&'*+-.^_`|~" /* RFC 9110, 5.6.2 */
#define BLANK " \t"

void http_start(struct http_parser *p)
{
	/* Not the text: it is large, and text_len says what of it is valid. */
	memset(p, 0, offsetof(struct http_parser, text));
	p->query = p->accept = "";
}

void http_reset(struct http_parser *p)
{
	free(p->body);
	http_start(p);
}

bool http_begun(const struct http_parser *p)
{
	return p->text_len > 0;
}

static void fail(struct http_parser *p, int status, const char *reason)
{
	p->state = HTTP_FAILED;
	p->status = status;
	p->reason = reason;
}

/* Request line */

static void parse_target(struct http_parser *p, char *target)
{
	char *query = strchr(target, '?');

	if (*target != '/')
		return fail(p, 400, "The path in the request line must begin with a slash.");
	p->path = target;
	if (query) {
		*query = 0;
		p->query = query + 1;
	}
	p->state = HTTP_HEADER;
}

static void parse_request_line(struct http_parser *p, char *line)
{
	char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;

	if (!version)
		return fail(p, 400, "The request line needs a method, a path and a version.");
	*target++ = 0;
	*version++ = 0;
	p->minor_0 = p->close = !strcmp(version, "HTTP/1.0");
	if (!p->minor_0 && strcmp(version, "HTTP/1.1"))
		return fail(p, 400, "The version in the request line must be HTTP/1.1.");
	if (strcmp(line, "GET") && strcmp(line, "PUT"))
		return fail(p, 400, "The method must be GET or PUT.");
	p->method = *line == 'G' ? HTTP_GET : HTTP_PUT;
	parse_target(p, target);
}

/* Headers */

static void take_length(struct http_parser *p, const char *value)
{
	size_t length = 0;

	if (!*value || value[strspn(value, DIGITS)])
		return fail(p, 400, "Content-Length must be one decimal number.");
	for (; *value; value++)
		length = MIN(length * 10 + (size_t)(*value - '0'), (size_t)HTTP_BODY_MAX + 1);
	if (p->has_length && p->length != length)
		return fail(p, 400, "There are two different Content-Length headers.");
	p->has_length = true;
	p->length = length;
}

static void take_encoding(struct http_parser *p, const char *value)
{
	if (p->chunked || p->minor_0 || strcasecmp(value, "chunked"))
		return fail(p, 400, "The only Transfer-Encoding is chunked, once, in HTTP/1.1.");
	p->chunked = true;
}

static void take_expect(struct http_parser *p, const char *value)
{
	if (strcasecmp(value, "100-continue"))
		return fail(p, 417, "The only expectation that can be met is 100-continue.");
	p->expects_continue = !p->minor_0;
}

static void take_connection(struct http_parser *p, const char *value)
{
	for (; *value; value += strspn(value, BLANK ",")) {
		size_t len = strcspn(value, BLANK ",");

		if (len == strlen("close") && !strncasecmp(value, "close", len))
			p->close = true;
		value += len;
	}
}

static void take_accept(struct http_parser *p, const char *value)
{
	p->accept = value;
}

static const struct {
	const char *name;
	void (*take)(struct http_parser *, const char *value);
} headers[] = {
	{ "Content-Length", take_length }, { "Transfer-Encoding", take_encoding },
	{ "Expect", take_expect },         { "Connection", take_connection },
	{ "Accept", take_accept },
};

static void parse_header(struct http_parser *p, char *line)
{
	size_t name_len = strspn(line, TOKEN);
	char *value = line + name_len + 1, *end = strchr(line, 0);

	if (!name_len || line[name_len] != ':')
		return fail(p, 400, "A header must be a name, a colon and a value on one line.");
	line[name_len] = 0;
	value += strspn(value, BLANK);
	while (end > value && strchr(BLANK, end[-1]))
		*--end = 0;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		if (!strcasecmp(line, headers[i].name))
			return headers[i].take(p, value);
}

static void end_head(struct http_parser *p)
{
	if (p->chunked && p->has_length)
		return fail(p, 400, "There is both a Content-Length and a Transfer-Encoding.");
	if (p->length > HTTP_BODY_MAX)
		return fail(p, 413, "The body is larger than 4 MiB.");
	p->left = p->length;
	p->state = p->chunked ? HTTP_CHUNK_SIZE : p->left ? HTTP_BODY : HTTP_DONE;
	if (p->state == HTTP_DONE)
		p->expects_continue = false;
}

/* Body */

static void parse_chunk_size(struct http_parser *p, const char *line)
{
	if (!*line || line[strspn(line, DIGITS "abcdefABCDEF")])
		return fail(p, 400,
			    "A chunk must begin with its size in hexadecimal, and no more.");
	/* At most 16 digits fit into a line: no overflow. */
	p->left = strtoull(line, NULL, 16);
	if (p->left > HTTP_BODY_MAX - p->body_len)
		return fail(p, 413, "The body is larger than 4 MiB.");
	p->state = p->left ? HTTP_BODY : HTTP_LAST_CHUNK_END;
}

static bool body_grow(struct http_parser *p, size_t len)
{
	size_t room = MAX(p->body_room * 2, (size_t)BODY_ROOM_MIN);
	char *body;

	if (p->body_len + len < p->body_room)
		return true;
	room = MAX(room, p->body_len + len + 1);
	body = realloc(p->body, room);
	if (!body)
		return false;
	p->body = body;
	p->body_room = room;
	return true;
}

static size_t take_body(struct http_parser *p, const char *data, size_t len)
{
	len = MIN(len, p->left);
	if (!body_grow(p, len)) {
		fail(p, 503, "There is no memory for the body.");
		return len;
	}
	memcpy(p->body + p->body_len, data, len);
	p->body_len += len;
	p->body[p->body_len] = 0;
	p->left -= len;
	if (!p->left)
		p->state = p->chunked ? HTTP_CHUNK_END : HTTP_DONE;
	return len;
}

/* Lines */

static bool is_text(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((line[i] < ' ' && line[i] != '\t' && line[i] >= 0) || line[i] == 0x7f)
			return false;
	return true;
}

static void parse_line(struct http_parser *p, char *line)
{
	switch (p->state) {
	case HTTP_REQUEST_LINE:
		return parse_request_line(p, line);
	case HTTP_HEADER:
		return *line ? parse_header(p, line) : end_head(p);
	case HTTP_CHUNK_SIZE:
		return parse_chunk_size(p, line);
	case HTTP_CHUNK_END:
	case HTTP_LAST_CHUNK_END:
		if (*line)
			return fail(p, 400, "A chunk is longer than its size, or has a trailer.");
		p->state = p->state == HTTP_CHUNK_END ? HTTP_CHUNK_SIZE : HTTP_DONE;
		return;
	default:
		assert(!"a state without lines");
	}
}

static void end_line(struct http_parser *p)
{
	char *line = p->text + p->line;
	size_t len = p->text_len - p->line - 1;
	bool in_head = p->state <= HTTP_HEADER;

	if (!len || line[len - 1] != '\r' || !is_text(line, len - 1))
		return fail(p, 400, "A line must be text and end with CR LF.");
	line[len - 1] = 0;
	parse_line(p, line);
	/* The head stays, because its strings do; lines between chunks share one place. */
	if (in_head)
		p->line = p->text_len;
	else
		p->text_len = p->line;
}

static size_t take_line(struct http_parser *p, const char *data, size_t len)
{
	const char *end = memchr(data, '\n', len);
	bool in_head = p->state <= HTTP_HEADER;
	size_t room = in_head ? HTTP_HEAD_MAX - p->text_len
			      : HTTP_CHUNK_LINE_MAX - (p->text_len - p->line);
	size_t take = MIN(end ? (size_t)(end + 1 - data) : len, room);

	memcpy(p->text + p->text_len, data, take);
	p->text_len += take;
	if (take && p->text[p->text_len - 1] == '\n')
		end_line(p);
	else if (take == room && in_head)
		fail(p, 431, "The head of the request is larger than 16 KiB.");
	else if (take == room)
		fail(p, 400, "A line between chunks is too long.");
	return take;
}

size_t http_parse(struct http_parser *p, const void *data, size_t len)
{
	const char *bytes = data;
	size_t done = 0;

	while (done < len && p->state < HTTP_DONE) {
		if (p->state == HTTP_BODY)
			done += take_body(p, bytes + done, len - done);
		else
			done += take_line(p, bytes + done, len - done);
	}
	return done;
}

/* Answer */

bool http_query_number(const char *query, const char *key, uint64_t *value)
{
	size_t len = strlen(key);
	char *end;

	for (; *query; query += *query == '&') {
		size_t here = strcspn(query, "&");

		if (here > len && !strncmp(query, key, len) && query[len] == '=') {
			*value = strtoull(query + len + 1, &end, 10);
			return end == query + here && query[len + 1] >= '0' &&
			       query[len + 1] <= '9';
		}
		query += here;
	}
	return true;
}

size_t http_answer_head(char head[HTTP_ANSWER_HEAD_MAX], const struct http_answer *a)
{
	char body[256] = "";
	int n = 0;

	if (a->type && a->status != NO_CONTENT)
		n = snprintf(body, sizeof(body), "Content-Type: %s\r\n", a->type);
	assert(n >= 0 && (size_t)n < sizeof(body));
	if (a->status != NO_CONTENT)
		snprintf(body + n, sizeof(body) - (size_t)n, "Content-Length: %zu\r\n", a->len);
	/* No reason phrase: some clients take all up to the CR for the number. */
	n = snprintf(head, HTTP_ANSWER_HEAD_MAX, "HTTP/1.1 %d \r\n%s%s\r\n", a->status, body,
		     a->close ? "Connection: close\r\n" : "");
	assert(n > 0 && n < HTTP_ANSWER_HEAD_MAX);
	return (size_t)n;
}
