/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of hosts, VMs, groups and classes as numbers, so that the rest compares and indexes
 * instead of comparing text.  A name has 1 to 64 letters, digits, dots, dashes and underscores;
 * it needs no quoting anywhere.  NAME_NONE is no name.
 */
#ifndef NAMES_H
#define NAMES_H

#include <stdbool.h>
#include <stdint.h>

enum { NAME_NONE = 0, NAME_BYTES = 64 };

struct names {
	char **text; /* of each number; text[NAME_NONE] is "" */
	uint32_t n, room;
	uint32_t *slot; /* hash table of numbers; nslots is a power of two */
	uint32_t nslots;
};

bool name_is_valid(const char *text);
/* The number of a valid name, a new one if need be; NAME_NONE: out of memory. */
uint32_t names_add(struct names *, const char *text);
/* NAME_NONE: there is no such name. */
uint32_t names_find(const struct names *, const char *text);
const char *names_text(const struct names *, uint32_t name);
void names_free(struct names *);

#endif
