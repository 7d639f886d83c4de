/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What "godwit dump" shows, as text: a line is a name and a value, and what belongs to it follows,
 * two spaces further in.
 */
#ifndef DUMP_H
#define DUMP_H

#include <stdio.h>

#include "err.h"

/* The folder of a snapshot; all its checksums are verified. */
int dump_snapshot(FILE *, int dir, struct err *);

/* Prints where two dumps differ; returns the number of places, negative: out of memory. */
int dump_compare(FILE *, const char *name_a, char *a, const char *name_b, char *b);

#endif
