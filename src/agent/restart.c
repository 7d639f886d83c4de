/* SPDX-License-Identifier: Apache-2.0 */
#include "restart.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "bits.h"

static enum end_kind judge_status(const struct remains *r, char *why, unsigned size)
{
	const char *name;

	if (WIFSIGNALED(r->status)) {
		name = sigabbrev_np(WTERMSIG(r->status));
		snprintf(why, size, "its process was ended by SIG%s", name ? name : "?");
		return END_FAILED;
	}
	if (!WEXITSTATUS(r->status)) {
		snprintf(why, size, "it was powered off");
		return END_WELL;
	}
	if (*r->words)
		snprintf(why, size, "%s", r->words);
	else
		snprintf(why, size, "its process ended with status %d", WEXITSTATUS(r->status));
	return r->ran ? END_FAILED : END_REFUSED;
}

enum end_kind end_judge(const struct remains *r, char *why, unsigned size)
{
	if (r->away) {
		snprintf(why, size, "%s", r->away);
		return END_AWAY;
	}
	if (r->has_status)
		return judge_status(r, why, size);
	switch (r->event) {
	case LAST_ENDED:
		snprintf(why, size, "it was powered off");
		return END_WELL;
	case LAST_FAILED:
		snprintf(why, size, "%s", r->reason);
		return END_FAILED;
	default:
		/* A monitor that ends by itself says so with its last event, if it is one that an
		 * agent started.  Else it was killed, or nobody can know: a VM that is wanted is
		 * better started once too often than not at all. */
		snprintf(why, size, "its process is gone, and nothing tells why");
		return END_FAILED;
	}
}

/* 1, 2, 4 ... */
static unsigned back_off(unsigned failures)
{
	return failures > 6 ? RESTART_MOST_S : MIN(1U << (failures - 1), (unsigned)RESTART_MOST_S);
}

struct verdict restart_decide(enum end_kind kind, enum restart restart, unsigned failures,
			      uint64_t ran_s)
{
	const bool waits = kind == END_REFUSED || kind == END_AWAY;
	struct verdict v = { 0 };

	if (restart == RESTART_NO || (kind == END_WELL && restart != RESTART_ALWAYS))
		return v;
	v.starts = true;
	v.failures = ran_s >= RESTART_CALM_S ? 1 : failures + 1;
	v.delay_s = waits ? RESTART_REFUSED_S : back_off(v.failures);
	return v;
}
