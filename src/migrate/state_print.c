/* SPDX-License-Identifier: Apache-2.0 */
#include "state_codec.h"

#include <errno.h>
#include <inttypes.h>

enum { VALUES_PER_LINE_BYTES = 32 };

static int print_record(FILE *, unsigned indent, unsigned depth, const char *where,
			struct state_view *, struct err *);

static void print_indent(FILE *f, unsigned indent)
{
	fprintf(f, "%*s", (int)indent * 2, "");
}

static int damaged(struct err *e, const char *where)
{
	return err_set(e, -EBADMSG, "%s: the record is cut short or damaged", where);
}

static unsigned width_of(uint64_t kind)
{
	switch (kind) {
	case STATE_BOOL:
	case STATE_U8:
		return 1;
	case STATE_U16:
		return 2;
	case STATE_U32:
		return 4;
	case STATE_U64:
		return 8;
	default:
		return 0;
	}
}

static void print_values(FILE *f, unsigned indent, unsigned width, uint64_t n,
			 struct state_view values)
{
	unsigned per_line = VALUES_PER_LINE_BYTES / width;
	uint64_t v;

	for (uint64_t i = 0; i < n; i++) {
		if (i % per_line == 0) {
			fputc('\n', f);
			print_indent(f, indent);
		} else {
			fputc(' ', f);
		}
		state_view_take_le(&values, width, &v);
		fprintf(f, "%0*" PRIx64, (int)width * 2, v);
	}
	fputc('\n', f);
}

static void print_scalar(FILE *f, uint64_t kind, unsigned width, struct state_view value)
{
	uint64_t v;

	state_view_take_le(&value, width, &v);
	if (kind == STATE_BOOL && v <= 1)
		fprintf(f, " %s\n", v ? "true" : "false");
	else
		fprintf(f, " %#" PRIx64 "\n", v);
}

static int print_field(FILE *f, unsigned indent, unsigned depth, struct state_view *in,
		       struct err *e)
{
	char name[STATE_NAME_MAX + 1];
	struct state_view values = { 0 };
	uint64_t kind, n;
	unsigned width;
	int r;

	if (!state_view_take_name(in, name))
		return damaged(e, "field");
	if (!state_view_take_le(in, 1, &kind) || !state_view_take_le(in, 4, &n))
		return damaged(e, name);
	print_indent(f, indent);
	if (kind == STATE_STRUCT) {
		fprintf(f, "%s[%" PRIu64 "]\n", name, n);
		for (uint64_t i = 0; i < n; i++) {
			r = print_record(f, indent + 1, depth + 1, name, in, e);
			if (r)
				return r;
		}
		return 0;
	}
	width = width_of(kind);
	values.len = n * width;
	if (!width || !state_view_take(in, values.len, &values.data))
		return damaged(e, name);
	if (n == 1) {
		fputs(name, f);
		print_scalar(f, kind, width, values);
	} else {
		fprintf(f, "%s[%" PRIu64 "]", name, n);
		print_values(f, indent + 1, width, n, values);
	}
	return 0;
}

/* where: what holds the record, for sentences. */
static int print_record(FILE *f, unsigned indent, unsigned depth, const char *where,
			struct state_view *in, struct err *e)
{
	char name[STATE_NAME_MAX + 1];
	uint64_t version, nfields;
	int r;

	if (depth > STATE_DEPTH_MAX)
		return err_set(e, -EBADMSG, "%s: records nested deeper than %d", where,
			       STATE_DEPTH_MAX);
	if (!state_view_take_name(in, name))
		return damaged(e, where);
	if (!state_view_take_le(in, 2, &version) || !state_view_take_le(in, 2, &nfields))
		return damaged(e, name);
	print_indent(f, indent);
	fprintf(f, "%s version %" PRIu64 "\n", name, version);
	while (nfields--) {
		r = print_field(f, indent + 1, depth, in, e);
		if (r)
			return r;
	}
	return 0;
}

int state_print(FILE *f, unsigned indent, const void *record, size_t len, struct err *e)
{
	struct state_view in = { record, len };
	int r = print_record(f, indent, 0, "state", &in, e);

	if (!r && in.len)
		r = err_set(e, -EBADMSG, "%zu bytes too many after the record", in.len);
	return r;
}
