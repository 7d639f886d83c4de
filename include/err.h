/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors a person reads.  A function that can fail returns 0 or a negative errno; where a
 * person asked for the action its last parameter is a struct err that the caller owns and
 * that holds one sentence: what is wrong and what to do about it.  A function logs or
 * returns an error, never both.
 */
#ifndef ERR_H
#define ERR_H

#include <stdarg.h>

struct err {
	char text[512];
};

/*
 * Write the sentence; returns code, so that "return err_set(e, -EBUSY, ...)" reads well.  One that
 * is too long is cut.  It is UTF-8, as JSON has to be: what is not, such as a part of a character,
 * is a question mark for each byte.
 */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int err_vset(struct err *e, int code, const char *fmt, va_list)
	__attribute__((format(printf, 3, 0)));

/* Put "prefix: " before a sentence that a lower layer wrote; returns code. */
int err_prefix(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
