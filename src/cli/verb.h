/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A verb of the command as data: what it takes and what it is for.  Parsing, "--help", the
 * manual pages and the completion of shells come from here, so that they cannot disagree.
 */
#ifndef VERB_H
#define VERB_H

#include <stddef.h>

struct config_section;
struct option_table;

enum { VERB_OPTIONS_MAX = 10, VERB_EXAMPLES_MAX = 3, VERB_STATUSES = 3 };

struct verb_option {
	const char *name; /* "--json" */
	const char *form; /* of its value (form.h); NULL: it takes none */
	const char *help;
};

struct verb_example {
	const char *command;
	const char *does;
};

/* What a person wants when looking for the verb. */
enum verb_group {
	VERB_LOOK,
	VERB_START,
	VERB_LIFE,
	VERB_MOVE,
	VERB_DEVICES,
	VERB_HOST,
	VERB_HIDDEN
};

struct verb_args {
	const char *value[VERB_OPTIONS_MAX]; /* as the verb's options; "" of one without value,
					      * NULL: not given */
	char **rest;
	int nrest;
};

struct verb {
	const char *name;
	const char *rest; /* "NAME...": what follows the options; in [ ] it may be missing */
	const char *help; /* after the name in a list */
	enum verb_group group;
	const char *about; /* whole sentences, a line feed after each paragraph but the last;
			    * NULL: help says it all */
	const char *status[VERB_STATUSES]; /* what its exit status means; NULL: as for all */
	struct verb_example examples[VERB_EXAMPLES_MAX];
	struct verb_option options[VERB_OPTIONS_MAX];
	const struct option_table *(*keys)(void); /* of KEY=VALUE in rest */
	int (*run)(const struct verb *, const struct verb_args *); /* the exit status */
	/* Instead of run and options, for one whose options are not known here. */
	int (*main)(const struct verb *, int argc, char **argv);
	void (*each_option)(void (*)(void *arg, const struct verb_option *,
				     const struct config_section *),
			    void *arg);
};

extern const struct verb verbs[];
extern const size_t nverbs;
extern const struct verb verb_program; /* the command before any verb */

/* The groups in the order in which people are shown them. */
struct verb_heading {
	enum verb_group group;
	const char *title;
};

extern const struct verb_heading verb_headings[];
extern const size_t nverb_headings;

const struct verb *verb_named(const char *name); /* NULL: none is */
/* Says so, with the nearest that is; returns the exit status. */
int verb_refuse_unknown(const char *name);

/* Each option, "--help" too.  section: its value has the keys of that; NULL: it has no keys. */
void verb_each_option(const struct verb *,
		      void (*each)(void *arg, const struct verb_option *,
				   const struct config_section *section),
		      void *arg);

/* Word i of rest, such as "NAME" or "KEY=VALUE,..."; the last one again where it may be repeated.
 * NULL: there is none. */
const char *verb_operand(const struct verb *, int i, size_t *len);

/* What an exit status of this verb means. */
const char *verb_status(const struct verb *, int status);

/* The exit status; argv[0] is the verb. */
int verb_main(const struct verb *, int argc, char **argv);

#endif
