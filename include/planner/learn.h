/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a snapshot teaches for the next one.  Whoever keeps snapshots calls it once for each, after
 * the plan; the planner itself learns nothing, so that a plan can be made again.
 */
#ifndef LEARN_H
#define LEARN_H

#include "err.h"
#include "model.h"

/*
 * Draws the curve of each class of hosts towards what its hosts' VMs wait for at their use, and
 * begins one for a class that has none.  Hosts that a move has just changed teach nothing.
 * -ENOMEM
 */
int learn_curves(struct snapshot *, struct err *);

#endif
