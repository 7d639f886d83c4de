/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "planner/fields.h"
#include "grow.h"
#include "planner/snapshot.h"

/* Shares are measured one after the other, so that their sum may be a bit above 1. */
static const double SLACK = 1.02;

/* One line of the file. */
struct line {
	char *text;
	size_t room;
	unsigned number;
	json_t *value; /* of its only key */
};

static void cleanup_line(struct line *l)
{
	free(l->text);
	json_decref(l->value);
}

/* line: NULL, or what is kept of a record that is not taken. */
__attribute__((format(printf, 5, 6))) static int refuse(struct snapshot *s, bool absurd,
							uint32_t host, const char *line,
							const char *fmt, ...)
{
	struct refused *r;
	va_list ap;

	if (grow(&s->refused, s->nrefused, &s->refused_room))
		return -ENOMEM;
	r = &s->refused[s->nrefused++];
	*r = (struct refused){ .absurd = absurd, .host = host };
	if (line)
		r->line = strdup(line);
	va_start(ap, fmt);
	if (vasprintf(&r->sentence, fmt, ap) < 0)
		r->sentence = NULL;
	va_end(ap);
	return r->sentence && (!line || r->line) ? 0 : -ENOMEM;
}

/* Both tables cover every name there is. */
static int cover_names(struct snapshot *s)
{
	uint32_t room = s->names.room;
	uint32_t *p;

	if (s->known >= room)
		return 0;
	p = reallocarray(s->host_of, room, sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->host_of = p;
	p = reallocarray(s->vm_of, room, sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->vm_of = p;
	for (; s->known < room; s->known++)
		s->host_of[s->known] = s->vm_of[s->known] = NOWHERE;
	return 0;
}

uint32_t snapshot_host(const struct snapshot *s, uint32_t name)
{
	return name < s->known ? s->host_of[name] : NOWHERE;
}

uint32_t snapshot_vm(const struct snapshot *s, uint32_t name)
{
	return name < s->known ? s->vm_of[name] : NOWHERE;
}

bool snapshot_is_stale(const struct snapshot *s, uint64_t at)
{
	const struct policy *p = &s->policy;

	return (double)at + p->stale_intervals * p->interval_s < (double)s->time ||
	       (double)at > (double)s->time + p->interval_s;
}

/* What is wrong with a host that has all its fields, or NULL. */
static const char *host_is_absurd(const struct host *h)
{
	if (h->reserve >= h->memory)
		return "its reserve is all of its memory";
	if (h->available > h->memory)
		return "more memory is available than it has";
	return NULL;
}

static const char *vm_is_absurd(const struct vm *v)
{
	uint32_t n = v->run.n;

	if (v->delay.n != n || (v->throttled.n && v->throttled.n != n) ||
	    (v->mem.n && v->mem.n != n) || (v->io.n && v->io.n != n))
		return "not all its measurements have as many windows";
	for (uint32_t i = 0; i < n; i++)
		if (v->run.value[i] + v->delay.value[i] +
			    (v->throttled.n ? v->throttled.value[i] : 0) >
		    SLACK)
			return "its vCPUs ran and waited for more time than there was";
	if (v->cpu_mean > (double)v->vcpus * SLACK)
		return "it used more than its vCPUs";
	if (v->resident / 2 > v->memory)
		return "it holds twice its memory";
	if (v->write_set > v->memory)
		return "it writes more memory than it has";
	return NULL;
}

/* What a refused record says of itself, as far as it can be told. */
static const char *told_name(const json_t *value, const char *key)
{
	const char *text = json_string_value(json_object_get(value, key));

	return text && name_is_valid(text) ? text : NULL;
}

static int refuse_record(struct snapshot *s, const char *what, const struct line *l,
			 const char *why)
{
	const char *id = told_name(l->value, "id");
	const char *host = strcmp(what, "VM") ? NULL : told_name(l->value, "host");
	uint32_t name = NAME_NONE;

	if (host) {
		name = names_add(&s->names, host);
		if (!name)
			return -ENOMEM;
	}
	return refuse(s, true, name, l->text, "%s %s is absurd: %s", what,
		      id ? id : "without a name", why);
}

static int read_host(struct snapshot *s, const struct line *l, struct err *e)
{
	struct host h = { 0 };
	const char *why;
	int r = fields_read(&host_fields, &s->names, l->value, &h, e);

	if (r == -EINVAL)
		return refuse_record(s, "host", l, e->text);
	if (r || cover_names(s) || grow(&s->host, s->nhost, &s->host_room))
		return -ENOMEM;
	why = s->host_of[h.name] != NOWHERE ? "there are two of it" : host_is_absurd(&h);
	if (why)
		return refuse_record(s, "host", l, why);
	s->host_of[h.name] = s->nhost;
	s->host[s->nhost++] = h;
	return 0;
}

static int read_vm(struct snapshot *s, const struct line *l, struct err *e)
{
	struct vm v = { .host = NOWHERE };
	const char *why;
	int r = fields_read(&vm_fields, &s->names, l->value, &v, e);

	if (!r && (cover_names(s) || grow(&s->vm, s->nvm, &s->vm_room)))
		r = -ENOMEM;
	if (r) {
		free(v.past.move);
		return r == -EINVAL ? refuse_record(s, "VM", l, e->text) : r;
	}
	why = s->vm_of[v.name] != NOWHERE ? "there are two of it" : vm_is_absurd(&v);
	if (why) {
		free(v.past.move);
		return refuse_record(s, "VM", l, why);
	}
	s->vm_of[v.name] = s->nvm;
	s->vm[s->nvm++] = v;
	return 0;
}

/* Of the records that need no look at their values, table and array by name. */
#define READ_PLAIN(T, what)                                                                        \
	static int read_##T(struct snapshot *s, const struct line *l, struct err *e)               \
	{                                                                                          \
		struct T record = { 0 };                                                           \
		int r = fields_read(&T##_fields, &s->names, l->value, &record, e);                 \
                                                                                                   \
		if (r == -EINVAL)                                                                  \
			return refuse_record(s, what, l, e->text);                                 \
		if (r || grow(&s->T, s->n##T, &s->T##_room))                                       \
			return -ENOMEM;                                                            \
		s->T[s->n##T++] = record;                                                          \
		return 0;                                                                          \
	}
READ_PLAIN(flight, "a flight")
READ_PLAIN(reservation, "a reservation")
READ_PLAIN(curve, "a curve")

static int read_head(struct snapshot *s, const struct line *l, struct err *e)
{
	json_int_t version = json_integer_value(json_object_get(l->value, "version"));

	if (version != SNAPSHOT_VERSION)
		return err_set(e, -EINVAL, "it is of version %" JSON_INTEGER_FORMAT ", not %d",
			       version, SNAPSHOT_VERSION);
	json_object_del(l->value, "version");
	return fields_read(&snapshot_fields, &s->names, l->value, s, e);
}

static int read_policy(struct snapshot *s, const struct line *l, struct err *e)
{
	return fields_read(&policy_fields, &s->names, l->value, &s->policy, e);
}

static int skip_plan(struct snapshot *s, const struct line *l, struct err *e)
{
	(void)s;
	(void)l;
	(void)e;
	return 0;
}

static const struct {
	const char *key;
	int (*read)(struct snapshot *, const struct line *, struct err *);
} kinds[] = {
	{ "snapshot", read_head }, { "policy", read_policy }, { "host", read_host },
	{ "vm", read_vm },         { "flight", read_flight }, { "reservation", read_reservation },
	{ "curve", read_curve },   { "plan", skip_plan },
};

static int take_line(struct snapshot *s, struct line *l, struct err *e)
{
	json_error_t why;
	json_auto_t *record = json_loads(l->text, JSON_REJECT_DUPLICATES, &why);
	void *only = json_object_iter(record);
	const char *key = only ? json_object_iter_key(only) : "";

	if (!record)
		return err_set(e, -EINVAL, "it is no JSON: %s", why.text);
	if (json_object_size(record) != 1)
		return err_set(e, -EINVAL, "it is no object with one key");
	if ((l->number == 1) != !strcmp(key, "snapshot"))
		return err_set(e, -EINVAL, "the first line, and no other, is a \"snapshot\"");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].key, key))
			continue;
		json_decref(l->value);
		l->value = json_incref(json_object_get(record, key));
		return kinds[i].read(s, l, e);
	}
	return err_set(e, -EINVAL, "\"%.64s\" is nothing that a snapshot has", key);
}

int snapshot_read(struct snapshot *s, FILE *f, struct err *e)
{
	__attribute__((cleanup(cleanup_line))) struct line l = { 0 };
	ssize_t len;
	int r;

	*s = (struct snapshot){ 0 };
	fields_default(&snapshot_fields, s);
	fields_default(&policy_fields, &s->policy);
	while ((len = getline(&l.text, &l.room, f)) > 0) {
		l.number++;
		if (l.text[len - 1] == '\n')
			l.text[len - 1] = '\0';
		r = take_line(s, &l, e);
		if (r == -ENOMEM)
			return err_set(e, r, "out of memory");
		if (r)
			return err_prefix(e, r, "line %u", l.number);
	}
	if (ferror(f))
		return err_set(e, -EIO, "it cannot be read");
	if (!l.number)
		return err_set(e, -EINVAL, "it is empty");
	return snapshot_index(s, e);
}

/* What was found by looking at the snapshot as a whole is found anew. */
static void forget_found(struct snapshot *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->nrefused; i++) {
		if (s->refused[i].line)
			s->refused[n++] = s->refused[i];
		else
			free(s->refused[i].sentence);
	}
	s->nrefused = n;
}

static int compare_names(const struct snapshot *s, uint32_t a, uint32_t b)
{
	return strcmp(names_text(&s->names, a), names_text(&s->names, b));
}

static int compare_hosts(const void *a, const void *b, void *s)
{
	return compare_names(s, ((const struct host *)a)->name, ((const struct host *)b)->name);
}

static int compare_vms(const void *a, const void *b, void *s)
{
	return compare_names(s, ((const struct vm *)a)->name, ((const struct vm *)b)->name);
}

static int compare_flights(const void *a, const void *b, void *s)
{
	return compare_names(s, ((const struct flight *)a)->vm, ((const struct flight *)b)->vm);
}

static int compare_reservations(const void *a, const void *b, void *s)
{
	const struct reservation *left = a, *right = b;
	int order = compare_names(s, left->host, right->host);

	return order ? order : compare_names(s, left->vm, right->vm);
}

static int compare_curves(const void *a, const void *b, void *s)
{
	return compare_names(s, ((const struct curve *)a)->class, ((const struct curve *)b)->class);
}

/* Most snapshots are in order already. */
static void sort(struct snapshot *s, void *array, size_t n, size_t size,
		 int (*compare)(const void *, const void *, void *))
{
	char *p = array;

	for (size_t i = 1; i < n; i++) {
		if (compare(p + (i - 1) * size, p + i * size, s) > 0) {
			qsort_r(array, n, size, compare, s);
			return;
		}
	}
}

static int find_stale(struct snapshot *s)
{
	int r = 0;

	for (uint32_t i = 0; !r && i < s->nhost; i++) {
		const struct host *h = &s->host[i];

		if (snapshot_is_stale(s, h->at))
			r = refuse(s, false, h->name, NULL,
				   "host %s is stale: last heard of at %" PRIu64,
				   names_text(&s->names, h->name), h->at);
	}
	for (uint32_t i = 0; !r && i < s->nvm; i++) {
		const struct vm *v = &s->vm[i];
		const char *name = names_text(&s->names, v->name);

		if (v->host == NOWHERE)
			r = refuse(s, true, NAME_NONE, NULL,
				   "VM %s is absurd: its host %s is not in the snapshot", name,
				   names_text(&s->names, v->host_name));
		else if (snapshot_is_stale(s, v->at))
			r = refuse(s, false, NAME_NONE, NULL,
				   "VM %s is stale: last heard of at %" PRIu64, name, v->at);
	}
	return r;
}

int snapshot_index(struct snapshot *s, struct err *e)
{
	forget_found(s);
	sort(s, s->host, s->nhost, sizeof(*s->host), compare_hosts);
	sort(s, s->vm, s->nvm, sizeof(*s->vm), compare_vms);
	sort(s, s->flight, s->nflight, sizeof(*s->flight), compare_flights);
	sort(s, s->reservation, s->nreservation, sizeof(*s->reservation), compare_reservations);
	sort(s, s->curve, s->ncurve, sizeof(*s->curve), compare_curves);
	if (cover_names(s))
		return err_set(e, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < s->nhost; i++)
		s->host_of[s->host[i].name] = i;
	for (uint32_t i = 0; i < s->nvm; i++) {
		s->vm_of[s->vm[i].name] = i;
		s->vm[i].host = snapshot_host(s, s->vm[i].host_name);
	}
	return find_stale(s) ? err_set(e, -ENOMEM, "out of memory") : 0;
}

void snapshot_free(struct snapshot *s)
{
	for (uint32_t i = 0; i < s->nvm; i++)
		free(s->vm[i].past.move);
	for (uint32_t i = 0; i < s->nrefused; i++) {
		free(s->refused[i].sentence);
		free(s->refused[i].line);
	}
	free(s->host);
	free(s->vm);
	free(s->flight);
	free(s->reservation);
	free(s->curve);
	free(s->refused);
	free(s->host_of);
	free(s->vm_of);
	names_free(&s->names);
	*s = (struct snapshot){ 0 };
}
