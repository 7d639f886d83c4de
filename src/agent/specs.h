/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The specs of this host (spec.h): what should run here, kept in the store as specs/NAME.json.
 * What is asked is durable when it returns 0.  Under the agent's lock.
 */
#ifndef SPECS_H
#define SPECS_H

#include "agent.h"
#include "spec.h"

struct job;

struct spec {
	struct list node;
	struct agent *agent;
	char name[SPEC_NAME_MAX + 1];
	json_t *json;
	struct spec_values values;
	/* kept with it: */
	bool comes; /* with a move, and was not here yet */
	bool over; /* it ended, and only a person has it started again */
	bool failed; /* so the last one did, or did not even start */
	char why[512]; /* it does not run, "": nothing to say */
	/* of supervise.c: */
	pid_t pid; /* of its process, as far as known; 0: none */
	pid_t last; /* whose end was dealt with */
	uint64_t since_ns; /* it is that process */
	bool ran; /* that process was seen to run it */
	bool moves;
	bool waits; /* for again */
	struct timer again;
	struct job *job; /* under way; NULL: none */
	unsigned restarts, failures;
};

struct specs {
	int dir;
	bool ends; /* jobs are to */
	struct list list; /* struct spec */
	struct list jobs;
};

/* Who waits for what was asked: told once, with the lock, perhaps before the call returns. */
struct asker {
	void (*told)(void *arg, int r, const struct err *); /* r: 0 or -errno */
	void *arg;
};

int specs_new(struct specs **, struct agent *, struct err *); /* as they were kept */
void specs_free(struct agent *); /* without the lock, when the loop has ended */

struct spec *specs_find(const struct agent *, const char *name); /* NULL: there is none */
json_t *specs_of(const struct agent *, const char *name); /* a new reference; NULL: none */
int spec_keep(struct spec *, struct err *);

/*
 * A new spec or another one of that name.  says: array to which sentences are added, such as what
 * takes effect only at the next start.  Then its VM is started or stopped as the spec has it,
 * which the asker waits for.  On failure here, nothing has changed and the asker is not told.
 */
int specs_apply(struct agent *, const json_t *, json_t *says, const struct asker *, struct err *);
/* Its VM, if it runs, goes on, and nobody starts it again.  -ENOENT, -EBUSY. */
int specs_delete(struct agent *, const char *name, struct err *);
/* Changes "state", too.  -ENOENT, -EBUSY: the asker is not told then. */
int specs_start(struct agent *, const char *name, const struct asker *, struct err *);
int specs_stop(struct agent *, const char *name, const struct asker *, struct err *);

/*
 * Of moves.  A VM that moves is neither started nor stopped here; who says so says when that is
 * over.  What specs_take() gives is sent along and adopted there, before the VM comes: it is not
 * started until it has come.  The source leaves it when the VM has gone; the destination, if it
 * does not come.  All but the first may be done again.
 */
void specs_moves(struct agent *, const char *name, bool moves);
json_t *specs_take(const struct agent *, const char *name); /* NULL: it has no spec */
int specs_adopt(struct agent *, const json_t *, struct err *); /* -EBUSY: it is this host's */
int specs_leave(struct agent *, const char *name, struct err *);

/* Added to the planner's record of the VM. */
void specs_add_to_record(const struct agent *, const char *name, json_t *record);
/* Added to what status says of a VM: "spec", "restarts", "why". */
void specs_add_to_state(const struct agent *, const char *name, json_t *state);
/* Of one that does not run: "starting", "stopping", "stopped" or "failed". */
const char *spec_state(const struct spec *);

#endif
