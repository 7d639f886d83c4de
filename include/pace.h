/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest can bring about as often as it likes is told a few times a second and no more, so
 * that it fills neither a log nor what others wait to read.  One thread's, or under one lock.
 */
#ifndef PACE_H
#define PACE_H

#include "loop.h"

struct pace {
	uint64_t second;
	unsigned told;
};

static inline bool pace_allows(struct pace *p, unsigned per_second)
{
	uint64_t second = loop_now_ns() / 1000000000;

	if (second != p->second)
		*p = (struct pace){ .second = second };
	return p->told++ < per_second;
}

#endif
