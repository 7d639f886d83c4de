/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest's CPUID may show of the host's, so that the guest can move between hosts that are
 * not alike: a level of the x86-64 psABI, or what the hosts of a file have in common ("godwit
 * probe --baseline").  The processor's name, vendor and family stay the host's.
 */
#ifndef CPU_PROFILE_H
#define CPU_PROFILE_H

#include "cpu_features.h"
#include "cpuid.h"

struct cpu_profile {
	const char *name; /* the caller's */
	struct cpu_features needed, allowed;
};

/* name: "host", a level, or a file.  -EINVAL: the file holds no features; or it cannot be read. */
int cpu_profile_open(struct cpu_profile *, const char *name, struct err *);

/* Take away from the supported set what the profile does not allow.  -ENOTSUP: the host lacks
 * something that the profile needs. */
int cpu_profile_apply(const struct cpu_profile *, struct cpuid *, struct err *);

#endif
