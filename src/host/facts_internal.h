/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of facts.h, and how they read the kernel's files. */
#ifndef FACTS_INTERNAL_H
#define FACTS_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct facts_host {
	const char *root; /* before /proc and /sys */
	int kvm_fd; /* -1: kvm_error says why */
	struct err kvm_error;
};

/* Each makes one section: a new reference. */
json_t *facts_kvm(const struct facts_host *);
json_t *facts_cpu(const struct facts_host *);
json_t *facts_memory(const struct facts_host *);
json_t *facts_numa(const struct facts_host *);
json_t *facts_limits(const struct facts_host *);
json_t *facts_kernel(const struct facts_host *);
json_t *facts_network(const struct facts_host *);
json_t *facts_cgroup(const struct facts_host *);
json_t *facts_pressure(const struct facts_host *);

/* The file of this name below root: its text without the last newline, cut to len; -errno. */
int facts_read(const struct facts_host *, char *text, size_t len, const char *path, ...)
	__attribute__((format(printf, 4, 5)));

/* What begins with key in a file of many lines, without it and the blanks behind it; -errno. */
int facts_find(const struct facts_host *, char *text, size_t len, const char *path,
	       const char *key);

/* The number, or the text, that is all of a file: a new reference, or NULL. */
json_t *facts_number(const struct facts_host *, const char *path, ...)
	__attribute__((format(printf, 2, 3)));
json_t *facts_text(const struct facts_host *, const char *path, ...)
	__attribute__((format(printf, 2, 3)));

/* Strings from the words of a text: a new reference. */
json_t *facts_words(const char *text);

/* Take the next range off a list such as "0-3,8"; false at its end. */
bool facts_range(const char **list, unsigned *first, unsigned *last);

#endif
