/* SPDX-License-Identifier: Apache-2.0 */
/* Plans for people: what goes where and why, and why the rest stays. */
#ifndef EXPLAIN_H
#define EXPLAIN_H

#include <stdio.h>

#include "planner.h"

void explain_plan(const struct plan *, FILE *);
/* A VM or a host by its name; -ENOENT. */
int explain_name(const struct snapshot *, const char *name, FILE *, struct err *);

#endif
