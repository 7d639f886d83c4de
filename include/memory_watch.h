/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of its memory a running guest writes, for whoever asks again and again.  Nothing is done
 * while nobody asks: each time somebody does, a thread of low priority, "_sample", looks at a few
 * hundred random pages (src/migrate/page_sample.h), again a second later, and ends.  The time
 * between two such pairs of looks is a window, too.  No page is write-protected for it, and none
 * that the host does not hold is made to be there.
 *
 * On main.
 */
#ifndef MEMORY_WATCH_H
#define MEMORY_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "list.h"

struct vm;
struct memory_watch;

struct memory_writes {
	uint64_t bytes; /* that hold anything */
	uint64_t rate; /* bytes a second that are written */
	/* Bytes that were written at all in the last windows, eight at most; 0: nothing was, or
	 * there was only the first second. */
	uint64_t set;
	uint64_t samples; /* pairs of looks so far */
};

/* Somebody who waits for the next ones, or takes some of the last ten seconds. */
struct memory_watch_ask {
	void (*done)(void *arg); /* perhaps at once */
	void *arg;
	/* The watch's until done() */
	struct list node;
};

int memory_watch_new(struct memory_watch **, struct vm *, struct err *);
/* Before the VM's memory goes.  Who asked is told.  NULL is fine. */
void memory_watch_free(struct memory_watch *);
/* Somebody asks now, and will again; not more than once in some seconds anything is done. */
void memory_watch_want(struct memory_watch *);
void memory_watch_ask(struct memory_watch *, struct memory_watch_ask *);
/* False: nothing is known yet. */
bool memory_watch_read(const struct memory_watch *, struct memory_writes *);

#endif
