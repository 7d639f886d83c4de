/* SPDX-License-Identifier: Apache-2.0 */
/* What local.c asks a VM, and what it has it do.  Any thread, without the lock. */
#ifndef LOCAL_ASK_H
#define LOCAL_ASK_H

#include "client.h"
#include "memory_policy.h"

struct local_reading {
	bool runs;
	double limit; /* cores; 0: none */
	json_t *affinity; /* of its configuration, a new reference; NULL: none */
	uint64_t vcpus, run_ns, wait_ns, throttled_ns;
	uint64_t resident, most;
	bool tells; /* the guest has just said how it does */
	struct memory_sample memory;
};

/* guest: and asks its guest.  False: it does not answer. */
bool local_ask(const char *name, bool guest, struct local_reading *);

/* vm.resize with that body. */
int local_resize(const char *name, const json_t *body, struct err *);

#endif
