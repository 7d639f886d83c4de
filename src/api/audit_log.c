/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_MAX_TOLD = 256, COUNTED_MAX = 128, KEY_MAX = 96 };

/* Equal ones, after the first of them. */
struct counted {
	struct list node;
	char key[KEY_MAX];
	uint64_t until_ns;
	unsigned n;
	json_t *last; /* NULL: there was none */
};

struct audit_counters {
	_Atomic uint64_t written, failed;
};

static const struct counter audit_rows[] = {
	COUNTER(struct audit_counters, written, .metric = "godwit_audit_written",
		.help = "Lines written to the audit log."),
	COUNTER(struct audit_counters, failed, .metric = "godwit_audit_failed",
		.help = "Lines that could not be written to the audit log."),
};
const struct counter_table audit_counter_table = COUNTER_TABLE(struct audit_counters, audit_rows,
							       .is_machine = true);

int audit_log_count(const struct audit_log *l, struct counter_readings *all)
{
	struct audit_counters now = { 0 };
	struct audit_count count;

	if (!l->audit)
		return 0;
	count = audit_count(l->audit);
	now.written = count.written;
	now.failed = count.failed;
	return counters_add(all, &audit_counter_table, "audit", &now);
}

/* Oldest first, as all are kept equally long. */
static void forget_oldest(struct audit_log *l)
{
	struct counted *c = list_item(l->counted.next, struct counted, node);

	if (c->n) {
		json_object_set_new(c->last, "count", json_integer(c->n));
		audit_write(l->audit, c->last);
	}
	list_remove(&c->node);
	l->ncounted--;
	free(c);
}

static void forget_old(void *arg)
{
	struct audit_log *l = arg;
	const uint64_t now = loop_now_ns();

	while (l->ncounted) {
		const struct counted *c = list_item(l->counted.next, struct counted, node);

		if (c->until_ns > now) {
			loop_timer_set(l->loop, &l->due, c->until_ns);
			return;
		}
		forget_oldest(l);
	}
}

static struct counted *find(const struct audit_log *l, const char *key)
{
	struct counted *c;

	list_for_each (c, &l->counted, node)
		if (!strcmp(c->key, key))
			return c;
	return NULL;
}

/* The next ones like this are counted. */
static void remember(struct audit_log *l, const char *key)
{
	struct counted *c = calloc(1, sizeof(*c));

	if (!c)
		return;
	if (l->ncounted == COUNTED_MAX)
		forget_oldest(l);
	snprintf(c->key, sizeof(c->key), "%s", key);
	c->until_ns = loop_now_ns() + l->window_ns;
	list_append(&l->counted, &c->node);
	l->ncounted++;
	forget_old(l);
}

/* What is no text is not written as it came. */
static json_t *text_of(const char *text)
{
	json_t *json = json_string(text);
	char plain[PATH_MAX_TOLD + 1];
	size_t i;

	if (json)
		return json;
	for (i = 0; i < PATH_MAX_TOLD && text[i]; i++)
		plain[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	plain[i] = '\0';
	return json_string(plain);
}

static json_t *path_of(const char *path)
{
	char cut[PATH_MAX_TOLD + 1];

	snprintf(cut, sizeof(cut), "%s", path);
	return text_of(cut);
}

static json_t *line_of(const struct request *q, int status, uint64_t since_ns, const char *error)
{
	json_t *line = json_pack("{s:s, s:i, s:I, s:I}", "event", "request", "pid",
				 (int)q->peer.pid, "uid", (json_int_t)q->peer.uid, "gid",
				 (json_int_t)q->peer.gid);

	if (q->path) {
		json_object_set_new(line, "method",
				    json_string(q->method == HTTP_GET ? "GET" : "PUT"));
		json_object_set_new(line, "path", path_of(q->path));
	}
	json_object_set_new(line, "status", json_integer(status));
	if (since_ns)
		json_object_set_new(line, "duration_us",
				    json_integer((json_int_t)(loop_now_ns() - since_ns) / 1000));
	if (error)
		json_object_set_new(line, "error", text_of(error));
	return line;
}

/* Paths that nobody knows are all one, and so is whoever is not let in: a client can have many. */
static void key_of(char key[KEY_MAX], const struct request *q, const char *route, int status)
{
	if (q->path)
		snprintf(key, KEY_MAX, "%u %u %d %d %s", (unsigned)q->peer.uid,
			 (unsigned)q->peer.gid, (int)q->method, status, route ? route : "");
	else if (status == 403)
		snprintf(key, KEY_MAX, "not let in");
	else
		snprintf(key, KEY_MAX, "%u %u %d", (unsigned)q->peer.uid, (unsigned)q->peer.gid,
			 status);
}

void audit_log_request(struct audit_log *l, const struct request *q, const char *route, int status,
		       uint64_t since_ns, const char *error)
{
	struct counted *c;
	char key[KEY_MAX];
	json_t *line;

	if (!l->audit)
		return;
	line = line_of(q, status, since_ns, error);
	if (q->path && q->method == HTTP_PUT && status < 400) {
		audit_write(l->audit, line);
		return;
	}
	key_of(key, q, route, status);
	c = find(l, key);
	if (!c) {
		audit_write(l->audit, line);
		remember(l, key);
		return;
	}
	json_decref(c->last);
	c->last = line;
	c->n++;
}

void audit_log_begin(struct audit_log *l, struct loop *loop, struct audit *audit)
{
	*l = (struct audit_log){ .audit = audit,
				 .loop = loop,
				 .window_ns = 60 * UINT64_C(1000000000),
				 .due = { .expired = forget_old, .arg = l } };
	list_init(&l->counted);
}

void audit_log_end(struct audit_log *l)
{
	if (!l->audit)
		return;
	while (l->ncounted)
		forget_oldest(l);
	loop_timer_cancel(l->loop, &l->due);
}
