/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first words on a connection of a live migration, and the answer to them: a section each, with
 * an object of JSON.  docs/migration-format.md lists its keys.  Trusted like a guest.
 */
#ifndef HELLO_H
#define HELLO_H

#include <jansson.h>

#include "channel.h"

enum { HELLO_BYTES_MAX = 1 << 20 };

/* The magic goes before it. */
int hello_begin(struct channel *, const json_t *, struct err *);
int hello_await(struct channel *, json_t **, struct err *);
int hello_answer(struct channel *, const json_t *, struct err *);
int hello_await_answer(struct channel *, json_t **, struct err *);

/* The answer that ends it: a sentence. */
void hello_refuse(struct channel *, const char *sentence);
/* For each of these reasons. */
void hello_refuse_all(struct channel *, const json_t *blockers);

/* The string of that key, or "". */
const char *hello_text(const json_t *, const char *key);
/* The same, fit to be shown on a terminal, and as much of it as there is room for. */
void hello_copy_text(const json_t *, const char *key, char *to, size_t size);
/* The strings of the array, each likewise, appended to another. */
void hello_append_sentences(const json_t *, const char *key, json_t *to);

#endif
