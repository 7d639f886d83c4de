/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program and its verbs as data: what each takes and what it is for.  Parsing, "--help", the
 * manual pages and the completion of shells come from here, so that they cannot disagree.
 */
#ifndef VERB_H
#define VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "option.h"

struct completion;
struct program;

enum { VERB_OPTIONS_MAX = 10, VERB_EXAMPLES_MAX = 3, VERB_MANY_MAX = 32 };

/* Exit status: done; refused or failed; the command line is wrong. */
enum { CLI_OK, CLI_FAILED, CLI_USAGE, VERB_STATUSES };

struct verb_option {
	const char *name; /* "--json" */
	const char *form; /* of its value: words parted by |, those in capitals stand for
			   * something else, the others are meant; NULL: it takes none */
	const char *help;
};

struct verb_example {
	const char *command;
	const char *does;
};

/* The group of a verb that people are not shown; all others are the program's. */
enum { VERB_HIDDEN };

struct verb_args {
	const struct program *program;
	const char *value[VERB_OPTIONS_MAX]; /* as the verb's options; "" of one without value,
					      * NULL: not given; the last of many */
	const char *many[VERB_MANY_MAX]; /* values of the option that may be given again */
	unsigned nmany;
	char **rest;
	int nrest;
};

struct verb {
	const char *name;
	const char *rest; /* "NAME...": what follows the options; in [ ] it may be missing */
	const char *help; /* after the name in a list */
	unsigned group; /* what a person wants when looking for the verb */
	const char *about; /* whole sentences, a line feed after each paragraph but the last;
			    * NULL: help says it all */
	const char *status[VERB_STATUSES]; /* what its exit status means; NULL: as for all */
	struct verb_example examples[VERB_EXAMPLES_MAX];
	struct verb_option options[VERB_OPTIONS_MAX];
	const char *many; /* the option that may be given again; NULL: none may */
	const struct option_table *(*keys)(void); /* of KEY=VALUE in rest */
	/* Instead of keys, for those of another kind of table. */
	void (*each_key)(void (*)(void *arg, const struct option_key *), void *arg);
	int (*run)(const struct verb *, const struct verb_args *); /* the exit status */
	/* Instead of run and options, for one whose options are not known here. */
	int (*main)(const struct verb *, int argc, char **argv);
	void (*each_option)(void (*)(void *arg, const struct verb_option *,
				     const struct option_table *keys),
			    void *arg);
};

/* The groups in the order in which people are shown them. */
struct verb_heading {
	unsigned group;
	const char *title;
};

/* A word in capitals that the program knows what to put for: operands, and values of options,
 * that begin with it. */
struct program_word {
	const char *word;
	void (*offer)(const struct completion *); /* complete.h */
};

struct program {
	const char *name; /* "godwit" */
	const struct verb *self; /* the command before any verb: its name is empty */
	const struct verb *verbs;
	size_t nverbs;
	const struct verb_heading *headings;
	size_t nheadings;
	const struct program_word *words;
	size_t nwords;
	/* For a command line that begins with an option; NULL: there is none but those of self. */
	int (*without_verb)(int argc, char **argv);
};

/* Be the program; argv[0] is its path.  Returns the exit status. */
int program_main(const struct program *, int argc, char **argv);

const struct verb *verb_named(const struct program *, const char *name); /* NULL: none is */
/* Says so, with the nearest that is; returns the exit status. */
int verb_refuse_unknown(const struct program *, const char *name);

/* Verbs that a program has without more ado.  help: "--man" is its first option. */
int help_run(const struct verb *, const struct verb_args *);
int version_run(const struct verb *, const struct verb_args *);
int complete_run(const struct verb *, const struct verb_args *);

/* Each option, "--help" too.  keys: those its value has; NULL: none. */
void verb_each_option(const struct verb *,
		      void (*each)(void *arg, const struct verb_option *,
				   const struct option_table *keys),
		      void *arg);
/* Each key of KEY=VALUE in rest; false: the verb has none. */
bool verb_each_key(const struct verb *, void (*each)(void *arg, const struct option_key *),
		   void *arg);

/* Word i of rest, such as "NAME" or "KEY=VALUE,..."; the last one again where it may be repeated.
 * NULL: there is none. */
const char *verb_operand(const struct verb *, int i, size_t *len);

/* What an exit status of this verb means. */
const char *verb_status(const struct verb *, int status);

/* The exit status; argv[0] is the verb. */
int verb_main(const struct program *, const struct verb *, int argc, char **argv);

#endif
