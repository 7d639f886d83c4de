/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a move would go, from a few numbers: memory goes over once, then again and again what was
 * written meanwhile, by the rules of
 * converge.h.  What the guest writes is taken to be written anew at that rate.
 */
#ifndef CHECK_ESTIMATE_H
#define CHECK_ESTIMATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct guest_mem;
struct migration_goals;

struct check_estimate {
	/* Given. */
	uint64_t bytes; /* of memory that hold anything */
	uint64_t written,
		rate; /* bytes a second: by the guest at full speed, over the connection */
	unsigned percent; /* that its vCPUs are slowed down by; found: in the end */
	/* Found, rate too: it may be limited. */
	bool converges;
	uint64_t duration_ns, blackout_ns; /* if it does */
};

void check_estimate(struct check_estimate *, const struct migration_goals *);
/* "will not converge because ...", a new reference. */
json_t *check_estimate_why(const struct check_estimate *, const struct migration_goals *);

/* 512 random pages for each GiB, and what was in them. */
struct check_sample;

struct check_sample *check_sample_new(struct guest_mem *); /* NULL: out of memory */
void check_sample_free(struct check_sample *); /* NULL is fine */
/* The second look: what the whole memory would be, as far as the sample shows it. */
void check_sample_finish(const struct check_sample *, struct check_estimate *);

#endif
