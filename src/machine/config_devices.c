/* SPDX-License-Identifier: Apache-2.0 */
/* The devices that a configuration has many of: names, addresses and limits, now and later. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "classes.h"
#include "cleanup.h"
#include "config_tables.h"
#include "rate_limit.h"

/* The device makes its own struct later, and so do nodes: here their options are only checked. */
int config_check_device(const struct config_section *s, const char *what, const json_t *in,
			json_t **complete, struct err *e)
{
	CLEANUP(free)
	void *scratch = calloc(1, s->class ? s->class->size : sizeof(struct config_node));

	if (!scratch)
		return err_set(e, -ENOMEM, "configuration: out of memory");
	return config_load_object(config_section_table(s), what, in, scratch, complete, e);
}

int config_check_many(const struct config_section *s, size_t n, struct err *e)
{
	if (n <= CONFIG_MANY_MAX)
		return 0;
	return err_set(e, -EINVAL, "%s: %zu are more than any VM can have; give it fewer", s->key,
		       n);
}

/* The device of any section whose key has this value; NULL: none. */
static json_t *find_device(const struct config *c, const char *key, const char *value,
			   const struct config_section **section, size_t *index)
{
	for (size_t i = 0; i < nconfig_sections; i++) {
		json_t *devices = json_object_get(c->json, config_sections[i].key), *device;
		size_t n;

		if (!config_sections[i].many)
			continue;
		json_array_foreach(devices, n, device)
		{
			const char *text = json_string_value(json_object_get(device, key));

			*section = &config_sections[i];
			*index = n;
			if (text && !strcmp(text, value))
				return device;
		}
	}
	return NULL;
}

static bool is_taken(const struct config *c, const char *key, const char *value)
{
	const struct config_section *section;
	size_t index;

	return find_device(c, key, value, &section, &index);
}

/* "disk0" is the first of "disks", "net0" of "net", unless it has that name already. */
static void make_id(const struct config *c, const struct config_section *s, size_t place,
		    char id[32])
{
	size_t len = strlen(s->key);

	do
		snprintf(id, 32, "%.*s%zu", (int)(s->key[len - 1] == 's' ? len - 1 : len), s->key,
			 place++);
	while (is_taken(c, "id", id));
}

/* The same guest has the same addresses in every life: made from its uuid (FNV-1a, RFC 9923) and
 * the card's place. 52:54:00 is administered locally. One of the 256 is free: there are fewer
 * cards (CONFIG_MANY_MAX). */
static void make_mac(const struct config *c, size_t place, char mac[18])
{
	do {
		uint32_t hash = 2166136261u;

		for (const char *p = c->uuid; *p; p++)
			hash = (hash ^ (uint8_t)*p) * 16777619u;
		hash = (hash ^ (uint8_t)place++) * 16777619u;
		snprintf(mac, 18, "52:54:00:%02x:%02x:%02x", hash >> 16 & 0xff, hash >> 8 & 0xff,
			 hash & 0xff);
	} while (is_taken(c, "mac", mac));
}

static int check_limit(const struct config *c, const char *what, const json_t *device,
		       struct err *e)
{
	const char *group = json_string_value(json_object_get(device, "rate_limit_group"));
	const struct config_section *section = NULL;
	size_t index = 0;
	bool found = group && find_device(c, "id", group, &section, &index);

	return rate_limit_check(what, json_object_get(device, "rate_limiter_config"), group,
				found && section->class == &limit_group_class, e);
}

/* Values made here stand where given ones would, which is why the object is completed anew. */
static int finish_device(struct config *c, const struct config_section *s, size_t place,
			 struct err *e)
{
	json_t *devices = json_object_get(c->json, s->key);
	json_t *device = json_array_get(devices, place);
	char what[48], id[32], mac[18];
	int rc;

	snprintf(what, sizeof(what), "%s[%zu]", s->key, place);
	rc = check_limit(c, what, device, e);
	if (rc)
		return rc;
	if (!json_object_get(device, "id")) {
		make_id(c, s, place, id);
		rc = json_object_set_new(device, "id", json_string(id));
	}
	if (!rc && s->class == &virtio_net_class && !json_object_get(device, "mac")) {
		make_mac(c, place, mac);
		rc = json_object_set_new(device, "mac", json_string(mac));
	}
	if (!rc)
		rc = json_array_set_new(devices, place, option_complete(s->class->options, device));
	return rc ? err_set(e, -ENOMEM, "configuration: out of memory") : 0;
}

int config_finish_devices(struct config *c, const struct config_section *s, struct err *e)
{
	size_t n = json_array_size(json_object_get(c->json, s->key));
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++)
		rc = finish_device(c, s, i, e);
	return rc;
}

int config_add(struct config *c, const char *key, const json_t *in, const int *fd, unsigned nfds,
	       const json_t **added, struct err *e)
{
	const struct config_section *s = config_find_section(key);
	json_t *devices = json_object_get(c->json, key), *complete = NULL;
	const char *id = json_string_value(json_object_get(in, "id"));
	size_t place = json_array_size(devices);
	json_auto_t *card = NULL;
	int rc;

	if (id && is_taken(c, "id", id))
		return err_set(e, -EEXIST, "there is a device \"%.64s\" already", id);
	rc = config_check_many(s, place + 1, e);
	if (!rc && nfds)
		rc = config_files_check(in, fd, nfds, &card, e);
	if (!rc)
		rc = config_check_device(s, key, card ? card : in, &complete, e);
	if (!rc && json_array_append(devices, complete))
		rc = err_set(e, -ENOMEM, "configuration: out of memory");
	json_decref(complete);
	if (rc)
		return rc;
	rc = finish_device(c, s, place, e);
	id = json_string_value(json_object_get(json_array_get(devices, place), "id"));
	if (!rc && nfds)
		rc = config_files_take(c, id, fd, nfds, e);
	if (rc)
		json_array_remove(devices, place);
	else
		*added = json_array_get(devices, place);
	return rc;
}

bool config_remove(struct config *c, const char *id)
{
	const struct config_section *s;
	size_t index;

	if (!find_device(c, "id", id, &s, &index) || !s->hotplug)
		return false;
	config_files_drop(c, id);
	return !json_array_remove(json_object_get(c->json, s->key), index);
}

const json_t *config_device(const struct config *c, const char *id, const struct config_section **s)
{
	size_t index;
	const json_t *device = find_device(c, "id", id, s, &index);

	if (device)
		return device;
	/* A section of one device has its name. */
	*s = config_find_section(id);
	return *s && (*s)->class && !(*s)->many ? json_object_get(c->json, id) : NULL;
}

static bool has_limits(const struct option_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->option[i].key, "rate_limiter_config"))
			return true;
	return false;
}

/* *complete: the device with these limits instead of its own. */
static int limit_device(const struct config_section *s, const char *id, const json_t *device,
			const json_t *limits, json_t **complete, struct err *e)
{
	const char *group = json_string_value(json_object_get(device, "rate_limit_group"));
	json_auto_t *changed = json_copy((json_t *)device);

	if (group)
		return err_set(e, -EINVAL, "%s: it has the limits of group %s; change those", id,
			       group);
	if (!limits)
		json_object_del(changed, "rate_limiter_config");
	else if (json_object_set(changed, "rate_limiter_config", (json_t *)limits))
		return err_set(e, -ENOMEM, "configuration: out of memory");
	return config_check_device(s, id, changed, complete, e);
}

int config_set_limits(struct config *c, const char *id, const json_t *limits,
		      struct limiter_config *now, struct err *e)
{
	const struct config_section *s;
	json_auto_t *complete = NULL;
	const json_t *device = config_device(c, id, &s);
	size_t index;
	int rc;

	if (!device)
		return err_set(e, -ENOENT, "there is no device \"%.64s\"", id);
	if (!has_limits(config_section_table(s)))
		return err_set(e, -ENOTSUP,
			       "%s: only disks, network cards and rate limit groups have limits",
			       id);
	rc = limit_device(s, id, device, limits, &complete, e);
	if (rc)
		return rc;
	*now = (struct limiter_config){ 0 };
	limits = json_object_get(complete, "rate_limiter_config");
	rc = limits ? option_load(&rate_limit_config_options, id, limits, now, e) : 0;
	find_device(c, "id", id, &s, &index);
	if (!rc && json_array_set(json_object_get(c->json, s->key), index, complete))
		rc = err_set(e, -ENOMEM, "configuration: out of memory");
	return rc;
}

static int check_balloon(const struct config *c, const json_t *balloon, uint64_t bytes,
			 struct err *e)
{
	if (bytes > c->memory.size)
		return err_set(e, -EINVAL,
			       "balloon: its %llu MiB are more than the guest's memory, which has "
			       "%llu MiB",
			       (unsigned long long)(bytes / MIB),
			       (unsigned long long)(c->memory.size / MIB));
	/* What is given back may be gone when the guest touches it, which ends the VM: with a size
	 * somebody has decided that. */
	if (c->memory.hugepages && json_is_true(json_object_get(balloon, "free_page_reporting")))
		return err_set(e, -EINVAL,
			       "balloon: free_page_reporting does not go with hugepages: the host "
			       "keeps none of them for a guest that wants them back");
	return 0;
}

static uint64_t balloon_size(const json_t *balloon)
{
	return (uint64_t)json_integer_value(json_object_get(balloon, "size"));
}

int config_check_balloon(struct config *c, struct err *e)
{
	const json_t *balloon = json_object_get(c->json, "balloon");

	c->balloon_size = balloon_size(balloon);
	return check_balloon(c, balloon, c->balloon_size, e);
}

int config_set_balloon(struct config *c, uint64_t bytes, struct err *e)
{
	json_t *balloon = json_object_get(c->json, "balloon");
	int rc;

	if (!balloon)
		return err_set(e, -ENOENT,
			       "the VM has no balloon; one is made with it, as with "
			       "--balloon size=0");
	rc = check_balloon(c, balloon, bytes, e);
	if (!rc && json_object_set_new(balloon, "size", json_integer((json_int_t)bytes)))
		rc = err_set(e, -ENOMEM, "configuration: out of memory");
	if (!rc)
		c->balloon_size = bytes;
	return rc;
}

static int set_plugged(struct config *c, uint64_t bytes, struct err *e)
{
	json_t *memory = json_object_get(c->json, "memory");

	if (json_object_set_new(memory, "hotplugged_size", json_integer((json_int_t)bytes)))
		return err_set(e, -ENOMEM, "configuration: out of memory");
	c->memory.hotplugged_size = bytes;
	return 0;
}

int config_set_memory(struct config *c, uint64_t bytes, struct err *e)
{
	uint64_t size = c->memory.size, most = size + c->memory.hotplug_size, ballooned;
	int rc = 0;

	bytes = align_up(MIN(bytes, UINT64_MAX - GUEST_PAGE_BYTES), GUEST_PAGE_BYTES);
	ballooned = size - MIN(bytes, size);
	if (!bytes || bytes > most)
		return err_set(e, -EINVAL,
			       "memory: the guest can have up to %llu MiB, which are size and "
			       "hotplug_size, not %llu MiB",
			       (unsigned long long)(most / MIB), (unsigned long long)(bytes / MIB));
	if (bytes > size)
		rc = config_check_host_memory(&c->memory, bytes, e);
	if (!rc && ballooned != c->balloon_size)
		rc = config_set_balloon(c, ballooned, e);
	if (!rc && c->memory.hotplug_size)
		rc = set_plugged(c, bytes - MIN(bytes, size), e);
	return rc;
}
