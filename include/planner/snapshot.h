/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots as text: one JSON object a line, whose only key says what it is: "snapshot" first,
 * then at most one "policy", and "host", "vm", "flight", "reservation", "curve" in any order; a
 * "plan", which is what such a snapshot led to, is skipped.  Reading line by line keeps memory
 * small, and one record that is wrong does not spoil the others: it is refused with a sentence
 * that the plan carries.  Writing gives the canonical form, and that of a canonical file the
 * same bytes.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <stdio.h>

#include "err.h"
#include "model.h"

/* -EINVAL: it is no snapshot.  The snapshot is to be freed in any case. */
int snapshot_read(struct snapshot *, FILE *, struct err *);
void snapshot_write(const struct snapshot *, FILE *);
void snapshot_free(struct snapshot *);

/* After a change by hand: order, indices and the sentences about what is stale.  -ENOMEM. */
int snapshot_index(struct snapshot *, struct err *);

/* The index of the host or VM of that name, or NOWHERE. */
uint32_t snapshot_host(const struct snapshot *, uint32_t name);
uint32_t snapshot_vm(const struct snapshot *, uint32_t name);

/* Whether what is said of it is too old. */
bool snapshot_is_stale(const struct snapshot *, uint64_t at);

#endif
