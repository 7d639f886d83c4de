/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMs that "godwit top" looks at: a connection each, on one loop.  They are asked all at once,
 * and a round is over when all have answered or its time is: who does not answer is waited for no
 * more until it does, and is not asked again.  VMs that began are found, those that ended are
 * forgotten.
 */
#ifndef TOP_SAMPLE_H
#define TOP_SAMPLE_H

#include "loop.h"
#include "top_rates.h"

struct top_sample;

struct top_sample_config {
	struct loop *loop;
	char **names; /* NULL: all VMs of this user */
	int nnames;
	uint64_t limit_ns; /* of a round; a few seconds: it is known then who does not answer */
	void (*over)(void *arg); /* a round is; may be called by top_sample_ask() */
	void *arg;
};

int top_sample_new(struct top_sample **, const struct top_sample_config *, struct err *);
void top_sample_free(struct top_sample *);

/* Begin a round, unless one is going on. */
void top_sample_ask(struct top_sample *);

/* Of all VMs now, in no order, until the next round; the array is theirs. */
struct vm_rates **top_sample_rows(struct top_sample *, size_t *n);

#endif
