/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a VM from this host, or on it, in sentences.  On main. */
#ifndef VMM_COMPAT_H
#define VMM_COMPAT_H

#include <jansson.h>
#include <stdbool.h>

struct vmm;

/* What another host has to know of the VM, which is booted, before it takes it: JSON, the caller's
 * to free; NULL: out of memory. */
char *vmm_hello(struct vmm *);
/*
 * Such a VM comes to this host, with local said anew of its configuration: it is built, or, with
 * stays false or if it lacks anything, only tried, and freed again.  A sentence for each thing that
 * stands in the way is appended to blockers; versions: devices_versions(), if that was seen.
 * Between two runs of the loop.
 */
void vmm_take_hello(struct vmm *, const json_t *hello, const json_t *local, bool stays,
		    json_t **versions, json_t *blockers);

/* Why the VM, which is booted, cannot leave this host, an array: a new reference. */
json_t *vmm_migration_blockers(struct vmm *);

#endif
