/* SPDX-License-Identifier: Apache-2.0 */
#include "state_codec.h"

#include <stdlib.h>

#include "bits.h"

/* Names are printed to terminals and in sentences: nothing but harmless characters. */
bool state_name_ok(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789_-.");

	return len > 0 && len <= STATE_NAME_MAX && !name[len];
}

uint8_t *state_buf_grow(struct state_buf *b, size_t len)
{
	size_t need, capacity;
	uint8_t *data;

	if (b->failed || __builtin_add_overflow(b->len, len, &need)) {
		b->failed = true;
		return NULL;
	}
	if (need > b->capacity) {
		capacity = MAX(need, MAX(b->capacity * 2, (size_t)256));
		data = realloc(b->data, capacity);
		if (!data) {
			b->failed = true;
			return NULL;
		}
		b->data = data;
		b->capacity = capacity;
	}
	data = b->data + b->len;
	b->len = need;
	return data;
}

void state_buf_put(struct state_buf *b, const void *data, size_t len)
{
	uint8_t *p = len ? state_buf_grow(b, len) : NULL;

	if (p)
		memcpy(p, data, len);
}

void state_buf_put_le(struct state_buf *b, unsigned size, uint64_t value)
{
	uint8_t *p = state_buf_grow(b, size);

	if (p)
		put_le(p, size, value);
}

void state_buf_put_name(struct state_buf *b, const char *name)
{
	size_t len = strlen(name);

	state_buf_put_le(b, 1, len);
	state_buf_put(b, name, len);
}

void state_buf_free(struct state_buf *b)
{
	free(b->data);
	*b = (struct state_buf){ 0 };
}

bool state_view_take(struct state_view *v, size_t len, const uint8_t **data)
{
	if (len > v->len)
		return false;
	*data = v->data;
	v->data += len;
	v->len -= len;
	return true;
}

bool state_view_take_le(struct state_view *v, unsigned size, uint64_t *value)
{
	const uint8_t *p;

	if (!state_view_take(v, size, &p))
		return false;
	*value = get_le(p, size);
	return true;
}

bool state_view_take_name(struct state_view *v, char name[STATE_NAME_MAX + 1])
{
	const uint8_t *p;
	uint64_t len;

	if (!state_view_take_le(v, 1, &len) || len == 0 || len > STATE_NAME_MAX ||
	    !state_view_take(v, len, &p))
		return false;
	memcpy(name, p, len);
	name[len] = '\0';
	return strlen(name) == len && state_name_ok(name);
}
