/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers behind CPU hotplug by ACPI: through them a guest learns which vCPUs there are, that
 * there is a new one or that it is asked to give one up, and says that it did or will not.  The
 * device "cpu-hotplug" also is who knows which vCPUs are present: that outlives a reset, and goes
 * where the VM goes.  Who adds and removes vCPUs (vcpu.h) calls this; the guest's answer comes as
 * VM_HOTPLUG: it has read what is new, or answers for vCPUs that it was asked for.
 *
 * All calls under the machine lock.
 */
#ifndef CPU_HOTPLUG_H
#define CPU_HOTPLUG_H

#include "device.h"

enum { CPU_HOTPLUG_MAX = 255 };

/* NULL: the VM has none, and all of its vCPUs for life. */
struct device *cpu_hotplug_of(struct vm *);

bool cpu_hotplug_is_present(const struct device *, unsigned cpu);
unsigned cpu_hotplug_count(const struct device *); /* of those */
unsigned cpu_hotplug_max(const struct device *);

/* It is present from now on; the guest is told. */
void cpu_hotplug_insert(struct device *, unsigned cpu);
bool cpu_hotplug_is_unread(const struct device *, unsigned cpu); /* that it was inserted */
/* The guest is asked to give up one that is present; or not any more: should it do so yet, it is
 * told that the vCPU is there. */
void cpu_hotplug_want(struct device *, unsigned cpu);
void cpu_hotplug_withdraw(struct device *, unsigned cpu);
/* It is not present from now on. */
void cpu_hotplug_remove(struct device *, unsigned cpu);

enum cpu_answer { CPU_SILENT, CPU_GIVEN_UP, CPU_REFUSED };
/* The guest's, since it was asked for this one; status: as its _OST says why it refuses. */
enum cpu_answer cpu_hotplug_answer(const struct device *, unsigned cpu, uint8_t *status);

#endif
