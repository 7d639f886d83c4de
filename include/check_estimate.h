/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a move would go, from a few numbers: memory goes over once, then again and again what was
 * written meanwhile, by the rules of converge.h.  In t seconds a guest that writes W bytes again
 * and again at rate d writes W * (1 - exp(-d * t / W)) different ones.  Any thread.
 */
#ifndef CHECK_ESTIMATE_H
#define CHECK_ESTIMATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct migration_goals;

struct check_estimate {
	/* Given. */
	uint64_t bytes; /* of memory that hold anything */
	uint64_t written,
		rate; /* bytes a second: by the guest at full speed, over the connection */
	uint64_t write_set; /* bytes that it writes again and again; 0: not known, anything */
	unsigned percent; /* that its vCPUs are slowed down by; found: in the end */
	/* Found, rate too: it may be limited. */
	bool converges;
	uint64_t duration_ns, blackout_ns; /* if it does */
};

void check_estimate(struct check_estimate *, const struct migration_goals *);
/* "will not converge because ...", a new reference. */
json_t *check_estimate_why(const struct check_estimate *, const struct migration_goals *);

/* All of it as the API says it: some fields of MigrationCheck, a new reference. */
json_t *check_estimate_json(const struct check_estimate *);

#endif
