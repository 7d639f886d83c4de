/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest with one disk whose memory is the input: rings, descriptors, headers and data.  The
 * first bytes say what was negotiated and how large the queue is.  The rest is cut into
 * rounds: each is put into memory, the device is started, which kicks the queue, and stopped,
 * which must leave nothing in flight.
 */
#include <assert.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct device_class virtio_blk_class;

enum {
	RAM_BYTES = 64 * KIB,
	IMAGE_BYTES = 32 * KIB,
	DESC = 0,
	AVAIL = 0x200,
	USED = 0x400,
	HEAD = 2,
	ROUNDS = 3,
	READY = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
		VIRTIO_CONFIG_S_DRIVER_OK,
};

struct fuzz {
	struct loop *loop;
	struct vm vm;
	struct pci_bus bus;
	struct device *dev;
	int image;
};

static void on_event(void *arg, unsigned events)
{
	(void)arg;
	(void)events;
}

static void fuzz_open(struct fuzz *f, bool readonly)
{
	const struct guest_mem_config ram = { .size_bytes = RAM_BYTES };
	char path[32];
	json_t *options;
	struct err e;

	f->image = memfd_create("image", MFD_CLOEXEC);
	if (f->image < 0 || ftruncate(f->image, IMAGE_BYTES))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->image);
	options = json_pack("{s:s, s:b, s:i}", "path", path, "readonly", readonly, "queue_size",
			    16);
	if (loop_new(&f->loop, &e) || vm_init(&f->vm, -1, f->loop, 1, &e) ||
	    guest_mem_new(&f->vm.mem, &ram, &e))
		abort();
	loop_set_lock(f->loop, &f->vm.lock);
	f->vm.on_event = on_event;
	f->vm.pci = &f->bus;
	if (device_new(&f->dev, &virtio_blk_class, "disk0", &f->vm, options, &e))
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
	close(f->image);
}

static void stopped(struct device *dev, void *arg)
{
	(void)dev;
	loop_quit(arg);
}

static void play(struct fuzz *f, const uint8_t *data, size_t size)
{
	struct virtqueue_state *q = &((struct virtio_state *)device_state(f->dev))->queue[0];
	uint16_t offset = (uint16_t)(q->next_avail - q->next_used);

	memcpy(f->vm.mem->region[0].host, data, MIN(size, (size_t)RAM_BYTES));
	pthread_mutex_lock(&f->vm.lock);
	device_start(f->dev);
	device_stop(f->dev, stopped, f->loop);
	pthread_mutex_unlock(&f->vm.lock);
	loop_run(f->loop);
	/* All that was taken was given back. */
	assert(f->dev->phase == DEVICE_STOPPED);
	assert((uint16_t)(q->next_avail - q->next_used) == offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { 0 };
	struct virtio_state *s;
	struct stat st;
	struct err e;

	if (size < HEAD + ROUNDS)
		return 0;
	fuzz_open(&f, data[0] & 1);
	s = device_state(f.dev);
	s->status = READY;
	s->driver_features = BIT(VIRTIO_F_VERSION_1);
	if (data[0] & 2)
		s->driver_features |= BIT(VIRTIO_RING_F_EVENT_IDX);
	if (data[0] & 4)
		s->driver_features |= container_of(f.dev, struct virtio_device, dev)->features;
	s->queue[0] = (struct virtqueue_state){ .size = (uint16_t)(1u << (data[0] >> 3) % 5),
						.enabled = true,
						.vector = MSIX_NO_VECTOR,
						.desc = DESC,
						.driver = AVAIL,
						.device = USED,
						.next_avail = data[1] & 15,
						.next_used = data[1] >> 4 };
	if (device_loaded(f.dev, &e))
		abort();
	data += HEAD;
	size = (size - HEAD) / ROUNDS;
	for (unsigned i = 0; i < ROUNDS; i++)
		play(&f, data + i * size, size);
	if (fstat(f.image, &st) || st.st_size != IMAGE_BYTES)
		abort();
	fuzz_close(&f);
	return 0;
}
