/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOAD_H
#define LOAD_H

#include "planner/model.h"

struct err;

/* The snapshot in a file; path NULL: of the agent that runs here.  To be freed in any case. */
int load_snapshot(struct snapshot *, const char *path, struct err *);

#endif
