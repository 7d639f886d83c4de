/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The picture of "godwit-agent top": each host as bars of its VMs, what is on its way, and who gets
 * least of what it asks for.  Nothing is asked and nothing printed.
 *
 * A bar is what the host has; each VM is as wide in it as what it takes.  Hosts that would not fit
 * have one line instead of three.
 */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdint.h>

#include "status_view.h"

struct picture {
	unsigned columns; /* 0: as wide as it likes */
	unsigned lines; /* 0: all there is, without keys */
	bool utf8, colour;
	bool paused;
	bool silent; /* the agent did not answer: this is what it said before */
	uint64_t now; /* seconds since 1970 */
	unsigned scroll; /* lines of hosts above the first that is shown; drawing limits it */
};

/* Lines end in '\n', on a screen all but the last.  To be freed; NULL: out of memory. */
char *picture_draw(const struct status_view *, struct picture *);

#endif
