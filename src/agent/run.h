/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_H
#define RUN_H

#include "agent.h"

/* Until a signal ends it; 0 or -errno. */
int agent_run(const struct agent_options *, struct err *);

#endif
