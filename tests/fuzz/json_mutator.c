/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For targets whose input has JSON in it: half of what libFuzzer makes up is a change to one value
 * of one object or array, which leaves it JSON, and the length of an HTTP body what is said of it.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "mutator.h"

enum { NODES_MAX = 1024, TEXT_MAX = 4096 };

/* A value and where it is: of an object by its key, of an array by its number. */
struct node {
	json_t *in;
	const char *key;
	size_t at;
	json_t *value;
};

struct nodes {
	struct node node[NODES_MAX];
	size_t n;
};

struct segment {
	size_t from, bytes;
	json_t *json;
};

static const struct node *any_node(const struct nodes *all, uint32_t *seed)
{
	return &all->node[any(seed) % all->n];
}

static void gather(struct nodes *all, json_t *in)
{
	const char *key;
	json_t *value;
	size_t at;

	json_object_foreach(in, key, value)
	{
		if (all->n == NODES_MAX)
			return;
		all->node[all->n++] = (struct node){ in, key, 0, value };
		gather(all, value);
	}
	json_array_foreach(in, at, value)
	{
		if (all->n == NODES_MAX)
			return;
		all->node[all->n++] = (struct node){ in, NULL, at, value };
		gather(all, value);
	}
}

static json_t *any_number(uint32_t *seed)
{
	static const double real[] = { 0.0, -0.0, 0.5, -1.0, 1e-9, 1e9, 1e300 };
	const json_int_t bit = (json_int_t)1 << any(seed) % 63;

	switch (any(seed) % 5) {
	case 0:
		return json_integer(any(seed) % 300);
	case 1:
		return json_integer(bit - any(seed) % 3 + 1);
	case 2:
		return json_integer(-bit);
	case 3:
		return json_integer((json_int_t)((uint64_t)any(seed) << 31 | any(seed)));
	default:
		return json_real(real[any(seed) % ARRAY_SIZE(real)]);
	}
}

static json_t *any_value(uint32_t *seed)
{
	switch (any(seed) % 8) {
	case 0:
		return json_null();
	case 1:
		return json_true();
	case 2:
		return json_false();
	case 3:
		return json_array();
	case 4:
		return json_object();
	case 5:
		return json_string("");
	default:
		return any_number(seed);
	}
}

/* NULL: what came of it is no text. */
static json_t *changed_string(const json_t *old)
{
	char text[TEXT_MAX];
	size_t len = json_string_length(old);

	if (len > sizeof(text))
		len = sizeof(text);
	memcpy(text, json_string_value(old), len);
	len = LLVMFuzzerMutate((uint8_t *)text, len, sizeof(text));
	return json_stringn(text, len);
}

static json_t *changed(const json_t *old, uint32_t *seed)
{
	const json_int_t n = json_integer_value(old);

	if (json_is_string(old))
		return changed_string(old);
	if (json_is_real(old))
		return json_real(json_real_value(old) * (any(seed) % 2 ? 2 : 0.5));
	if (!json_is_integer(old))
		return any_value(seed);
	switch (any(seed) % 4) {
	case 0:
		return json_integer(n < INT64_MAX ? n + 1 : n);
	case 1:
		return json_integer(n > INT64_MIN ? n - 1 : n);
	case 2:
		return json_integer(n / 2);
	default:
		return json_integer(n < INT64_MAX / 2 && n > INT64_MIN / 2 ? n * 2 : n);
	}
}

static int put(const struct node *n, json_t *value)
{
	return n->key ? json_object_set_new(n->in, n->key, value)
		      : json_array_set_new(n->in, n->at, value);
}

static int take(const struct node *n)
{
	return n->key ? json_object_del(n->in, n->key) : json_array_remove(n->in, n->at);
}

/* Beside n what is elsewhere, under its name there. */
static int copy_beside(const struct node *n, const struct node *other)
{
	json_t *copy = json_deep_copy(other->value);

	if (!n->key)
		return json_array_insert_new(n->in, n->at, copy);
	return json_object_set_new(n->in, other->key ? other->key : n->key, copy);
}

static bool change(json_t *json, uint32_t *seed)
{
	CLEANUP(free) struct nodes *all = calloc(1, sizeof(*all));
	const struct node *n;

	if (!all)
		abort();
	gather(all, json);
	if (!all->n)
		return false;
	n = any_node(all, seed);
	switch (any(seed) % 8) {
	case 0:
		return !take(n);
	case 1:
		return !put(n, any_value(seed));
	case 2:
		return !put(n, json_deep_copy(any_node(all, seed)->value));
	case 3:
	case 4:
		return !copy_beside(n, any_node(all, seed));
	default:
		return !put(n, changed(n->value, seed));
	}
}

/* An object or array that begins behind some byte, or the first one of that byte's line. */
static bool find(const uint8_t *data, size_t size, struct segment *out, uint32_t *seed)
{
	for (int tries = 0; size && tries < 8; tries++) {
		size_t from = any(seed) % size;
		json_error_t e;

		if (any(seed) % 2)
			while (from && data[from - 1] != '\n')
				from--;
		while (from < size && data[from] != '{' && data[from] != '[')
			from++;
		out->from = from;
		out->json = json_loadb((const char *)data + from, size - from,
				       JSON_DISABLE_EOF_CHECK, &e);
		out->bytes = (size_t)e.position;
		if (out->json)
			return true;
	}
	return false;
}

/* The digits at data[from], if there are any, say more than they did. */
static size_t count_up(uint8_t *data, size_t size, size_t max_size, size_t from, long more)
{
	char text[24];
	size_t end = from, len;
	long n = 0;

	for (; end < size && data[end] >= '0' && data[end] <= '9' && n < INT32_MAX; end++)
		n = n * 10 + data[end] - '0';
	len = (size_t)snprintf(text, sizeof(text), "%ld", n + more > 0 ? n + more : 0);
	if (end == from || size - (end - from) + len > max_size)
		return size;
	memmove(data + from + len, data + end, size - end);
	memcpy(data + from, text, len);
	return size - (end - from) + len;
}

/* The JSON that begins at body has become longer. */
static size_t set_length(uint8_t *data, size_t size, size_t max_size, size_t body, long more)
{
	static const char key[] = "Content-Length: ";
	const size_t len = sizeof(key) - 1;

	for (size_t at = body; at-- > 0;)
		if (body - at > len && !memcmp(data + at, key, len))
			return count_up(data, size, max_size, at + len, more);
	return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	uint32_t state = seed * 2654435761U | 1;
	CLEANUP(free) char *text = NULL;
	struct segment s;
	size_t len, after;

	if (any(&state) % 2 || !find(data, size, &s, &state))
		return LLVMFuzzerMutate(data, size, max_size);
	if (change(s.json, &state))
		text = json_dumps(s.json, JSON_COMPACT);
	json_decref(s.json);
	len = text ? strlen(text) : 0;
	after = size - s.from - s.bytes;
	if (!len || s.from + len + after > max_size)
		return LLVMFuzzerMutate(data, size, max_size);
	memmove(data + s.from + len, data + s.from + s.bytes, after);
	memcpy(data + s.from, text, len);
	return set_length(data, s.from + len + after, max_size, s.from, (long)len - (long)s.bytes);
}
