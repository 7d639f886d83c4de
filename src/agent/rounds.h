/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planning: each interval, or at once when a host has less memory free than its reserve or a host
 * has come, the agent that plans for all (peers_planner()) takes a snapshot, makes a plan, says
 * what it would do and, if the mode lets it, tells the hosts to carry out the first wave.  A host
 * refuses what it knows better, and the next round sees it.
 */
#ifndef ROUNDS_H
#define ROUNDS_H

#include "pulse.h"

extern const struct pulse_job rounds_job;

#endif
