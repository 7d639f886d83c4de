/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading what the guest starts with into its memory, and the registers of the first vCPU.
 * The kind of kernel is recognised from the file: a bzImage goes through the 64-bit boot
 * protocol of Linux, an ELF file with the Xen PHYS32_ENTRY note through PVH.  Loading is
 * repeated at each reset of the guest.
 */
#ifndef BOOT_H
#define BOOT_H

#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

#include "err.h"
#include "guest_mem.h"

struct boot_image {
	const char *path;
	const uint8_t *data; /* mapped, read-only */
	size_t size;
};

struct boot {
	struct boot_image kernel, initrd; /* initrd.data NULL: none */
	const char *cmdline;
	enum boot_kind { BOOT_NONE, BOOT_LINUX, BOOT_PVH } kind;
	gpa_t rsdp;
};

/* Open and recognise; initrd and cmdline may be NULL.  The files stay mapped. */
int boot_open(struct boot *, const char *kernel, const char *initrd, const char *cmdline,
	      struct err *);
void boot_close(struct boot *);

/* Copy kernel, initrd, command line and tables; fill the registers (given as at power-on). */
int boot_load(const struct boot *, struct guest_mem *, struct kvm_regs *, struct kvm_sregs *,
	      struct err *);

#endif
