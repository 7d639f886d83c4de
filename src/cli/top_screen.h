/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal of "godwit top": its keys and its size change the view, and a picture goes out in
 * one write.  Standard input and output are that terminal.
 */
#ifndef TOP_SCREEN_H
#define TOP_SCREEN_H

#include "loop.h"
#include "top_draw.h"

struct top_screen {
	struct loop *loop; /* these three are the user's */
	void (*changed)(void *arg); /* show it again */
	void *arg;

	struct top_view view; /* view.paused: nobody wants news */
	struct watch keys, size;
};

/* Whether standard input and output are a terminal that a picture can be drawn on. */
bool top_screen_is_there(void);

/* Takes the terminal.  A key that quits ends the loop. */
int top_screen_open(struct top_screen *, struct err *);
void top_screen_close(struct top_screen *); /* also if it was not opened */
void top_screen_show(struct top_screen *, struct vm_rates **, size_t n);

#endif
