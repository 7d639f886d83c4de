/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of "godwit probe". */
#ifndef PROBE_H
#define PROBE_H

#include <jansson.h>
#include <stdio.h>

#include "err.h"

/* Facts as an aligned table, whatever they are; the verdict's sentence comes last. */
void probe_print(FILE *, const json_t *facts);

/* The CPU features that the hosts of these outputs of "godwit probe --json" have in common, as such
 * an output would say it: a new reference. */
int probe_baseline(const char *first, char *const *more, int nmore, json_t **, struct err *);

/*
 * What libvirt says of this host, by a program of its own (probe_libvirt_main.c), so that the
 * monitor never links libvirt: a new reference, or NULL where it is not installed.
 */
json_t *probe_libvirt(void);

#endif
