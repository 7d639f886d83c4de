/* SPDX-License-Identifier: Apache-2.0 */
#include "hello.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "migration.h"
#include "section.h"

int hello_answer(struct channel *ch, const json_t *hello, struct err *e)
{
	CLEANUP(free) char *text = json_dumps(hello, JSON_COMPACT);
	struct iovec iov[2];

	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	iov[1] = (struct iovec){ text, strlen(text) };
	return section_write(ch, SECTION_HELLO, iov, 2, e);
}

int hello_begin(struct channel *ch, const json_t *hello, struct err *e)
{
	int r = section_write_magic(ch, e);

	return r ? r : hello_answer(ch, hello, e);
}

int hello_await_answer(struct channel *ch, json_t **out, struct err *e)
{
	CLEANUP(free) char *text = NULL;
	struct section s;
	size_t len;
	int r = section_begin(&s, ch, e);

	if (r)
		return r;
	len = s.left;
	if (s.type != SECTION_HELLO || len > HELLO_BYTES_MAX)
		return err_set(e, -EBADMSG, "the other side does not say who it is");
	text = malloc(len + 1);
	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	r = section_read(&s, text, len, e);
	if (!r)
		r = section_end(&s, e);
	if (r)
		return r;
	*out = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(*out))
		return 0;
	json_decref(TAKE(*out));
	return err_set(e, -EBADMSG, "what the other side says of itself is no JSON object");
}

int hello_await(struct channel *ch, json_t **out, struct err *e)
{
	int r = section_read_magic(ch, e);

	return r ? r : hello_await_answer(ch, out, e);
}

const char *hello_text(const json_t *hello, const char *key)
{
	const char *text = json_string_value(json_object_get(hello, key));

	return text ? text : "";
}

static void copy_printable(char *to, size_t size, const char *text)
{
	snprintf(to, size, "%s", text);
	for (; *to; to++)
		if ((unsigned char)*to < ' ' || (unsigned char)*to >= 0x7f)
			*to = '?';
}

void hello_copy_text(const json_t *hello, const char *key, char *to, size_t size)
{
	copy_printable(to, size, hello_text(hello, key));
}

void hello_append_sentences(const json_t *hello, const char *key, json_t *to)
{
	const json_t *sentence;
	char text[400];
	size_t i;

	json_array_foreach(json_object_get(hello, key), i, sentence)
	{
		if (!json_is_string(sentence))
			continue;
		copy_printable(text, sizeof(text), json_string_value(sentence));
		json_array_append_new(to, json_string(text));
	}
}

void hello_refuse(struct channel *ch, const char *sentence)
{
	json_auto_t *blockers = json_pack("[s]", sentence);

	hello_refuse_all(ch, blockers);
}

void hello_refuse_all(struct channel *ch, const json_t *blockers)
{
	json_auto_t *answer = NULL;
	struct err e;

	migration_refuse(blockers, &e);
	answer = json_pack("{s:s, s:O}", "refused", e.text, "blockers", blockers);
	hello_answer(ch, answer, &e);
}
