/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "facts_internal.h"

/* A line of a meminfo file: "MemFree:   123 kB". */
static json_t *meminfo_bytes(const struct facts_host *host, const char *path, const char *key)
{
	unsigned long long kib;
	char text[64];

	if (facts_find(host, text, sizeof(text), path, key) || sscanf(text, "%llu", &kib) != 1)
		return NULL;
	return json_integer((json_int_t)(kib * KIB));
}

/* The chosen one of "always [madvise] never". */
static json_t *chosen(const struct facts_host *host, const char *path)
{
	char text[256], *word;

	if (facts_read(host, text, sizeof(text), "%s", path))
		return NULL;
	word = strchr(text, '[');
	return word ? json_stringn(word + 1, strcspn(word + 1, "]")) : NULL;
}

static json_t *overcommit(const struct facts_host *host)
{
	static const char *const modes[] = { "heuristic", "always", "never" };
	json_t *mode = facts_number(host, "/proc/sys/vm/overcommit_memory");
	json_int_t n = mode ? json_integer_value(mode) : -1;

	json_decref(mode);
	return n >= 0 && n < (json_int_t)ARRAY_SIZE(modes) ? json_string(modes[n]) : NULL;
}

/* folder: of the whole host or of one node. */
static json_t *huge_pages(const struct facts_host *host, const char *folder)
{
	json_t *sizes = json_array();
	unsigned long long kib;
	struct dirent *entry;
	char path[512];
	DIR *dir;

	snprintf(path, sizeof(path), "%s%s", host->root, folder);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		json_t *size = json_object();

		if (sscanf(entry->d_name, "hugepages-%llukB", &kib) == 1) {
			json_object_set_new(size, "page_bytes",
					    json_integer((json_int_t)(kib * KIB)));
			json_object_set_new(
				size, "total",
				facts_number(host, "%s/%s/nr_hugepages", folder, entry->d_name));
			json_object_set_new(
				size, "free",
				facts_number(host, "%s/%s/free_hugepages", folder, entry->d_name));
			json_array_append(sizes, size);
		}
		json_decref(size);
	}
	if (dir)
		closedir(dir);
	return sizes;
}

json_t *facts_memory(const struct facts_host *host)
{
	static const struct {
		const char *key, *line;
	} totals[] = {
		{ "total_bytes", "MemTotal:" },
		{ "available_bytes", "MemAvailable:" },
		{ "swap_bytes", "SwapTotal:" },
		{ "swap_free_bytes", "SwapFree:" },
	};
	json_t *memory = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		json_object_set_new(memory, totals[i].key,
				    meminfo_bytes(host, "/proc/meminfo", totals[i].line));
	json_object_set_new(memory, "overcommit", overcommit(host));
	json_object_set_new(memory, "transparent_huge_pages",
			    chosen(host, "/sys/kernel/mm/transparent_hugepage/enabled"));
	json_object_set_new(memory, "transparent_huge_pages_shared",
			    chosen(host, "/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
	json_object_set_new(memory, "huge_pages", huge_pages(host, "/sys/kernel/mm/hugepages"));
	return memory;
}

static json_t *node_bytes(const struct facts_host *host, unsigned id, const char *line)
{
	char path[64], key[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", id);
	snprintf(key, sizeof(key), "Node %u %s:", id, line);
	return meminfo_bytes(host, path, key);
}

static json_t *node_facts(const struct facts_host *host, unsigned id)
{
	json_t *node = json_object();
	char folder[80];

	snprintf(folder, sizeof(folder), "/sys/devices/system/node/node%u/hugepages", id);
	json_object_set_new(node, "id", json_integer(id));
	json_object_set_new(node, "cpus",
			    facts_text(host, "/sys/devices/system/node/node%u/cpulist", id));
	json_object_set_new(node, "total_bytes", node_bytes(host, id, "MemTotal"));
	json_object_set_new(node, "free_bytes", node_bytes(host, id, "MemFree"));
	json_object_set_new(node, "huge_pages", huge_pages(host, folder));
	return node;
}

/* Nodes may be numbered with gaps. */
json_t *facts_numa(const struct facts_host *host)
{
	json_t *numa = json_object(), *nodes = json_array();
	unsigned first, last;
	char text[256];

	if (!facts_read(host, text, sizeof(text), "/sys/devices/system/node/online"))
		for (const char *list = text; facts_range(&list, &first, &last);)
			for (; first <= last; first++)
				json_array_append_new(nodes, node_facts(host, first));
	json_object_set_new(numa, "nodes", nodes);
	return numa;
}
