/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk counts, a block for each queue.  A request's latency is the host's: from the kick
 * that found it to its completion.  Time that it waits in the ring for a limit is not in it.
 */
#ifndef BLK_COUNTERS_H
#define BLK_COUNTERS_H

#include "counters.h"
#include "disk.h"

struct blk_counters {
	_Atomic uint64_t read_bytes, write_bytes, read_ops, write_ops, flush_ops, errors, throttled;
	struct latency read_latency, write_latency;
};

extern const struct counter_table blk_counter_table;

/* A request that the guest made was done, without an error. */
void blk_count(struct blk_counters *, enum disk_op, uint64_t bytes, uint64_t took_ns);

#endif
