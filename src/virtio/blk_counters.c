/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_counters.h"

#define BLK(m, family, ...)                                                                        \
	COUNTER(struct blk_counters, m, .metric = "godwit_block_" family, __VA_ARGS__)
#define BLK_LATENCY(m, family, ...)                                                                \
	COUNTER_LATENCY_OF(struct blk_counters, m, .metric = "godwit_block_" family, __VA_ARGS__)

static const struct counter counters[] = {
	BLK(read_bytes, "read_bytes", .unit = COUNTER_BYTES, .help = "Bytes that the guest read."),
	BLK(write_bytes, "written_bytes", .unit = COUNTER_BYTES,
	    .help = "Bytes that the guest wrote."),
	BLK(read_ops, "reads", .help = "Reads that succeeded."),
	BLK(write_ops, "writes", .help = "Writes that succeeded."),
	BLK(flush_ops, "flushes", .help = "Flushes that succeeded."),
	BLK(errors, "errors", .help = "Requests answered with an I/O error."),
	BLK(throttled, "throttled", .help = "Times a limit made a queue wait."),
	BLK_LATENCY(read_latency, "read_latency_seconds",
		    .help = "Time that reads took in the host."),
	BLK_LATENCY(write_latency, "write_latency_seconds",
		    .help = "Time that writes took in the host."),
};
const struct counter_table blk_counter_table = COUNTER_TABLE(struct blk_counters, counters);

void blk_count(struct blk_counters *c, enum disk_op op, uint64_t bytes, uint64_t took_ns)
{
	switch (op) {
	case DISK_READ:
		counter_add(&c->read_ops, 1);
		counter_add(&c->read_bytes, bytes);
		latency_add(&c->read_latency, took_ns);
		break;
	case DISK_WRITE:
		counter_add(&c->write_ops, 1);
		counter_add(&c->write_bytes, bytes);
		latency_add(&c->write_latency, took_ns);
		break;
	case DISK_FLUSH:
		counter_add(&c->flush_ops, 1);
		break;
	case DISK_DISCARD:
	case DISK_WRITE_ZEROES:
		break;
	}
}
