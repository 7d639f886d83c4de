/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where guest accesses find their device: one bus for ports, one for memory-mapped I/O.  A
 * region gets offsets and values, never bytes; widths are checked before the call.  A miss,
 * or a width that the region does not take, reads all ones and ignores writes.
 *
 * All calls under the machine lock.
 */
#ifndef BUS_H
#define BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "list.h"

struct region_ops {
	uint64_t (*read)(void *owner, uint64_t offset, unsigned size);
	void (*write)(void *owner, uint64_t offset, unsigned size, uint64_t value);
	uint8_t widths; /* the sizes taken: 1 | 2 | 4 | 8; naturally aligned */
};

/* A store to one address that the kernel turns into an eventfd signal. */
struct ioeventfd {
	uint64_t offset; /* in the region */
	int fd;
	bool armed; /* the kernel is to take the store; else bus_write() signals the fd */
	struct list node;
};

struct region {
	struct bus *bus;
	uint64_t base, size_bytes; /* base: meaningful while mapped */
	bool mapped;
	const struct region_ops *ops;
	void *owner; /* first argument of ops */
	const char *name; /* the owner's id, for sentences */
	struct list ioeventfds;
};

struct bus {
	const char *kind; /* "port" or "address" */
	int kvm_fd; /* -1: none; stores to an ioeventfd are then signalled by bus_write() */
	uint32_t ioeventfd_flags;
	struct region **region; /* sorted by base */
	unsigned nregions, capacity;
};

void bus_init(struct bus *, const char *kind, int kvm_vm_fd);
void bus_free(struct bus *);

void region_init(struct region *, struct bus *, const char *name, uint64_t size_bytes,
		 const struct region_ops *, void *owner);

/* Answer at [base, base + size).  -EBUSY names both owners of an overlap; the region is then
 * unmapped.  A mapped region moves. */
int region_map(struct region *, uint64_t base, struct err *);
void region_unmap(struct region *); /* also when not mapped */

/* An ioeventfd for stores of any width at the offset while the region is mapped. */
void region_add_ioeventfd(struct region *, struct ioeventfd *);
void region_remove_ioeventfd(struct region *, struct ioeventfd *);
/* Let the kernel take its stores from now on.  Each time the kernel learns of one it waits for
 * all vCPUs, so only those in use are worth it; armed already: nothing. */
void region_arm_ioeventfd(struct region *, struct ioeventfd *);

uint64_t bus_read(struct bus *, uint64_t address, unsigned size);
void bus_write(struct bus *, uint64_t address, unsigned size, uint64_t value);

#endif
