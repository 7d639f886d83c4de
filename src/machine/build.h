/* SPDX-License-Identifier: Apache-2.0 */
/* Making the parts of a machine from its configuration, and its power-on contents. */
#ifndef BUILD_H
#define BUILD_H

#include "boot.h"
#include "config.h"
#include "cpuid.h"
#include "machine.h"
#include "vm.h"

struct build {
	const struct config *config;
	int memory_fd; /* the caller's; RAM is a private view of it; -1: it is not */
	struct vm *vm;
	struct boot boot;
	char *cmdline; /* the given one with more to it; NULL: nothing is to be added */
	struct cpuid cpuid; /* the guest's; then of the vCPU under construction */
	struct cpuid guest_cpuid;
	int kvm_fd;
};

/* KVM, memory, devices, vCPUs: everything in place, nothing runs.  The kernel is opened, and loaded
 * by build_load().  On failure build_free() is still due. */
int build_machine(struct build *, struct vm *, const struct config *, const struct machine_hooks *,
		  struct loop *, struct err *);
void build_free(struct build *);

/* One more device of a section that has many, as the configuration would hold it; without an id it
 * gets a free one.  It does not run yet.  The lock is let go of while its file is opened. */
int build_added(struct build *, const struct config_section *, const json_t *options,
		struct device **, struct err *);

/* What the guest needs of a host: a new reference. */
json_t *build_needs(const struct build *);

/* Kernel, tables and first registers, as at each power-on; devices are reset. */
int build_load(struct build *, struct err *);

/* A non-maskable interrupt for every vCPU. */
int build_inject_nmi(struct build *, struct err *);

#endif
