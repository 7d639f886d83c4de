/* SPDX-License-Identifier: Apache-2.0 */
/* Why a VM's process ended, from what is known of it, and whether it is started again. */
#ifndef RESTART_H
#define RESTART_H

#include <stdbool.h>
#include <stdint.h>

enum restart { RESTART_ON_FAILURE, RESTART_ALWAYS, RESTART_NO };

/* The longest time before it is started again, how long it must run to begin with the shortest, and
 * the time before a start is tried again that the monitor, or this host's journal, refuses. */
enum { RESTART_MOST_S = 60, RESTART_CALM_S = 600, RESTART_REFUSED_S = 300 };

enum end_kind {
	END_WELL, /* the guest powered off, or it was shut down */
	END_FAILED,
	END_REFUSED, /* it never ran: the monitor would not, or could not, start it */
	END_AWAY, /* it may run on another host */
};

/* The last that the monitor wrote of its VM (events.h) that tells something. */
enum last_event { LAST_NONE, LAST_BOOTED, LAST_ENDED, LAST_FAILED };

struct remains {
	const char *away; /* sentence; NULL: nothing says so */
	bool has_status;
	int status; /* as of wait(2) */
	enum last_event event;
	const char *reason; /* of LAST_FAILED */
	const char *words; /* the last line of its log; "": none */
	bool ran; /* it was seen to run */
};

enum end_kind end_judge(const struct remains *, char *why, unsigned size);

struct verdict {
	bool starts; /* again, after delay_s */
	unsigned delay_s, failures;
};

/* failures: in a row so far, of which delays grow; ran_s: how long it ran this time. */
struct verdict restart_decide(enum end_kind, enum restart, unsigned failures, uint64_t ran_s);

#endif
