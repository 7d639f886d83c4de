/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /metrics answers, as a table for people.  The text says all that is needed: units and
 * histograms are in the names, so a device that counts something new is shown as it is.
 */
#ifndef STATS_TEXT_H
#define STATS_TEXT_H

#include <stdbool.h>
#include <stdio.h>

/* metrics: Prometheus text format 0.0.4. */
void stats_text_print(FILE *, const char *metrics, bool utf8);

#endif
