/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user may set, as tables.  One table serves the command line ("key=value,key=value"),
 * the JSON configuration and --help.  The JSON object is the one true form: the command line
 * is turned into it, and structs are filled from it.
 *
 * Keys are the field names of the JSON (docs/config.md).  On the command line a key of a
 * nested object is written "outer.inner=value", or has a short word in the table; sizes take
 * K, M, G, T, and booleans on|off.
 */
#ifndef OPTION_H
#define OPTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum option_kind {
	OPTION_BOOL, /* bool */
	OPTION_U8, /* uint8_t ... uint64_t: a plain number */
	OPTION_U16,
	OPTION_U32,
	OPTION_U64,
	OPTION_SIZE, /* uint64_t: bytes, or with a suffix of 1024s */
	/* uint32_t: thousandths of a number that may have a fraction; 0, or from min on */
	OPTION_FRACTION,
	OPTION_STRING, /* const char *: borrowed from the JSON; NULL: absent */
	OPTION_ENUM, /* unsigned: index into names */
	/* const json_t *: an array of numbers, borrowed from the JSON; NULL: absent */
	OPTION_NUMBERS,
	/* The same of objects of the table nested, which has two keys if it is written "[0@1]". */
	OPTION_LIST,
	OPTION_OBJECT, /* a struct inside this one, described by nested */
	OPTION_REFUSED, /* known elsewhere, not here: taken only at its fallback value */
	OPTION_ALIAS, /* on the command line, another word for the key named by alias */
};

struct option_table;

struct option {
	const char *key;
	const char *help; /* one line; NULL: not shown */
	const char *fallback; /* as a user would type it; NULL: absent unless given */
	bool required;
	enum option_kind kind;
	uint32_t offset;
	uint64_t min, max; /* of numbers; max 0: what the type holds */
	const char *const *names; /* of OPTION_ENUM, NULL-terminated, as in the JSON; matched
				   * without regard to case */
	const struct option_table *nested;
	const char *alias; /* of OPTION_ALIAS: "outer.inner", from the same table on */
};

struct option_table {
	const struct option *option;
	size_t n;
	const char *first; /* key meant by a leading value without "key=", or NULL */
};

#define OPTION_MEMBER(T, m) (((T *)0)->m)
#define OPTION_KIND(x)                                                                             \
	_Generic((x), bool: OPTION_BOOL, uint8_t: OPTION_U8, uint16_t: OPTION_U16,         \
		 uint32_t: OPTION_U32, uint64_t: OPTION_U64, const char *: OPTION_STRING)

/* A member named like its key, kind from its type: OPTION(struct blk_config, readonly, ...). */
#define OPTION(T, m, ...)                                                                          \
	{                                                                                          \
		.key = #m, .offset = offsetof(T, m), .kind = OPTION_KIND(OPTION_MEMBER(T, m)),     \
		__VA_ARGS__                                                                        \
	}
#define OPTION_SIZED(T, m, ...)                                                                    \
	{                                                                                          \
		.key = #m,                                                                         \
		.offset = offsetof(T, m) +                                                         \
			  0 * sizeof(char[_Generic(OPTION_MEMBER(T, m), uint64_t : 1)]),           \
		.kind = OPTION_SIZE, __VA_ARGS__                                                   \
	}
#define OPTION_FRACTIONAL(T, m, ...)                                                               \
	{                                                                                          \
		.key = #m,                                                                         \
		.offset = offsetof(T, m) +                                                         \
			  0 * sizeof(char[_Generic(OPTION_MEMBER(T, m), uint32_t : 1)]),           \
		.kind = OPTION_FRACTION, __VA_ARGS__                                               \
	}
#define OPTION_NAMED(T, m, list, ...)                                                              \
	{                                                                                          \
		.key = #m,                                                                         \
		.offset = offsetof(T, m) +                                                         \
			  0 * sizeof(char[_Generic(OPTION_MEMBER(T, m), unsigned : 1)]),           \
		.kind = OPTION_ENUM, .names = (list), __VA_ARGS__                                  \
	}
#define OPTION_NESTED(T, m, table, ...)                                                            \
	{                                                                                          \
		.key = #m, .offset = offsetof(T, m), .kind = OPTION_OBJECT, .nested = (table),     \
		__VA_ARGS__                                                                        \
	}
#define OPTION_NUMBERED(T, m, ...)                                                                 \
	{                                                                                          \
		.key = #m,                                                                         \
		.offset = offsetof(T, m) +                                                         \
			  0 * sizeof(char[_Generic(OPTION_MEMBER(T, m), const json_t * : 1)]),     \
		.kind = OPTION_NUMBERS, __VA_ARGS__                                                \
	}
#define OPTION_LISTED(T, m, table, ...)                                                            \
	{                                                                                          \
		.key = #m,                                                                         \
		.offset = offsetof(T, m) +                                                         \
			  0 * sizeof(char[_Generic(OPTION_MEMBER(T, m), const json_t * : 1)]),     \
		.kind = OPTION_LIST, .nested = (table), __VA_ARGS__                                \
	}
/* A short word for people where the JSON has nested objects. */
#define OPTION_SHORT(name, path, ...)                                                              \
	{                                                                                          \
		.key = (name), .kind = OPTION_ALIAS, .alias = (path), __VA_ARGS__                  \
	}
/* A key that others know and this version does not honour, unless it asks for nothing. */
#define OPTION_REFUSE(name, ...)                                                                   \
	{                                                                                          \
		.key = (name), .kind = OPTION_REFUSED, __VA_ARGS__                                 \
	}
#define OPTION_TABLE(options, ...)                                                                 \
	{                                                                                          \
		.option = (options), .n = sizeof(options) / sizeof((options)[0]), __VA_ARGS__      \
	}

/*
 * Turn "key=value,..." into *object, a new reference.  A value may be quoted with "" to hold
 * commas; those between brackets, "[0,1]", are its own.  -EINVAL: unknown key (the sentence names
 * the nearest), bad value, key given twice.
 * what: the option's name for sentences, such as "--disk".
 */
int option_parse(const struct option_table *, const char *what, const char *text, json_t **object,
		 struct err *);

/* Turn the text of one key's value into JSON, a new reference: commas are part of it.  *value
 * stays NULL where the text asks for nothing. */
int option_value(const struct option_table *, const char *what, const char *key, const char *text,
		 json_t **value, struct err *);

/* -EINVAL: object has a key that the table has not.  Elsewhere such a key is ignored. */
int option_check_keys(const struct option_table *, const char *what, const json_t *object,
		      struct err *);

/*
 * Fill the struct at base from object: given values, else fallbacks.  Values and types are
 * checked; unknown keys are ignored with a warning in the log; null counts as absent.
 * Strings are borrowed from object, or from the table.
 */
int option_load(const struct option_table *, const char *what, const json_t *object, void *base,
		struct err *);

/* The object with every default written out: a new reference.  object is one option_load()
 * took. */
json_t *option_complete(const struct option_table *, const json_t *object);

/* A key as it is written on the command line, for whoever explains it to people. */
struct option_key {
	const char *key; /* "topology.packages" */
	const char *form; /* of its value: "on|off", "Tap|Passt", "SIZE" */
	const char *help;
	const char *fallback; /* NULL: none */
	bool required;
	bool first; /* "key=" may be left out where its value comes first */
};

/* Each key of the table that is shown to people, in order; its strings last for the call. */
void option_each(const struct option_table *, void (*each)(void *arg, const struct option_key *),
		 void *arg);

/* The candidate nearest to word by edit distance, or NULL if none is near. */
const char *option_nearest(const char *word, const char *const *candidates, size_t n);

/* "2.5" to thousandths, of which it has no parts; -EINVAL. */
int option_fraction(const char *text, uint64_t *thousandths);

/* "1G" to bytes; -EINVAL. */
int option_size(const char *text, uint64_t *bytes);

#endif
