/* SPDX-License-Identifier: Apache-2.0 */
/* Two dumps side by side: every line by its path, such as "device serial0 uart ier". */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "dump.h"

enum { DEPTH_MAX = 32, PATH_BYTES = 1024 };

/* Where the lines of a dump belong, while they are read one after the other. */
struct place {
	char path[PATH_BYTES];
	size_t end[DEPTH_MAX + 1]; /* of the path down to this depth */
	unsigned elements[DEPTH_MAX + 1]; /* lines so far, of an array */
	bool array[DEPTH_MAX + 1]; /* its lines have no names and are numbered */
};

/* A name is one word, at the top two where there are two: "device serial0", "pages 0x1000".  How
 * many elements an array has is no part of its name. */
static size_t name_length(const char *line, size_t depth)
{
	size_t len = strcspn(line, " [");

	if (!depth && line[len])
		len += 1 + strcspn(line + len + 1, " ");
	return len;
}

/* Returns what follows the name. */
static const char *go_to(struct place *p, size_t depth, const char *line)
{
	size_t at = depth ? p->end[depth - 1] : 0, len = strlen(line), name = 0;
	char *path = p->path + at;

	if (depth && p->array[depth]) {
		snprintf(path, sizeof(p->path) - at, " %u", p->elements[depth]++);
	} else {
		name = name_length(line, depth);
		snprintf(path, sizeof(p->path) - at, "%s%.*s", depth ? " " : "", (int)name, line);
	}
	p->end[depth] = at + strlen(path);
	if (depth < DEPTH_MAX) {
		p->array[depth + 1] = len && line[len - 1] == ']';
		p->elements[depth + 1] = 0;
	}
	return line + name + (line[name] == ' ');
}

/* Path and value of every line, in order; text is used up.  NULL: out of memory. */
static json_t *read_lines(char *text)
{
	json_t *lines = json_object();
	struct place p = { 0 };
	const char *value;
	char *line;
	size_t indent;
	int r = 0;

	while (lines && !r && (line = strsep(&text, "\n"))) {
		if (!*line)
			continue;
		indent = strspn(line, " ");
		value = go_to(&p, MIN(indent / 2, (size_t)DEPTH_MAX), line + indent);
		r = json_object_set_new(lines, p.path, json_string(value));
	}
	if (r) {
		json_decref(lines);
		lines = NULL;
	}
	return lines;
}

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return len && !strncmp(path, top, len) && path[len] == ' ';
}

/* The lines of a that b has not, without what belongs to them. */
static int print_only(FILE *f, const char *name, json_t *a, const json_t *b)
{
	const char *path, *missing = "";
	json_t *value;
	int n = 0;

	json_object_foreach(a, path, value)
	{
		if (is_below(path, missing) || json_object_get(b, path))
			continue;
		missing = path;
		fprintf(f, "only in %s: %s %s\n", name, path, json_string_value(value));
		n++;
	}
	return n;
}

static int print_changed(FILE *f, json_t *a, const json_t *b)
{
	const json_t *other;
	const char *path;
	json_t *value;
	int n = 0;

	json_object_foreach(a, path, value)
	{
		other = json_object_get(b, path);
		if (!other || json_equal(value, other))
			continue;
		fprintf(f, "%s: %s | %s\n", path, json_string_value(value),
			json_string_value(other));
		n++;
	}
	return n;
}

int dump_compare(FILE *f, const char *name_a, char *text_a, const char *name_b, char *text_b)
{
	json_auto_t *a = read_lines(text_a), *b = read_lines(text_b);

	if (!a || !b)
		return -ENOMEM;
	return print_changed(f, a, b) + print_only(f, name_a, a, b) + print_only(f, name_b, b, a);
}
