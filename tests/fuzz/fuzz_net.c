/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest with one network card whose memory is the input: rings, descriptors, headers and
 * frames; and so is what its back end (net_wires.h) sends.
 *
 * The first bytes say which, what was negotiated and how large the queues are.  What the back end
 * sends follows, then pieces of memory: address, length, bytes.  One of length 0 has the device
 * started, its queues have their turns, and stopped, which must leave nothing in flight.
 */
#include <assert.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "io_thread.h"
#include "net_wires.h"
#include "virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct device_class virtio_net_class;

enum {
	RAM_BYTES = 128 * KIB,
	QUEUE_SIZE_MAX = 16,
	QUEUE_GPA = 0x400, /* of queue i: i times this */
	AVAIL = 0x100,
	USED = 0x200,
	HEAD = 4,
	PIECE_HEAD = 3,
	SENT_UNIT = 4,
	PLAYS = 4,
	TURNS = 4,
	SMALL_SOCKET_BYTES = 4 * KIB,
	READY = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
		VIRTIO_CONFIG_S_DRIVER_OK,
};

enum flags {
	PASST = 1,
	TWO_PAIRS = 2, /* of a tap */
	EVENT_IDX = 4,
	ALL_FEATURES = 8,
	NO_MERGEABLE = 16,
	SMALL_SOCKET = 32,
};

struct fuzz {
	struct loop *loop;
	struct vm vm;
	struct pci_bus bus;
	struct device *dev;
	bool passt;
	/* From the guest through passt's socket: bytes of a length, and what is left of a frame. */
	uint32_t length;
	unsigned nlength;
	size_t left;
	unsigned turns;
	struct work ping, pong; /* to the I/O thread and back */
};

/* The peer: a stream must stay one of frames, whatever the guest does. */

static void check_byte(struct fuzz *f, uint8_t byte)
{
	if (f->left) {
		f->left--;
		return;
	}
	f->length = f->length << 8 | byte;
	if (++f->nlength < PASST_LENGTH_BYTES)
		return;
	assert(f->length >= PASST_FRAME_MIN && f->length <= PASST_FRAME_MAX);
	f->left = f->length;
	f->length = f->nlength = 0;
}

static void drain(struct fuzz *f)
{
	static uint8_t bytes[64 * KIB];
	ssize_t n;

	for (unsigned i = 0; i < PAIRS_MAX; i++)
		while ((n = recv(wires[i].peer, bytes, sizeof(bytes), 0)) > 0)
			for (ssize_t k = 0; f->passt && k < n; k++)
				check_byte(f, bytes[k]);
}

/* To a tap: packets, each after its length. */
static void send_to_card(const struct fuzz *f, const uint8_t *data, size_t size)
{
	for (size_t n; size > 1; size -= n, data += n) {
		n = f->passt ? size : MIN(size, 2u + data[0]);
		if (send(wires[0].peer, data + !f->passt, n - !f->passt, MSG_NOSIGNAL) < 0)
			return;
	}
}

/* Life */

static void on_event(void *arg, unsigned events)
{
	(void)arg;
	(void)events;
}

static void stopped(struct device *dev, void *arg)
{
	(void)dev;
	loop_quit(arg);
}

static void ping(void *arg)
{
	struct fuzz *f = arg;

	loop_post(f->loop, &f->pong);
}

static void pong(void *arg)
{
	struct fuzz *f = arg;

	drain(f);
	if (f->turns--)
		loop_post(io_thread_loop(f->vm.io_thread[0]), &f->ping);
	else
		device_stop(f->dev, stopped, f->loop);
}

static void fuzz_open(struct fuzz *f, unsigned flags)
{
	const struct guest_mem_config ram = { .size_bytes = RAM_BYTES };
	int bytes = SMALL_SOCKET_BYTES;
	json_t *options;
	struct err e;

	f->passt = flags & PASST;
	f->ping = (struct work){ .run = ping, .arg = f };
	f->pong = (struct work){ .run = pong, .arg = f };
	wires[0] = wires[1] = (struct wire){ -1, -1 };
	options = json_pack("{s:s, s:i, s:i}", "backend", f->passt ? "Passt" : "Tap", "queue_size",
			    QUEUE_SIZE_MAX, "num_queues", flags & TWO_PAIRS && !f->passt ? 4 : 2);
	if (loop_new(&f->loop, &e) || vm_init(&f->vm, -1, f->loop, 1, &e) ||
	    guest_mem_new(&f->vm.mem, &ram, &e))
		abort();
	loop_set_lock(f->loop, &f->vm.lock);
	f->vm.on_event = on_event;
	f->vm.pci = &f->bus;
	if (device_new(&f->dev, &virtio_net_class, "net0", &f->vm, options, &e))
		abort();
	if (flags & SMALL_SOCKET)
		setsockopt(wires[0].card, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
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

static void driver_ready(struct fuzz *f, const uint8_t *head)
{
	struct virtio_device *v = container_of(f->dev, struct virtio_device, dev);
	struct virtio_state *s = device_state(f->dev);
	struct err e;

	s->status = READY;
	s->driver_features = BIT(VIRTIO_F_VERSION_1);
	if (head[0] & EVENT_IDX)
		s->driver_features |= BIT(VIRTIO_RING_F_EVENT_IDX);
	if (head[0] & ALL_FEATURES)
		s->driver_features |= v->features & ~BIT(VIRTIO_RING_F_EVENT_IDX);
	if (head[0] & NO_MERGEABLE)
		s->driver_features &= ~BIT(VIRTIO_NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < v->nqueues; i++)
		s->queue[i] = (struct virtqueue_state){ .size = (uint16_t)(1u << head[1] % 5),
							.enabled = true,
							.vector = MSIX_NO_VECTOR,
							.desc = QUEUE_GPA * i,
							.driver = QUEUE_GPA * i + AVAIL,
							.device = QUEUE_GPA * i + USED,
							.next_avail = head[2] & 15,
							.next_used = head[2] >> 4 };
	if (device_loaded(f->dev, &e))
		abort();
}

static void play(struct fuzz *f)
{
	struct virtio_state *s = device_state(f->dev);

	f->turns = TURNS;
	pthread_mutex_lock(&f->vm.lock);
	device_start(f->dev);
	loop_post(io_thread_loop(f->vm.io_thread[0]), &f->ping);
	pthread_mutex_unlock(&f->vm.lock);
	loop_run(f->loop);
	/* All that was taken was given back. */
	assert(f->dev->phase == DEVICE_STOPPED);
	for (unsigned i = 0; i < s->nqueues; i++)
		assert((uint16_t)(s->queue[i].next_avail - s->queue[i].next_used) ==
		       (uint16_t)(s->queue[0].next_avail - s->queue[0].next_used));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;
	struct fuzz f = { 0 };
	size_t n;

	if (size < HEAD)
		return 0;
	fuzz_open(&f, data[0]);
	driver_ready(&f, data);
	n = MIN(size - HEAD, data[3] * (size_t)SENT_UNIT);
	send_to_card(&f, data + HEAD, n);
	data += HEAD + n;
	for (unsigned plays = 0; plays < PLAYS && end - data >= PIECE_HEAD;) {
		size_t at = data[0] | data[1] << 8;

		n = MIN(data[2], (size_t)(end - data) - PIECE_HEAD);
		data += PIECE_HEAD;
		memcpy((char *)f.vm.mem->region[0].host + at, data, n);
		data += n;
		if (n)
			continue;
		play(&f);
		plays++;
	}
	fuzz_close(&f);
	return 0;
}
