/* SPDX-License-Identifier: Apache-2.0 */
#include "encodings.h"

#include <string.h>

#include "bits.h"

static const struct {
	const char *name; /* written into HELLO: they never change */
	enum encoding bit;
} encodings[] = {
	{ "diff", ENCODING_DIFF },
	{ "lz4", ENCODING_LZ4 },
	{ "zstd", ENCODING_ZSTD },
};

json_t *encodings_list(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(encodings); i++)
		json_array_append_new(list, json_string(encodings[i].name));
	return list;
}

unsigned encodings_of(const json_t *hello)
{
	const json_t *list = json_object_get(hello, "encodings"), *name;
	unsigned bits = 0;
	size_t n;

	json_array_foreach(
		list, n, name) for (size_t i = 0; json_is_string(name) && i < ARRAY_SIZE(encodings);
				    i++) if (!strcmp(json_string_value(name), encodings[i].name))
		bits |= encodings[i].bit;
	return bits;
}
