/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readings of counters as text for monitoring systems, and as the JSON of vm.counters.  All that is
 * told comes from the tables of counters.h: a new row appears here by itself.  Nothing is asked of
 * the machine, so this is for any thread.
 *
 * Of a latency Prometheus gets the buckets, the JSON least, most and average; what a scraper can
 * compute for the time that it looks at (rates, averages) is not computed here.
 */
#ifndef METRICS_H
#define METRICS_H

#include <jansson.h>

#include "counters.h"

enum metrics_format {
	METRICS_PROMETHEUS, /* Prometheus text format 0.0.4 */
	METRICS_OPENMETRICS, /* OpenMetrics 1.0 */
};

extern const char *const metrics_content_type[]; /* by format */

/* To be freed; NULL: the host is out of memory. */
char *metrics_text(enum metrics_format, const struct counter_readings *);
/* { id: { name: integer } }; NULL: the host is out of memory. */
json_t *metrics_json(const struct counter_readings *);

#endif
