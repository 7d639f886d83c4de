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

/* The string of that key, or "". */
const char *hello_text(const json_t *, const char *key);

#endif
