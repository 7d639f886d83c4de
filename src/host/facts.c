/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "facts.h"
#include "facts_internal.h"
#include "kvm.h"

static const struct {
	const char *name;
	json_t *(*collect)(const struct facts_host *);
} sections[] = {
	{ "kvm", facts_kvm },         { "cpu", facts_cpu },       { "memory", facts_memory },
	{ "numa", facts_numa },       { "limits", facts_limits }, { "kernel", facts_kernel },
	{ "network", facts_network }, { "cgroup", facts_cgroup }, { "pressure", facts_pressure },
};

json_t *facts_collect(const char *root)
{
	struct facts_host host = { .root = root, .kvm_fd = -1 };
	json_t *all = json_object();

	kvm_open_unchecked(&host.kvm_fd, &host.kvm_error);
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		json_object_set_new(all, sections[i].name, sections[i].collect(&host));
	cleanup_fd(&host.kvm_fd);
	return all;
}

json_t *facts_section(const char *root, const char *name)
{
	const struct facts_host host = { .root = root, .kvm_fd = -1 };

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		if (!strcmp(sections[i].name, name))
			return sections[i].collect(&host);
	return NULL;
}

static FILE *open_file(const struct facts_host *host, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s", host->root, name);
	return fopen(path, "re");
}

static int read_text(const struct facts_host *host, char *text, size_t len, const char *fmt,
		     va_list ap)
{
	CLEANUP(file) FILE *f = NULL;
	char name[256];
	size_t n;

	vsnprintf(name, sizeof(name), fmt, ap);
	f = open_file(host, name);
	if (!f)
		return -errno;
	n = fread(text, 1, len - 1, f);
	if (ferror(f))
		return -errno;
	while (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return 0;
}

int facts_read(const struct facts_host *host, char *text, size_t len, const char *path, ...)
{
	va_list ap;
	int rc;

	va_start(ap, path);
	rc = read_text(host, text, len, path, ap);
	va_end(ap);
	return rc;
}

int facts_find(const struct facts_host *host, char *text, size_t len, const char *path,
	       const char *key)
{
	CLEANUP(file) FILE *f = open_file(host, path);
	CLEANUP(free) char *line = NULL;
	size_t size = 0;

	if (!f)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		const char *value = line + strlen(key);

		if (strncmp(line, key, strlen(key)))
			continue;
		value += strspn(value, " \t");
		snprintf(text, len, "%.*s", (int)strcspn(value, "\n"), value);
		return 0;
	}
	return -ENOENT;
}

json_t *facts_number(const struct facts_host *host, const char *path, ...)
{
	unsigned long long number;
	char text[64];
	va_list ap;
	int rc;

	va_start(ap, path);
	rc = read_text(host, text, sizeof(text), path, ap);
	va_end(ap);
	if (rc || sscanf(text, "%llu", &number) != 1)
		return NULL;
	return json_integer((json_int_t)number);
}

json_t *facts_text(const struct facts_host *host, const char *path, ...)
{
	char text[256];
	va_list ap;
	int rc;

	va_start(ap, path);
	rc = read_text(host, text, sizeof(text), path, ap);
	va_end(ap);
	return rc ? NULL : json_string(text);
}

json_t *facts_words(const char *text)
{
	json_t *words = json_array();

	while (*(text += strspn(text, " \t\n"))) {
		size_t len = strcspn(text, " \t\n");

		json_array_append_new(words, json_stringn(text, len));
		text += len;
	}
	return words;
}

bool facts_range(const char **list, unsigned *first, unsigned *last)
{
	int used;

	if (sscanf(*list, "%u%n", first, &used) != 1)
		return false;
	*list += used;
	*last = *first;
	if (sscanf(*list, "-%u%n", last, &used) == 1)
		*list += used;
	*list += **list == ',';
	return true;
}
