/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends each frame back that comes on the network card.  The card is there from the start, or comes
 * later, and is given up when the host asks for it.  Never ends by itself.
 */
#include "lib/virtio.h"

enum {
	PORT_WANTED = 0x614,
	PORT_EJECT = 0x618,
	RX = 0,
	TX = 1,
	BUFFERS = 32,
	BUFFER_BYTES = 1526, /* virtio 1.2, 5.1.6.3.1 */
	HEADER_BYTES = 12,
};

const char guest_name[] = "mirror";

static struct virtq rx, tx;
static uint8_t buffer[BUFFERS][BUFFER_BYTES];
/* Of its own: a checker of races sees the host's threads and not the guest between them. */
static uint8_t sent[BUFFER_BYTES];

static void offer(void *data)
{
	const struct virtq_part part = { data, BUFFER_BYTES, true };

	virtq_add(&rx, &part, 1);
	virtq_kick(&rx);
}

static void send_back(const void *data, uint32_t length)
{
	const struct virtq_part part = { sent, length, false };
	struct virtq_used used;

	memcpy(sent, data, length);
	memset(sent, 0, HEADER_BYTES);
	virtq_add(&tx, &part, 1);
	virtq_kick(&tx);
	CHECK(virtq_wait(&tx, &used));
}

static void begin(struct virtio *d)
{
	virtio_begin(d, 0);
	virtq_setup(d, &rx, RX, BUFFERS, VIRTIO_NO_VECTOR);
	virtq_setup(d, &tx, TX, BUFFERS, VIRTIO_NO_VECTOR);
	virtio_ready(d);
	for (unsigned i = 0; i < BUFFERS; i++)
		offer(buffer[i]);
}

/* Until the host wants the card back. */
static void mirror(struct virtio *d)
{
	uint32_t slots;

	begin(d);
	while (!(slots = inl(PORT_WANTED))) {
		struct virtq_used used;

		if (*(volatile uint16_t *)&rx.used.index == rx.seen) {
			delay_us(100);
			continue;
		}
		CHECK(virtq_wait(&rx, &used));
		send_back((const void *)rx.desc[used.id].address, used.length);
		offer((void *)rx.desc[used.id].address);
	}
	virtio_reset(d);
	outl(PORT_EJECT, slots);
}

void guest_main(void)
{
	struct virtio d;

	for (;;) {
		if (virtio_find(&d, VIRTIO_ID_NET, 0))
			mirror(&d);
		else
			delay_us(1000);
	}
}
