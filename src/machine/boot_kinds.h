/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What boot.c shares with the loaders of the two kinds.  Files are hostile: every number read
 * from one is checked before it is used.  Guest memory below PLATFORM_KERNEL_MIN belongs to
 * the loaders, so kernels and initrds lie above it.  RAM keeps its contents over a reset:
 * loaders write every byte that they rely on.
 */
#ifndef BOOT_KINDS_H
#define BOOT_KINDS_H

#include "boot.h"

enum { BOOT_RAM = 1, BOOT_RESERVED = 2, BOOT_MAP_MAX = 8 }; /* types of ACPI 6.4, 15.1 */

struct boot_range {
	gpa_t base;
	uint64_t size_bytes;
	uint32_t type;
};

/* Find out what the file is; the sentence says what is wrong with one that cannot boot. */
int boot_recognise(const struct boot_image *, enum boot_kind *, struct err *);
int boot_linux_check(const struct boot_image *, struct err *);
int boot_pvh_check(const struct boot_image *, struct err *);

int boot_linux_load(const struct boot *, struct guest_mem *, struct kvm_regs *, struct kvm_sregs *,
		    struct err *);
int boot_pvh_load(const struct boot *, struct guest_mem *, struct kvm_regs *, struct kvm_sregs *,
		  struct err *);

/* The memory map as the guest is told, ascending; returns the number of ranges. */
unsigned boot_memory_map(const struct guest_mem *, struct boot_range[BOOT_MAP_MAX]);

/* Highest whole page in [floor, end) of that region from which len bytes fit; -ENOSPC. */
int boot_place(const struct guest_mem_region *, gpa_t floor, gpa_t end, uint64_t len, gpa_t *at);
/* The sentence when it does not. */
int boot_no_room_for_initrd(const struct boot *, gpa_t floor, gpa_t end, struct err *);

/* The command line to PLATFORM_CMDLINE; -E2BIG: longer than max bytes without its NUL. */
int boot_write_cmdline(const struct boot *, struct guest_mem *, size_t max, struct err *);

/* Flat segments and a task register, which both protocols want; code64: long mode. */
void boot_flat_segments(struct kvm_sregs *, uint16_t code, uint16_t data, bool code64);

#endif
