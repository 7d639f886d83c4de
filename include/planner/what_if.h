/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits of a snapshot before it is planned:
 *   add-host=NAME[,like=HOST]   a new, empty host; like: else the first there is
 *   remove-host=NAME            its VMs have to go elsewhere
 *   maintenance=NAME, drain=NAME, up=NAME, dead=NAME
 *   mode=MODE
 *   KEY=VALUE                   a value of the policy
 */
#ifndef WHAT_IF_H
#define WHAT_IF_H

#include "err.h"
#include "model.h"

int what_if_apply(struct snapshot *, const char *edit, struct err *);

#endif
