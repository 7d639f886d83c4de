/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "loop.h"

enum { ROOM_MIN = 4096, NS_PER_MS = 1000000 };

int wire_write(struct wire *w, const json_t *message, unsigned limit_ms, struct err *e)
{
	CLEANUP(free) char *text = json_dumps(message, JSON_COMPACT | JSON_ENSURE_ASCII);
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	if (len >= WIRE_BYTES_MAX)
		return err_set(e, -EMSGSIZE, "a message of %zu bytes is too long to send", len);
	text[len] = '\n'; /* in place of the NUL */
	w->ch.silence_ms = limit_ms;
	return channel_write(&w->ch, &(struct iovec){ text, len + 1 }, 1, e);
}

static int make_room(struct wire *w, struct err *e)
{
	size_t room = MIN(MAX(2 * w->room, (size_t)ROOM_MIN), (size_t)WIRE_BYTES_MAX);
	char *more;

	if (w->len < w->room)
		return 0;
	if (w->room == WIRE_BYTES_MAX)
		return err_set(e, -EMSGSIZE, "it sends a message of more than %d bytes",
			       WIRE_BYTES_MAX);
	more = realloc(w->text, room);
	if (!more)
		return err_set(e, -ENOMEM, "out of memory");
	w->text = more;
	w->room = room;
	return 0;
}

/* end_ns 0: for ever. */
static int read_more(struct wire *w, uint64_t end_ns, struct err *e)
{
	uint64_t now_ns = loop_now_ns();
	int r = make_room(w, e);
	size_t n = 0;

	if (r)
		return r;
	if (end_ns && now_ns >= end_ns)
		return err_set(e, -ENOTCONN, "the other side takes too long");
	w->ch.silence_ms = end_ns ? (unsigned)((end_ns - now_ns) / NS_PER_MS) + 1 : 0;
	r = channel_read_some(&w->ch, w->text + w->len, w->room - w->len, &n, e);
	w->len += n;
	return r;
}

/* Of the first line, or NULL: it is not all there. */
static const char *end_of_line(struct wire *w)
{
	const char *end = w->len ? memchr(w->text + w->seen, '\n', w->len - w->seen) : NULL;

	w->seen = end ? 0 : w->len;
	return end;
}

/* Before it is parsed: that takes as much stack as it is deep. */
static bool is_too_deep(const char *text, size_t len)
{
	bool quoted = false;
	size_t depth = 0;

	for (size_t i = 0; i < len; i++) {
		if (quoted && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			quoted = !quoted;
		else if (!quoted && (text[i] == '{' || text[i] == '['))
			depth++;
		else if (!quoted && (text[i] == '}' || text[i] == ']'))
			depth -= depth > 0;
		if (depth > WIRE_DEPTH_MAX)
			return true;
	}
	return false;
}

static int parse(const char *text, size_t len, json_t **out, struct err *e)
{
	json_auto_t *json = NULL;

	if (is_too_deep(text, len))
		return err_set(e, -EPROTO, "it sends a message that is nested too deeply");
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(json))
		return err_set(e, -EPROTO, "it sends what is no message of an agent");
	*out = TAKE(json);
	return 0;
}

int wire_read(struct wire *w, unsigned limit_ms, json_t **out, struct err *e)
{
	uint64_t end_ns = limit_ms ? loop_now_ns() + (uint64_t)limit_ms * NS_PER_MS : 0;
	const char *end;
	size_t len;
	int r = 0;

	while (!(end = end_of_line(w)) && !r)
		r = read_more(w, end_ns, e);
	if (r)
		return r;
	len = (size_t)(end - w->text);
	r = parse(w->text, len, out, e);
	w->len -= len + 1;
	memmove(w->text, end + 1, w->len);
	return r;
}

void wire_close(struct wire *w)
{
	channel_close(&w->ch);
	free(w->text);
	w->text = NULL;
	w->len = w->room = w->seen = 0;
}
