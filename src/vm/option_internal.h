/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the option module share; everyone else uses option.h. */
#ifndef OPTION_INTERNAL_H
#define OPTION_INTERNAL_H

#include "option.h"

/* Check one JSON value.  *normal is how a complete object writes it: a new reference, or NULL
 * where nothing is written. */
int option_normalise(const struct option *, const char *what, const json_t *, json_t **normal,
		     struct err *);

/* The same for what a user typed. */
int option_from_text(const struct option *, const char *what, const char *text, json_t **normal,
		     struct err *);

/* "WHAT: KEY must be ..., not SHOWN"; typed: in the words of the command line, else of JSON. */
int option_refuse_value(const struct option *, const char *what, const char *shown, bool typed,
			struct err *);

/* The sentence for a key that the table does not have, with the nearest one. */
int option_unknown_key(const struct option_table *, const char *what, const char *key,
		       struct err *);

/* The nearest key that may be set, or NULL. */
const char *option_nearest_key(const struct option_table *, const char *key);

const struct option *option_find(const struct option_table *, const char *key, size_t len);

/* The option itself, or the one in its table t that it is another word for. */
const struct option *option_meant(const struct option_table *t, const struct option *);

/* Largest value that may be stored: JSON integers are signed. */
uint64_t option_max(const struct option *);

/* "16M" for 16 MiB; bytes where no suffix fits exactly. */
void option_print_size(char *buf, size_t len, uint64_t bytes);

/* option_list.c: of OPTION_NUMBERS and OPTION_LIST. */
/* -EINVAL without a sentence: the text is not of that form. */
int option_list_from_text(const struct option *, const char *text, json_t **raw);
int option_list_check(const struct option *, const char *what, const json_t *, struct err *);
const char *option_list_example(const struct option *);
/* Up to the first comma that is in no brackets; 0: one is not closed. */
size_t option_list_bytes(const char *text);

static inline bool option_is_list(const struct option *o)
{
	return o->kind == OPTION_NUMBERS || o->kind == OPTION_LIST;
}

#endif
