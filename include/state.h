/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest can notice of a device, as data: named, typed, ranged fields that code which
 * knows no device saves, loads, checks and prints.  The codec is in src/migrate/state.c.
 *
 * Rules: names and kinds are for ever; a new field gets .since = the new version; on load a
 * field may be absent only if it is newer than the stream and then keeps its value; loading
 * is all or nothing.  What a load does well without, such as when a device stopped, is .spare:
 * an older reader does not get it.  The macros take their type from the member, so a pointer or
 * an fd does not compile as state.
 */
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum state_kind {
	STATE_BOOL = 1,
	STATE_U8,
	STATE_U16,
	STATE_U32,
	STATE_U64,
	STATE_STRUCT,
};

struct state_desc;

struct state_field {
	const char *name;
	uint32_t offset, width, count; /* width: bytes of one element */
	enum state_kind kind;
	unsigned since; /* first version that has it; 0: all have it */
	uint64_t max; /* larger values are refused; 0: any */
	const struct state_desc *nested; /* of STATE_STRUCT */
	bool spare; /* left out for an older reader, whatever its value */
	bool counted; /* only the first n elements travel: n is a u32 member */
	uint32_t count_offset;
};

struct state_desc {
	const char *name;
	unsigned version, oldest; /* what is written, what is still read */
	size_t size;
	const struct state_field *field;
	size_t nfields;
};

#define STATE_MEMBER(T, m) (((T *)0)->m)
#define STATE_KIND(x)                                                                              \
	_Generic((x), bool                                                                         \
		 : STATE_BOOL, uint8_t                                                             \
		 : STATE_U8, uint16_t                                                              \
		 : STATE_U16, uint32_t                                                             \
		 : STATE_U32, uint64_t                                                             \
		 : STATE_U64)

#define STATE_COMMON(T, m) .name = #m, .offset = offsetof(T, m)
#define STATE_ELEMENTS(T, m)                                                                       \
	.width = sizeof(STATE_MEMBER(T, m)[0]),                                                    \
	.count = sizeof(STATE_MEMBER(T, m)) / sizeof(STATE_MEMBER(T, m)[0])

/* Scalar. */
#define STATE(T, m, ...)                                                                           \
	{                                                                                          \
		STATE_COMMON(T, m), .width = sizeof(STATE_MEMBER(T, m)), .count = 1,               \
				    .kind = STATE_KIND(STATE_MEMBER(T, m)), __VA_ARGS__            \
	}
/* Array of scalars. */
#define STATE_ARRAY(T, m, ...)                                                                     \
	{                                                                                          \
		STATE_COMMON(T, m), STATE_ELEMENTS(T, m),                                          \
			.kind = STATE_KIND(STATE_MEMBER(T, m)[0]), __VA_ARGS__                     \
	}
/* Array of structs; one struct is an array of one. */
#define STATE_STRUCTS(T, m, desc, ...)                                                             \
	{                                                                                          \
		STATE_COMMON(T, m), STATE_ELEMENTS(T, m), .kind = STATE_STRUCT, .nested = (desc),  \
							  __VA_ARGS__                              \
	}
/* Array of which the first n travel; n, a uint32_t member, is set on load. */
#define STATE_COUNTED(T, m, n, ...)                                                                \
	{                                                                                          \
		STATE_COMMON(T, m), STATE_ELEMENTS(T, m),                                          \
			.kind = STATE_KIND(STATE_MEMBER(T, m)[0]), .counted = true,                \
			.count_offset =                                                            \
				offsetof(T, n) +                                                   \
				0 * sizeof(char[_Generic(STATE_MEMBER(T, n), uint32_t : 1)]),      \
			__VA_ARGS__                                                                \
	}
#define STATE_COUNTED_STRUCTS(T, m, n, desc, ...)                                                  \
	{                                                                                          \
		STATE_COMMON(T, m), STATE_ELEMENTS(T, m),                                          \
			.kind = STATE_STRUCT, .nested = (desc), .counted = true,                   \
			.count_offset =                                                            \
				offsetof(T, n) +                                                   \
				0 * sizeof(char[_Generic(STATE_MEMBER(T, n), uint32_t : 1)]),      \
			__VA_ARGS__                                                                \
	}

#define STATE_DESC(T, n, v, old, fields)                                                           \
	{                                                                                          \
		.name = (n), .version = (v), .oldest = (old), .size = sizeof(T),                   \
		.field = (fields), .nfields = sizeof(fields) / sizeof((fields)[0])                 \
	}

#endif
