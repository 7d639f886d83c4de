/* SPDX-License-Identifier: Apache-2.0 */
/* What tests ask of the descriptions themselves. */
#include "state_codec.h"

#include <errno.h>
#include <stdlib.h>

#include "bits.h"
#include "cleanup.h"

static size_t align_of(const struct state_desc *d);

static size_t field_align(const struct state_field *f)
{
	return f->kind == STATE_STRUCT ? align_of(f->nested) : f->width;
}

static size_t align_of(const struct state_desc *d)
{
	size_t align = 1;

	for (size_t i = 0; i < d->nfields; i++) {
		align = MAX(align, field_align(&d->field[i]));
		if (d->field[i].counted)
			align = MAX(align, sizeof(uint32_t));
	}
	return align;
}

static void cover_field(const struct state_field *f, enum state_byte *map)
{
	for (uint32_t i = 0; i < f->count; i++) {
		enum state_byte *p = map + f->offset + (size_t)i * f->width;

		if (f->kind == STATE_STRUCT) {
			state_coverage(f->nested, p);
			continue;
		}
		for (uint32_t k = 0; k < f->width; k++)
			p[k] = STATE_BYTE_FIELD;
	}
	for (uint32_t k = 0; f->counted && k < sizeof(uint32_t); k++)
		map[f->count_offset + k] = STATE_BYTE_FIELD;
}

/* Alignment of whatever begins at this offset. */
static size_t align_at(const struct state_desc *d, size_t offset)
{
	if (offset == d->size)
		return align_of(d);
	for (size_t i = 0; i < d->nfields; i++) {
		if (d->field[i].offset == offset)
			return field_align(&d->field[i]);
		if (d->field[i].counted && d->field[i].count_offset == offset)
			return sizeof(uint32_t);
	}
	return 1;
}

void state_coverage(const struct state_desc *d, enum state_byte *map)
{
	size_t begin = 0;

	for (size_t i = 0; i < d->size; i++)
		map[i] = STATE_BYTE_UNCOVERED;
	for (size_t i = 0; i < d->nfields; i++)
		cover_field(&d->field[i], map);
	for (size_t end; begin < d->size; begin = end) {
		for (end = begin + 1; end < d->size && map[end] == map[begin]; end++)
			;
		if (map[begin] == STATE_BYTE_UNCOVERED && align_up(begin, align_at(d, end)) == end)
			for (size_t i = begin; i < end; i++)
				map[i] = STATE_BYTE_PADDING;
	}
}

static uint32_t width_of(const struct state_field *f)
{
	static const uint8_t widths[] = {
		[STATE_BOOL] = 1, [STATE_U8] = 1, [STATE_U16] = 2, [STATE_U32] = 4, [STATE_U64] = 8
	};

	if (f->kind == STATE_STRUCT)
		return (uint32_t)f->nested->size;
	return f->kind < ARRAY_SIZE(widths) ? widths[f->kind] : 0;
}

/* Claim [offset, offset + len) of the object for one field. */
static bool occupy(bool *taken, size_t size, size_t offset, size_t len)
{
	if (offset > size || len > size - offset)
		return false;
	for (size_t i = offset; i < offset + len; i++) {
		if (taken[i])
			return false;
		taken[i] = true;
	}
	return true;
}

static int check_desc(const struct state_desc *, unsigned depth, struct err *);

static int check_field(const struct state_desc *d, const struct state_field *f, bool *taken,
		       unsigned depth, struct err *e)
{
	if (!state_name_ok(f->name))
		return err_set(e, -EINVAL, "%s: bad field name \"%s\"", d->name, f->name);
	for (const struct state_field *o = d->field; o < f; o++)
		if (!strcmp(o->name, f->name))
			return err_set(e, -EINVAL, "%s: two fields \"%s\"", d->name, f->name);
	if (f->count == 0 || f->width == 0 || f->width != width_of(f))
		return err_set(e, -EINVAL, "%s.%s: width %u does not fit its kind", d->name,
			       f->name, f->width);
	if (!occupy(taken, d->size, f->offset, (size_t)f->width * f->count) ||
	    (f->counted && !occupy(taken, d->size, f->count_offset, sizeof(uint32_t))))
		return err_set(e, -EINVAL, "%s.%s: overlaps another field or the end", d->name,
			       f->name);
	if (f->since > d->version)
		return err_set(e, -EINVAL, "%s.%s: newer than version %u", d->name, f->name,
			       d->version);
	return f->kind == STATE_STRUCT ? check_desc(f->nested, depth + 1, e) : 0;
}

static int check_desc(const struct state_desc *d, unsigned depth, struct err *e)
{
	CLEANUP(free) bool *taken = calloc(d->size, sizeof(*taken));
	int r;

	if (!taken)
		return err_set(e, -ENOMEM, "%s: out of memory", d->name);
	if (!state_name_ok(d->name) || depth > STATE_DEPTH_MAX || d->nfields > STATE_FIELDS_MAX)
		return err_set(e, -EINVAL, "%s: bad name, or too deep or too many fields", d->name);
	if (d->oldest == 0 || d->oldest > d->version || d->version > UINT16_MAX)
		return err_set(e, -EINVAL, "%s: versions %u to %u make no sense", d->name,
			       d->oldest, d->version);
	for (const struct state_field *f = d->field; f < d->field + d->nfields; f++) {
		r = check_field(d, f, taken, depth, e);
		if (r)
			return r;
	}
	return 0;
}

int state_check(const struct state_desc *d, struct err *e)
{
	return check_desc(d, 0, e);
}
