/* SPDX-License-Identifier: Apache-2.0 */
/* A balloon, its guest's memory, and the driver's first steps. */
#ifndef BALLOON_GUEST_H
#define BALLOON_GUEST_H

#include <linux/virtio_balloon.h>
#include <sys/mman.h>

#include "balloon.h"
#include "check_main.h"
#include "counter_of.h"
#include "virtio_guest.h"

extern const struct device_class virtio_balloon_class;

enum {
	INFLATE,
	DEFLATE,
	STATS,
	REPORTING,
	UP = ACK | DRIVER | FEATURES_OK | DRIVER_OK,
	PAGES = RAM_BYTES / GUEST_PAGE_BYTES,
	FIRST = 0x80, /* pages from here on are nobody's */
	PFNS_GPA = 0x60000, /* up to 128 KiB of them */
};

static const uint64_t all = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_BALLOON_F_STATS_VQ) |
			    BIT(VIRTIO_BALLOON_F_PAGE_POISON) | BIT(VIRTIO_BALLOON_F_REPORTING);

static struct guest g;
static json_t *json;

static inline void make_with(struct guest *guest, const char *options, int memory_fd)
{
	const struct guest_mem_config ram = { .size_bytes = RAM_BYTES,
					      .from_file = memory_fd >= 0,
					      .file_fd = memory_fd };
	struct device *dev;
	struct err e;

	*guest = (struct guest){ 0 };
	ck_assert_int_eq(loop_new(&guest->loop, &e), 0);
	ck_assert_int_eq(vm_init(&guest->vm, -1, guest->loop, 2, &e), 0);
	ck_assert_int_eq(guest_mem_new(&guest->vm.mem, &ram, &e), 0);
	loop_set_lock(guest->loop, &guest->vm.lock);
	guest->vm.pci = &guest->bus;
	ck_assert_int_eq(json_array_append_new(json, json_loads(options, 0, NULL)), 0);
	ck_assert_msg(!device_new(&dev, &virtio_balloon_class, "balloon", &guest->vm,
				  json_array_get(json, json_array_size(json) - 1), &e),
		      "%s", e.text);
	guest->v = container_of(dev, struct virtio_device, dev);
	find_capabilities(guest);
}

static inline void make(struct guest *guest, const char *options)
{
	make_with(guest, options, -1);
}

static inline void balloon_drive(struct guest *guest, uint64_t features)
{
	set_status(guest, 0);
	wait_until(guest, status_is, 0);
	set_status(guest, ACK);
	set_status(guest, ACK | DRIVER);
	set_features(guest, features);
	set_status(guest, ACK | DRIVER | FEATURES_OK);
	wr(guest, guest->common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned i = 0; i < guest->v->nqueues; i++) {
		memset(ram(guest, queue_gpa(i)), 0, QUEUE_GPA);
		setup_queue(guest, i, queue_gpa(i));
	}
	set_status(guest, UP);
	ck_assert_uint_eq(status(guest), UP);
}

static inline uint32_t field(size_t offset)
{
	return (uint32_t)rd(&g, g.config + offset, 4);
}

#define FIELD(m) field(offsetof(struct virtio_balloon_config, m))

static inline uint64_t counter(const char *name)
{
	return counter_of(&g.vm, "balloon", name);
}

static inline unsigned resident(unsigned first, unsigned n)
{
	unsigned char in[PAGES];
	unsigned sum = 0;

	ck_assert_int_eq(mincore(ram(&g, first * GUEST_PAGE_BYTES), n * GUEST_PAGE_BYTES, in), 0);
	for (unsigned i = 0; i < n; i++)
		sum += in[i] & 1;
	return sum;
}

static inline void fill(unsigned first, unsigned n)
{
	memset(ram(&g, first * GUEST_PAGE_BYTES), 'x', n * GUEST_PAGE_BYTES);
}

static inline void send(unsigned queue, gpa_t gpa, uint32_t len, unsigned flags)
{
	unsigned head = avail_of(&g, queue)->idx % g.v->s->queue[queue].size;
	uint16_t used = used_idx(&g, queue);

	desc_of(&g, queue)[head] =
		(struct vring_desc){ .addr = gpa, .len = len, .flags = (uint16_t)flags };
	publish(&g, queue, (uint16_t)head);
	kick(&g, queue);
	wait_until(&g, used_is, queue << 16 | (uint16_t)(used + 1));
}

static inline void teardown(void)
{
	guest_free(&g);
	json_decref(json);
}

#endif
