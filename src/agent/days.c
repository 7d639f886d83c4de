/* SPDX-License-Identifier: Apache-2.0 */
#include "days.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "daily.h"
#include "log.h"
#include "record.h"

enum { VMS_MAX = 4096, HOUR_S = 3600 };

static const char file[] = "days.json";

struct entry {
	struct list node;
	char vm[65];
	struct daily daily;
};

struct days {
	struct list list; /* struct entry */
	size_t n;
	int store;
	bool changed; /* since it was written */
};

static struct entry *find(const struct days *d, const char *vm)
{
	struct entry *i;

	list_for_each (i, &d->list, node)
		if (!strcmp(i->vm, vm))
			return i;
	return NULL;
}

static struct entry *find_or_add(struct days *d, const char *vm)
{
	struct entry *i = find(d, vm);

	if (i || d->n >= VMS_MAX)
		return i;
	i = calloc(1, sizeof(*i));
	if (!i)
		return NULL;
	snprintf(i->vm, sizeof(i->vm), "%s", vm);
	list_append(&d->list, &i->node);
	d->n++;
	return i;
}

static void drop(struct days *d, struct entry *i)
{
	list_remove(&i->node);
	free(i);
	d->n--;
}

static int read_all(struct days *d, const json_t *all)
{
	const char *vm;
	json_t *of;

	if (!json_is_object(all))
		return -EINVAL;
	json_object_foreach((json_t *)all, vm, of)
	{
		struct daily daily;
		int r = daily_read(&daily, of);

		if (r)
			return r;
		days_set(d, vm, &daily);
	}
	d->changed = false;
	return 0;
}

int days_new(struct days **out, int store, struct err *e)
{
	struct days *d = *out = calloc(1, sizeof(*d));
	json_auto_t *all = NULL;
	int r;

	if (!d)
		return err_set(e, -ENOMEM, "out of memory");
	list_init(&d->list);
	d->store = store;
	r = record_read(store, file, &all);
	if (r == -ENOENT)
		return 0;
	r = r ? r : read_all(d, all);
	return r ? err_set(e, r, "the agent's %s is damaged; remove it to begin anew", file) : 0;
}

void days_free(struct days *d)
{
	while (d && !list_empty(&d->list))
		drop(d, list_item(d->list.next, struct entry, node));
	free(d);
}

void days_add(struct days *d, const char *vm, uint64_t now, double cores, double seconds)
{
	struct entry *i = find_or_add(d, vm);

	if (i && daily_add(&i->daily, now, cores, seconds))
		d->changed = true;
}

const struct daily *days_of(const struct days *d, const char *vm)
{
	const struct entry *i = find(d, vm);

	return i ? &i->daily : NULL;
}

void days_set(struct days *d, const char *vm, const struct daily *daily)
{
	struct entry *i = daily ? find_or_add(d, vm) : find(d, vm);

	if (i && daily)
		i->daily = *daily;
	else if (i)
		drop(d, i);
	d->changed = true;
}

void days_keep(struct days *d, uint64_t now)
{
	json_auto_t *all = NULL;
	struct entry *i;
	int r;

	if (!d->changed)
		return;
	all = json_object();
	for (struct list *node = d->list.next; node != &d->list;) {
		i = list_item(node, struct entry, node);
		node = node->next;
		if (now / HOUR_S > i->daily.hour + DAILY_HOURS)
			drop(d, i);
		else
			json_object_set_new(all, i->vm, daily_json(&i->daily));
	}
	r = record_write(d->store, file, 0600, all);
	if (r)
		log_error("the agent's %s cannot be written: %s", file, strerror(-r));
	d->changed = false;
}
