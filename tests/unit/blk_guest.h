/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with a virtio-blk device on an image, and its driver. */
#ifndef BLK_GUEST_H
#define BLK_GUEST_H

#include <linux/virtio_blk.h>
#include <stdio.h>

#include "image_file.h"
#include "virtio_guest.h"

extern const struct device_class virtio_blk_class;

enum {
	SECTOR = 512,
	SECTORS = IMAGE_BYTES / SECTOR,
	MORE_WRITABLE = VRING_DESC_F_WRITE | VRING_DESC_F_NEXT,
	/* In the data area of a queue; 16 bytes of header per slot. */
	HEADER = DATA,
	RANGE = DATA + 0x400,
	STATUS = DATA + 0x800,
	BUFFER = DATA + 0x1000,
	NO_STATUS = 0xff,
};

static json_t *json; /* the device borrows strings from it */

static inline void blk_teardown(void)
{
	json_decref(json);
	json = NULL;
	image_teardown();
}

/* options: the members of a JSON object, after the path. */
static inline int blk_new(struct guest *g, const char *options, struct err *e)
{
	const struct guest_mem_config config = { .size_bytes = RAM_BYTES };
	struct device *dev;
	char text[512];
	int r;

	snprintf(text, sizeof(text), "{\"path\": \"%s\"%s}", image, options);
	json_decref(json);
	json = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(json);
	*g = (struct guest){ 0 };
	ck_assert_int_eq(loop_new(&g->loop, e), 0);
	ck_assert_int_eq(vm_init(&g->vm, -1, g->loop, 2, e), 0);
	ck_assert_int_eq(guest_mem_new(&g->vm.mem, &config, e), 0);
	loop_set_lock(g->loop, &g->vm.lock);
	g->vm.pci = &g->bus;
	r = device_new(&dev, &virtio_blk_class, "disk0", &g->vm, json, e);
	if (!r) {
		g->v = container_of(dev, struct virtio_device, dev);
		find_capabilities(g);
	}
	return r;
}

static inline uint64_t offered(struct guest *g)
{
	return g->v->features;
}

static inline void blk_drive(struct guest *g, uint64_t features)
{
	set_status(g, 0);
	wait_until(g, status_is, 0);
	set_status(g, ACK);
	set_status(g, ACK | DRIVER);
	set_features(g, features);
	set_status(g, ACK | DRIVER | FEATURES_OK);
	for (unsigned i = 0; i < g->v->nqueues; i++) {
		memset(ram(g, queue_gpa(i)), 0, QUEUE_GPA);
		setup_queue(g, i, queue_gpa(i));
	}
	set_status(g, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	ck_assert_uint_eq(status(g), ACK | DRIVER | FEATURES_OK | DRIVER_OK);
}

static inline void power_on(struct guest *g, const char *options)
{
	struct err e = { "" };
	int r = blk_new(g, options, &e);

	ck_assert_msg(!r, "%s", e.text);
	guest_start(g);
	blk_drive(g, offered(g));
}

static inline void power_off(struct guest *g)
{
	guest_free(g);
}

static inline void *at(struct guest *g, unsigned offset)
{
	return ram(g, queue_gpa(0) + offset);
}

static inline void put_header(struct guest *g, unsigned slot, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr *h = at(g, HEADER + 16 * slot);

	*h = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	*(uint8_t *)at(g, STATUS + slot) = NO_STATUS;
}

static inline void put_desc(struct guest *g, unsigned at_index, unsigned offset, uint32_t len,
			    unsigned flags)
{
	desc_of(g, 0)[at_index] = (struct vring_desc){ .addr = queue_gpa(0) + offset,
						       .len = len,
						       .flags = (uint16_t)flags,
						       .next = (uint16_t)(at_index + 1) };
}

/* One request in descriptors 3 * slot on; not kicked. */
static inline void put_request(struct guest *g, unsigned slot, uint32_t type, uint64_t sector,
			       unsigned offset, uint32_t len)
{
	bool writes = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;

	put_header(g, slot, type, sector);
	put_desc(g, 3 * slot, HEADER + 16 * slot, 16, VRING_DESC_F_NEXT);
	put_desc(g, 3 * slot + 1, offset, len, writes ? MORE_WRITABLE : VRING_DESC_F_NEXT);
	put_desc(g, 3 * slot + 2, STATUS + slot, 1, VRING_DESC_F_WRITE);
	publish(g, 0, (uint16_t)(3 * slot));
}

/* Kick queue 0 and wait for everything published; the status of slot 0. */
static inline uint8_t finish(struct guest *g)
{
	kick(g, 0);
	wait_until(g, used_is, avail_of(g, 0)->idx);
	return *(uint8_t *)at(g, STATUS);
}

static inline uint8_t request(struct guest *g, uint32_t type, uint64_t sector, uint32_t len)
{
	put_request(g, 0, type, sector, BUFFER, len);
	return finish(g);
}

static inline uint32_t used_len(struct guest *g)
{
	return used_of(g, 0)->ring[(used_idx(g, 0) - 1) % g->v->s->queue[0].size].len;
}

#endif
