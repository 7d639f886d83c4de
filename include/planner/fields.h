/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of a struct as fields of a JSON object: one table serves reading, writing and what-if,
 * so that they cannot disagree.  Reading is strict: a key that the table has not, one that is
 * missing though it is required, another type, and a number out of range are refused.  Writing
 * is canonical: fields in the order of the table, each number in the fewest digits that give it
 * back, and nothing of those that have their fallback, unless it is asked for.
 */
#ifndef FIELDS_H
#define FIELDS_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "err.h"
#include "model.h"

enum field_kind {
	FIELD_REAL, /* double */
	FIELD_COUNT, /* uint64_t */
	FIELD_BOOL,
	FIELD_WORD, /* unsigned: index into words */
	FIELD_NAME, /* uint32_t */
	FIELD_GROUPS, /* struct groups: array of names */
	FIELD_WINDOWS, /* struct windows: array of numbers */
	FIELD_CURVE, /* double[CURVE_POINTS] */
	FIELD_PAST, /* struct past: array of objects, described by past_fields */
};

struct field {
	const char *key;
	enum field_kind kind;
	size_t offset;
	bool required;
	double min, max; /* of numbers */
	double fallback;
	const char *const *words; /* NULL-terminated */
	const char *help;
};

struct field_table {
	const struct field *field;
	size_t n;
};

extern const struct field_table snapshot_fields, policy_fields, host_fields, vm_fields,
	flight_fields, reservation_fields, curve_fields, past_fields;

/* Everything at its fallback. */
void fields_default(const struct field_table *, void *base);
/* -EINVAL with what is wrong, as "cores must be 0.001 to 65536"; -ENOMEM. */
int fields_read(const struct field_table *, struct names *, const json_t *, void *base,
		struct err *);
/* One member from text, as what-if has it: numbers and words only. */
int fields_set(const struct field_table *, const char *key, const char *text, void *base,
	       struct err *);
/* An object.  all: also what has its fallback. */
void fields_write(const struct field_table *, const struct names *, const void *base, bool all,
		  FILE *);
/* Without the braces. */
void fields_write_members(const struct field_table *, const struct names *, const void *base,
			  bool all, FILE *);
/* The fewest digits that give v back. */
void fields_number(double v, FILE *);

#endif
