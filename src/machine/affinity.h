/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPUs of the host the threads of vCPUs run on. */
#ifndef AFFINITY_H
#define AFFINITY_H

#include "config.h"
#include "events.h"
#include "vm.h"

/*
 * On main, before they run; those that are absent, too.  A CPU that this host does not have, or
 * CPUs of which the process may use none, are refused: -EINVAL.  If the VM comes from elsewhere,
 * such a vCPU runs anywhere, which the log and these events tell.
 */
int affinity_set(struct vm *, const struct config_cpus *, bool comes, struct events *,
		 struct err *);

#endif
