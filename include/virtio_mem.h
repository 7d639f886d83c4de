/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device through which a guest plugs and unplugs the pluggable region of its memory.  It is
 * asked to have some of it and takes its time, or never gets there.
 *
 * All calls on main, under the machine lock, with the device "mem".
 */
#ifndef VIRTIO_MEM_H
#define VIRTIO_MEM_H

#include "device.h"

struct device *virtio_mem_of(struct vm *); /* NULL: the VM has none */

/* Rounded up to whole blocks, and no more than there is. */
void virtio_mem_ask(struct device *, uint64_t bytes);
uint64_t virtio_mem_rounded(const struct device *, uint64_t bytes);
uint64_t virtio_mem_asked(const struct device *); /* bytes */
uint64_t virtio_mem_given(const struct device *); /* bytes that the guest has */
bool virtio_mem_is_driven(const struct device *); /* the guest has a driver that is up */

#endif
