/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A verb of the command as data: what it takes and what it is for.  Parsing, "--help" and the
 * list of verbs come from here, so that they cannot disagree.
 */
#ifndef VERB_H
#define VERB_H

#include <stddef.h>

enum { VERB_OPTIONS_MAX = 8 };

struct verb_option {
	const char *name; /* "--json" */
	const char *form; /* of its value; NULL: it takes none */
	const char *help;
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
	const char *help;
	struct verb_option options[VERB_OPTIONS_MAX];
	int (*run)(const struct verb *, const struct verb_args *); /* the exit status */
	int (*main)(int argc, char **argv); /* instead of run: parses by itself */
};

/* The exit status; argv[0] is the verb. */
int verb_main(const struct verb *, int argc, char **argv);

#endif
