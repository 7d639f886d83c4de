/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest with a balloon whose memory is the input: rings, page numbers, ranges and statistics of
 * all queues. The first byte says what was negotiated. The rest is cut into rounds: each is put
 * into memory, the device is started, which kicks the queues, and stopped, which must leave nothing
 * in flight.
 */
#include <assert.h>
#include <linux/pci_regs.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "balloon_internal.h"
#include "bits.h"
#include "virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct device_class virtio_balloon_class;

enum {
	RAM_BYTES = 64 * KIB,
	QUEUES = 5,
	QUEUE_SIZE = 4,
	QUEUE_BYTES = 0x100, /* from one to the next */
	AVAIL = 0x40,
	USED = 0x80,
	NUMBER = 0x7f8, /* where the guest has what it is asked by */
	ROUNDS = 3,
	READY = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
		VIRTIO_CONFIG_S_DRIVER_OK,
};

struct fuzz {
	struct loop *loop;
	struct vm vm;
	struct pci_bus bus;
	struct device *dev;
};

static void on_event(void *arg, unsigned events)
{
	(void)arg;
	(void)events;
}

static void fuzz_open(struct fuzz *f)
{
	const struct guest_mem_config ram = { .size_bytes = RAM_BYTES };
	json_t *options = json_pack("{s:i, s:b, s:b}", "size", 8192, "free_page_reporting", 1,
				    "free_page_hinting", 1);
	struct err e;

	if (loop_new(&f->loop, &e) || vm_init(&f->vm, -1, f->loop, 1, &e) ||
	    guest_mem_new(&f->vm.mem, &ram, &e) || guest_mem_hints_start(f->vm.mem, &e))
		abort();
	loop_set_lock(f->loop, &f->vm.lock);
	f->vm.on_event = on_event;
	f->vm.pci = &f->bus;
	if (device_new(&f->dev, &virtio_balloon_class, "balloon", &f->vm, options, &e))
		abort();
	pci_config_write(&f->bus, 0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	json_decref(options);
}

static void fuzz_close(struct fuzz *f)
{
	struct guest_mem *mem = f->vm.mem;

	vm_free(&f->vm);
	guest_mem_free(mem);
	loop_free(f->loop);
}

static void stopped(struct device *dev, void *arg)
{
	(void)dev;
	loop_quit(arg);
}

static void play(struct fuzz *f, const uint8_t *data, size_t size)
{
	const struct virtio_state *s = device_state(f->dev);
	struct balloon_reading now;

	memcpy(f->vm.mem->region[0].host, data, MIN(size, (size_t)RAM_BYTES));
	pthread_mutex_lock(&f->vm.lock);
	/* The guest has read the number. */
	balloon_hint(f->dev, true);
	memcpy(f->vm.mem->region[0].host + NUMBER, &balloon_of(f->dev)->hints.id, 4);
	device_start(f->dev);
	device_stop(f->dev, stopped, f->loop);
	pthread_mutex_unlock(&f->vm.lock);
	loop_run(f->loop);
	/* All that was taken was given back. */
	assert(f->dev->phase == DEVICE_STOPPED);
	for (unsigned i = 0; i < QUEUES; i++)
		assert(s->queue[i].next_avail == s->queue[i].next_used);
	balloon_read(f->dev, &now);
	assert(now.touched_bytes <= now.given_bytes && now.given_bytes <= RAM_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { 0 };
	struct virtio_state *s;
	struct err e;

	if (size < 1 + ROUNDS)
		return 0;
	fuzz_open(&f);
	s = device_state(f.dev);
	s->status = READY;
	s->driver_features = BIT(VIRTIO_F_VERSION_1) |
			     (data[0] & 1 ? BIT(VIRTIO_BALLOON_F_STATS_VQ) : 0) |
			     (data[0] & 2 ? BIT(VIRTIO_BALLOON_F_REPORTING) : 0) |
			     (data[0] & 4 ? BIT(VIRTIO_BALLOON_F_PAGE_POISON) : 0) |
			     (data[0] & 8 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0) |
			     (data[0] & 32 ? BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT) : 0);
	/* What is given of these is given whole. */
	if (data[0] & 16)
		f.vm.mem->page_bytes = UINT64_C(4) * GUEST_PAGE_BYTES;
	for (unsigned i = 0; i < QUEUES; i++)
		s->queue[i] = (struct virtqueue_state){ .size = QUEUE_SIZE,
							.enabled = true,
							.vector = MSIX_NO_VECTOR,
							.desc = i * QUEUE_BYTES,
							.driver = i * QUEUE_BYTES + AVAIL,
							.device = i * QUEUE_BYTES + USED };
	if (device_loaded(f.dev, &e))
		abort();
	size = (size - 1) / ROUNDS;
	for (unsigned i = 0; i < ROUNDS; i++)
		play(&f, data + 1 + i * size, size);
	fuzz_close(&f);
	return 0;
}
