/* SPDX-License-Identifier: Apache-2.0 */
#include "state_codec.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "bits.h"
#include "cleanup.h"

/* Where in an object the codec is, for sentences: "queue[3].size". */
struct place {
	const struct place *up;
	const struct state_field *field;
	uint32_t index;
};

struct path {
	char text[128];
};

static void path_append(struct path *path, const struct place *at)
{
	size_t len;

	if (at->up) {
		path_append(path, at->up);
		len = strlen(path->text);
		snprintf(path->text + len, sizeof(path->text) - len, ".");
	}
	len = strlen(path->text);
	if (at->field->count > 1)
		snprintf(path->text + len, sizeof(path->text) - len, "%s[%" PRIu32 "]",
			 at->field->name, at->index);
	else
		snprintf(path->text + len, sizeof(path->text) - len, "%s", at->field->name);
}

static struct path path_of(const struct place *at)
{
	struct path path = { "" };

	path_append(&path, at);
	return path;
}

/* Objects hold numbers as the host does, and the host is little endian. */
static uint64_t value_at(const struct state_field *f, const uint8_t *object, uint32_t i)
{
	return get_le(object + f->offset + (size_t)i * f->width, f->width);
}

static uint64_t largest(const struct state_field *f)
{
	if (f->max)
		return f->max;
	return f->kind == STATE_BOOL ? 1 : ones(f->width);
}

static uint32_t count_of(const struct state_field *f, const uint8_t *object)
{
	return f->counted ? (uint32_t)get_le(object + f->count_offset, 4) : f->count;
}

static bool same_object(const struct state_desc *, const uint8_t *a, const uint8_t *b);

static bool same_field(const struct state_field *f, const uint8_t *a, const uint8_t *b)
{
	uint32_t n = count_of(f, a);

	if (n != count_of(f, b) || n > f->count)
		return false;
	if (f->kind != STATE_STRUCT)
		return !memcmp(a + f->offset, b + f->offset, (size_t)n * f->width);
	for (uint32_t i = 0; i < n; i++) {
		size_t offset = f->offset + (size_t)i * f->width;

		if (!same_object(f->nested, a + offset, b + offset))
			return false;
	}
	return true;
}

static bool same_object(const struct state_desc *d, const uint8_t *a, const uint8_t *b)
{
	for (size_t i = 0; i < d->nfields; i++)
		if (!same_field(&d->field[i], a, b))
			return false;
	return true;
}

struct saver {
	const struct state_target *to;
	struct state_buf *out;
	struct err *e;
};

static int save_record(struct saver *, const struct state_desc *, const uint8_t *object,
		       const uint8_t *reset, const struct place *up);

/* The version to write: the newest that both sides know. */
static int agree(const struct saver *s, const struct state_desc *d, unsigned *version)
{
	unsigned known = 0;

	*version = d->version;
	if (!s->to->known)
		return 0;
	for (size_t i = 0; i < s->to->nknown; i++)
		if (!strcmp(s->to->known[i].name, d->name))
			known = s->to->known[i].version;
	*version = MIN(d->version, known);
	if (known == 0)
		return err_set(s->e, -EPROTONOSUPPORT,
			       "%s: the other side does not know \"%s\"; update it", s->to->device,
			       d->name);
	if (known < d->oldest)
		return err_set(s->e, -EPROTONOSUPPORT,
			       "%s: the other side knows \"%s\" up to version %u, older than the "
			       "%u this godwit can write; update it",
			       s->to->device, d->name, known, d->oldest);
	return 0;
}

static int save_field(struct saver *s, const struct state_field *f, const uint8_t *object,
		      const uint8_t *reset, const struct place *up)
{
	struct place at = { up, f, 0 };
	uint32_t n = count_of(f, object);
	int r;

	if (n > f->count)
		return err_set(s->e, -ERANGE,
			       "%s: %" PRIu32 " elements in field %s of %" PRIu32
			       "; this is a bug in godwit, please report it",
			       s->to->device, n, path_of(&at).text, f->count);
	state_buf_put_name(s->out, f->name);
	state_buf_put_le(s->out, 1, f->kind);
	state_buf_put_le(s->out, 4, n);
	for (; at.index < n; at.index++) {
		if (f->kind == STATE_STRUCT) {
			size_t offset = f->offset + (size_t)at.index * f->width;

			r = save_record(s, f->nested, object + offset,
					reset ? reset + offset : NULL, &at);
			if (r)
				return r;
			continue;
		}
		uint64_t v = value_at(f, object, at.index);

		if (v > largest(f))
			return err_set(s->e, -ERANGE,
				       "%s: field %s holds %" PRIu64 ", more than %" PRIu64
				       "; this is a bug in godwit, please report it",
				       s->to->device, path_of(&at).text, v, largest(f));
		state_buf_put_le(s->out, f->width, v);
	}
	return 0;
}

static int save_record(struct saver *s, const struct state_desc *d, const uint8_t *object,
		       const uint8_t *reset, const struct place *up)
{
	unsigned version, nfields = 0;
	size_t nfields_at;
	int r = agree(s, d, &version);

	if (r)
		return r;
	state_buf_put_name(s->out, d->name);
	state_buf_put_le(s->out, 2, version);
	nfields_at = s->out->len;
	state_buf_put_le(s->out, 2, 0);
	for (const struct state_field *f = d->field; f < d->field + d->nfields; f++) {
		if (f->since > version) {
			assert(f->spare || reset);
			if (f->spare || same_field(f, object, reset))
				continue;
			return err_set(s->e, -EPROTONOSUPPORT,
				       "%s: field %s is in use, and version %u of \"%s\", the "
				       "newest that the other side knows, lacks it; update it",
				       s->to->device, path_of(&(struct place){ up, f, 0 }).text,
				       version, d->name);
		}
		r = save_field(s, f, object, reset, up);
		if (r)
			return r;
		nfields++;
	}
	if (!s->out->failed)
		put_le(s->out->data + nfields_at, 2, nfields);
	return 0;
}

void state_each_record(const struct state_desc *d, const void *object, const void *reset,
		       void (*each)(void *arg, const struct state_desc *, unsigned oldest),
		       void *arg)
{
	unsigned oldest = d->oldest;

	for (const struct state_field *f = d->field; f < d->field + d->nfields; f++) {
		uint32_t n = MIN(count_of(f, object), f->count), i = 0;
		bool unused = f->since > d->oldest && reset && same_field(f, object, reset);

		if (f->since > oldest && !f->spare && !unused)
			oldest = f->since;
		/* An older reader gets nothing of such a field: it need not know its records. */
		if (f->kind != STATE_STRUCT || unused)
			continue;
		do {
			size_t offset = f->offset + (size_t)i * f->width;

			state_each_record(f->nested, (const uint8_t *)object + offset,
					  reset ? (const uint8_t *)reset + offset : NULL, each,
					  arg);
		} while (++i < n);
	}
	each(arg, d, oldest);
}

int state_save(const struct state_desc *d, const void *object, const struct state_target *to,
	       struct state_buf *out, struct err *e)
{
	struct saver s = { .to = to, .out = out, .e = e };
	size_t len = out->len;
	int r;

	r = save_record(&s, d, object, to->reset, NULL);
	if (!r && out->failed)
		r = err_set(e, -ENOMEM, "%s: out of memory for its state", to->device);
	if (r)
		out->len = len;
	return r;
}

struct loader {
	struct state_view in;
	const char *device;
	struct err *e;
};

static int load_record(struct loader *, const struct state_desc *, uint8_t *object,
		       const struct place *up);

static int truncated(const struct loader *l)
{
	return err_set(l->e, -EBADMSG, "%s: its state is cut short or damaged", l->device);
}

static int load_values(struct loader *l, struct place *at, uint8_t *object, uint32_t n)
{
	const struct state_field *f = at->field;
	uint64_t v;
	int r;

	for (; at->index < n; at->index++) {
		uint8_t *p = object + f->offset + (size_t)at->index * f->width;

		if (f->kind == STATE_STRUCT) {
			r = load_record(l, f->nested, p, at);
			if (r)
				return r;
			continue;
		}
		if (!state_view_take_le(&l->in, f->width, &v))
			return truncated(l);
		if (v > largest(f))
			return err_set(l->e, -EBADMSG,
				       "%s: field %s holds %" PRIu64 ", more than %" PRIu64,
				       l->device, path_of(at).text, v, largest(f));
		put_le(p, f->width, v);
	}
	return 0;
}

static int load_field(struct loader *l, const struct state_field *f, uint8_t *object,
		      const struct place *up)
{
	struct place at = { up, f, 0 };
	uint64_t kind, n;

	if (!state_view_take_le(&l->in, 1, &kind) || !state_view_take_le(&l->in, 4, &n))
		return truncated(l);
	if (kind != f->kind)
		return err_set(l->e, -EBADMSG, "%s: field %s is of kind %" PRIu64 ", not %u",
			       l->device, path_of(&at).text, kind, f->kind);
	if (f->counted ? n > f->count : n != f->count)
		return err_set(l->e, -EBADMSG,
			       "%s: field %s has %" PRIu64 " elements, not %s%" PRIu32, l->device,
			       path_of(&at).text, n, f->counted ? "up to " : "", f->count);
	if (f->counted)
		put_le(object + f->count_offset, 4, n);
	return load_values(l, &at, object, (uint32_t)n);
}

static const struct state_field *find(const struct state_desc *d, const char *name)
{
	for (size_t i = 0; i < d->nfields; i++)
		if (!strcmp(d->field[i].name, name))
			return &d->field[i];
	return NULL;
}

static int load_header(struct loader *l, const struct state_desc *d, uint64_t *version,
		       uint64_t *nfields)
{
	char name[STATE_NAME_MAX + 1];

	if (!state_view_take_name(&l->in, name) || !state_view_take_le(&l->in, 2, version) ||
	    !state_view_take_le(&l->in, 2, nfields))
		return truncated(l);
	if (strcmp(name, d->name))
		return err_set(l->e, -EBADMSG, "%s: state of a \"%s\" where \"%s\" belongs",
			       l->device, name, d->name);
	if (*version > d->version)
		return err_set(l->e, -EBADMSG,
			       "%s: \"%s\" is version %" PRIu64 ", written by a "
			       "newer godwit; this one reads up to %u: update it",
			       l->device, name, *version, d->version);
	if (*version < d->oldest || *version == 0)
		return err_set(l->e, -EBADMSG,
			       "%s: \"%s\" is version %" PRIu64 "; this godwit reads %u to %u",
			       l->device, name, *version, d->oldest, d->version);
	return 0;
}

static int load_fields(struct loader *l, const struct state_desc *d, uint8_t *object,
		       const struct place *up, uint64_t version, uint64_t nfields, bool *seen)
{
	char name[STATE_NAME_MAX + 1];
	const struct state_field *f;
	int r;

	while (nfields--) {
		if (!state_view_take_name(&l->in, name))
			return truncated(l);
		f = find(d, name);
		if (!f || f->since > version)
			return err_set(l->e, -EBADMSG,
				       "%s: version %" PRIu64 " of \"%s\" has no field \"%s\"",
				       l->device, version, d->name, name);
		if (seen[f - d->field])
			return err_set(l->e, -EBADMSG, "%s: field %s comes twice", l->device,
				       path_of(&(struct place){ up, f, 0 }).text);
		seen[f - d->field] = true;
		r = load_field(l, f, object, up);
		if (r)
			return r;
	}
	return 0;
}

static int load_record(struct loader *l, const struct state_desc *d, uint8_t *object,
		       const struct place *up)
{
	bool seen[STATE_FIELDS_MAX] = { false };
	uint64_t version, nfields;
	int r = load_header(l, d, &version, &nfields);

	if (!r)
		r = load_fields(l, d, object, up, version, nfields, seen);
	if (r)
		return r;
	for (const struct state_field *f = d->field; f < d->field + d->nfields; f++)
		if (!seen[f - d->field] && f->since <= version)
			return err_set(l->e, -EBADMSG, "%s: field %s is missing", l->device,
				       path_of(&(struct place){ up, f, 0 }).text);
	return 0;
}

int state_load(const struct state_desc *d, void *object, const char *device, const void *record,
	       size_t len, struct err *e)
{
	struct loader l = { .in = { record, len }, .device = device, .e = e };
	CLEANUP(free) uint8_t *copy = malloc(d->size);
	int r;

	if (!copy)
		return err_set(e, -ENOMEM, "%s: out of memory for its state", device);
	memcpy(copy, object, d->size);
	r = load_record(&l, d, copy, NULL);
	if (!r && l.in.len)
		r = err_set(e, -EBADMSG, "%s: %zu bytes too many in its state", device, l.in.len);
	if (!r)
		memcpy(object, copy, d->size);
	return r;
}
