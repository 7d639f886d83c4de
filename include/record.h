/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files that must be right after a crash: one line of JSON each, replaced as a whole by a
 * temporary file beside it.  What a crash leaves behind of that is never read.  What is read may
 * be damaged or made by an enemy.
 */
#ifndef RECORD_H
#define RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RECORD_GENERATION_MAX (UINT64_C(1) << 62)

/* File name of directory dir; durable when it returns; -errno.  One writer at a time. */
int record_write(int dir, const char *name, mode_t mode, const json_t *);
/* A new reference; -ENOENT: there is none; -EBADMSG: it is not what record_write() wrote. */
int record_read(int dir, const char *name, json_t **);

/* Fits into size bytes and can be shown on a terminal. */
bool record_is_text(const char *, size_t size);
bool record_is_generation(json_int_t); /* the first is 1 */

#endif
