/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How this host, its VMs and their moves are, as text for monitoring systems (Prometheus text
 * format 0.0.4).  What is not known is left out.  Other hosts' agents say how those are.
 */
#ifndef METRICS_H
#define METRICS_H

#include "agent.h"

extern const char metrics_content_type[];

/* With the lock.  To be freed; NULL: out of memory. */
char *metrics_text(const struct agent *);

#endif
