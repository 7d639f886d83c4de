/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What whoever balances VMs between hosts wants to know of one at any time: how much of its memory
 * it writes, how a move would go, and what its control group waits for.  On main.
 */
#ifndef VMM_SIGNALS_H
#define VMM_SIGNALS_H

#include "check_estimate.h"
#include "counters.h"
#include "memory_watch.h"
#include "pressure.h"

struct vmm;

struct vmm_signals {
	struct memory_watch *watch; /* of the machine; NULL: nobody has asked yet */
	struct pressure_group group;
	uint64_t link_rate; /* bytes a second that the last move or check got; 0: none did */
};

extern const struct counter_table move_counter_table, pressure_counter_table;

/* Before its machine is freed. */
void vmm_signals_forget(struct vmm *);
/* Over the link that was measured last.  False: nothing is known yet. */
bool vmm_predict(struct vmm *, struct check_estimate *);
void vmm_default_estimate(struct check_estimate *); /* by the goals of a move that names none */

#endif
