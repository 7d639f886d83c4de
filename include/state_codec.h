/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving, loading and printing what state.h describes.  A record is a name, a version and
 * fields that each carry name, kind, count and values, little endian, so that records can be
 * read in any order of fields and printed by a program that knows no device.
 *
 *	record: name, u16 version, u16 number of fields, fields
 *	field:  name, u8 kind, u32 count, values; the values of STATE_STRUCT are records
 *	name:   u8 length, 1 to 63 characters out of A-Z a-z 0-9 _ - .
 *
 * Records come from files and from the network and are trusted like a guest: every length is
 * checked, and an object is replaced as a whole or not at all.  Any thread; nothing is shared.
 */
#ifndef STATE_CODEC_H
#define STATE_CODEC_H

#include <stdio.h>

#include "err.h"
#include "state.h"

enum { STATE_NAME_MAX = 63, STATE_DEPTH_MAX = 8, STATE_FIELDS_MAX = 256 };

/* Bytes that grow; starts as all zero.  When memory runs out the rest is dropped and failed
 * is set: state_save() then says -ENOMEM. */
struct state_buf {
	uint8_t *data;
	size_t len, capacity;
	bool failed;
};

bool state_name_ok(const char *); /* is what the format calls a name */

uint8_t *state_buf_grow(struct state_buf *, size_t len); /* room for len more bytes, or NULL */
void state_buf_put(struct state_buf *, const void *, size_t len);
void state_buf_put_le(struct state_buf *, unsigned size, uint64_t value);
void state_buf_put_name(struct state_buf *, const char *name);
void state_buf_free(struct state_buf *);

/* Bytes that shrink from the front; take functions return false when there are too few. */
struct state_view {
	const uint8_t *data;
	size_t len;
};

bool state_view_take(struct state_view *, size_t len, const uint8_t **);
bool state_view_take_le(struct state_view *, unsigned size, uint64_t *);
/* Also false for a name with other characters than a name has. */
bool state_view_take_name(struct state_view *, char name[STATE_NAME_MAX + 1]);

/* A record, by its description's name, and the newest version of it that a reader knows. */
struct state_version {
	const char *name;
	unsigned version;
};

/* Whose state is saved, and for which reader. */
struct state_target {
	const char *device; /* its id, for sentences */
	const struct state_version *known; /* NULL: everything at its newest version */
	size_t nknown;
	const void
		*reset; /* an object as reset leaves it; NULL: no field is newer than any reader */
};

/*
 * Append the record of object.  A field that is newer than what the reader knows is left out
 * while it has its reset value or is spare, else -EPROTONOSUPPORT.  -ERANGE: a value that no load
 * would accept.  On failure nothing is appended.
 */
int state_save(const struct state_desc *, const void *object, const struct state_target *,
	       struct state_buf *, struct err *);

/* For each record of the object: the oldest version in which it could be saved. reset: as in
 * state_target.  Of arrays that are counted at least the first element is looked at. */
void state_each_record(const struct state_desc *, const void *object, const void *reset,
		       void (*each)(void *arg, const struct state_desc *, unsigned oldest),
		       void *arg);

/* Replace object by what the record says, which must fill len bytes exactly; fields that the
 * record is too old to have keep their value.  -EBADMSG: refused, object is as before. */
int state_load(const struct state_desc *, void *object, const char *device, const void *record,
	       size_t len, struct err *);

/* Print a record as text, one field a line, without any description. */
int state_print(FILE *, unsigned indent, const void *record, size_t len, struct err *);

enum state_byte { STATE_BYTE_UNCOVERED, STATE_BYTE_FIELD, STATE_BYTE_PADDING };

/*
 * For tests: what each byte of the object is; map has desc->size entries.  A gap counts as
 * padding if alignment explains it, so a small member may hide in one.
 */
void state_coverage(const struct state_desc *, enum state_byte *map);

/* For tests: refuse a description that breaks the rules of state.h. */
int state_check(const struct state_desc *, struct err *);

#endif
