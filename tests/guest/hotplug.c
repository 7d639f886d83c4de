/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that come and go: what the ACPI tables would have a guest do, with the registers read by
 * hand. Command line: rounds=N. Every other disk is given up with its driver still at work.
 */
#include "lib/virtio.h"

enum {
	PORT_INSERTED = 0x610,
	PORT_WANTED = 0x614,
	PORT_EJECT = 0x618,
	VECTOR_BLK = VECTOR_IRQ,
	BLK_BYTES = 4096,
	REQUESTS = 16,
};

const char guest_name[] = "hotplug";

static struct virtq queue;
static uint8_t data[REQUESTS][BLK_BYTES];

static uint32_t wait_for(uint16_t port)
{
	for (unsigned i = 0; i < 300000; i++) {
		uint32_t slots = inl(port);

		if (slots)
			return slots;
		delay_us(100);
	}
	guest_fail("nothing at port 0x%x", port);
}

/* As after RST#: PCI Local Bus 3.0, 6.2.2 */
static void check_fresh(unsigned fn)
{
	CHECK(pci_read(fn, PCI_ID, 2) == 0x1af4);
	CHECK(pci_read(fn, PCI_COMMAND, 2) == 0);
	for (unsigned bar = 0; bar < 6; bar++)
		CHECK(pci_read(fn, PCI_BAR0 + 4 * bar, 4) == 0);
}

static void use(struct virtio *d, unsigned round)
{
	uint32_t before = guest_irq_count[VECTOR_BLK];

	CHECK(virtio_find(d, VIRTIO_ID_BLK, 0));
	virtio_begin(d, 0);
	msix_set(&d->msix, 1, VECTOR_BLK);
	msix_enable(&d->msix, true);
	virtq_setup(d, &queue, 0, 64, 1);
	virtio_ready(d);
	memset(data[0], (int)round, BLK_BYTES);
	CHECK(blk_do(&queue, BLK_OUT, 8, data[0], BLK_BYTES));
	memset(data[0], 0, BLK_BYTES);
	CHECK(blk_do(&queue, BLK_IN, 8, data[0], BLK_BYTES));
	CHECK(data[0][0] == (uint8_t)round && data[0][BLK_BYTES - 1] == (uint8_t)round);
	for (unsigned i = 0; i < 10000 && guest_irq_count[VECTOR_BLK] == before; i++)
		delay_us(100);
	CHECK(guest_irq_count[VECTOR_BLK] != before);
}

/* Nobody waits for the answers. */
static void leave_requests(void)
{
	static struct blk_request request[REQUESTS];

	for (unsigned i = 0; i < REQUESTS; i++)
		blk_add(&queue, &request[i], BLK_IN, 8 * i, data[i], BLK_BYTES);
	virtq_kick(&queue);
}

void guest_main(void)
{
	unsigned rounds = (unsigned)cmdline_number("rounds", 10);
	struct virtio d;

	cpu_irqs_on();
	for (unsigned round = 1; round <= rounds; round++) {
		uint32_t slots = wait_for(PORT_INSERTED);
		unsigned fn = PCI_FN((unsigned)__builtin_ctz(slots), 0);

		CHECK(!(slots & (slots - 1)));
		check_fresh(fn);
		use(&d, round);
		CHECK(d.fn == fn);
		CHECK(wait_for(PORT_WANTED) == slots);
		if (round % 2)
			leave_requests();
		else
			virtio_reset(&d);
		outl(PORT_EJECT, slots); /* the next one comes when this one has gone */
	}
}
