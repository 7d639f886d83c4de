/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of a value in help, "serial|console" or "PATH|fd=N": words parted by |, of which
 * those in capitals stand for something else and the others are meant as they are.
 */
#ifndef FORM_H
#define FORM_H

#include <stdbool.h>
#include <stddef.h>

/* The part of word i that is typed as it is: of "fd=N" it is "fd=", of "PATH" nothing.  NULL:
 * there is no such word. */
const char *form_literal(const char *form, unsigned i, size_t *len);
/* Every word is meant as it is. */
bool form_is_choice(const char *form);
/* Of a choice. */
bool form_has(const char *form, const char *word);

#endif
