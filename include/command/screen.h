/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A terminal that shows one picture after another: its keys and its size ask for another one, and
 * each goes out in one write.  Standard input and output are that terminal.
 */
#ifndef SCREEN_H
#define SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "loop.h"

struct screen_key {
	const char *bytes; /* as the terminal sends it */
	void (*press)(void *arg, unsigned value);
	unsigned arg; /* the value */
};

struct screen {
	struct loop *loop; /* these five are the user's */
	const struct screen_key *keys; /* beside q, Ctrl-C, Ctrl-Z and those that scroll */
	size_t nkeys;
	void (*changed)(void *arg); /* show it again */
	void *arg; /* of press, too */

	bool utf8, colour; /* since screen_open() */
	unsigned columns, lines; /* since the last screen_begin() */
	unsigned scroll; /* lines, which who draws puts into its limits (canvas_put_rows()) */
	struct watch input, size;
};

/* Whether standard input and output are a terminal that a picture can be drawn on. */
bool screen_is_there(void);

/* From the text of --interval, which may be NULL; returns the exit status (verb.h). */
int screen_interval(const char *text, uint64_t *ns);

/* Takes the terminal.  A key that quits ends the loop. */
int screen_open(struct screen *, struct err *);
void screen_close(struct screen *); /* also if it was not opened */

/* Before a picture is drawn; false: nobody would see it. */
bool screen_begin(struct screen *);
void screen_show(const char *picture); /* NULL: nothing to show */

#endif
