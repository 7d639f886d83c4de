/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An input that is a program: a byte of options, then actions.  An action is one byte that says
 * which, and the fields that it has, in the order of enum field; what is beyond the end of the
 * input is 0.  That all lengths can be told without running it lets actions_mutator.c change
 * one action and leave the others what they are.
 */
#ifndef ACTIONS_H
#define ACTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "bits.h"

enum field {
	A = 1, /* a byte, as B */
	B = 2,
	OFFSET = 4, /* two bytes, little endian */
	VALUE = 8, /* eight bytes, little endian */
	BYTES = 16, /* two bytes that say how many, modulo ACTION_BYTES_MAX + 1, and those */
};

enum { ACTION_BYTES_MAX = 1024 };

struct action {
	unsigned what;
	uint8_t a, b;
	uint16_t offset;
	uint64_t value;
	const uint8_t *bytes;
	size_t nbytes;
};

/* Of each action, which fields it has; the target's own. */
extern const uint8_t action_fields[];
extern const unsigned nactions;

static inline uint64_t action_number(const uint8_t **at, const uint8_t *end, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && *at < end; i++)
		value |= (uint64_t) * (*at)++ << 8 * i;
	return value;
}

/* The action at *at, which becomes where the next one is; *at < end. */
static inline struct action action_take(const uint8_t **at, const uint8_t *end)
{
	struct action action = { .what = (unsigned)action_number(at, end, 1) % nactions };
	const unsigned has = action_fields[action.what];

	if (has & A)
		action.a = (uint8_t)action_number(at, end, 1);
	if (has & B)
		action.b = (uint8_t)action_number(at, end, 1);
	if (has & OFFSET)
		action.offset = (uint16_t)action_number(at, end, 2);
	if (has & VALUE)
		action.value = action_number(at, end, 8);
	if (has & BYTES) {
		action.nbytes = action_number(at, end, 2) % (ACTION_BYTES_MAX + 1);
		action.nbytes = MIN(action.nbytes, (size_t)(end - *at));
		action.bytes = *at;
		*at += action.nbytes;
	}
	return action;
}

#endif
