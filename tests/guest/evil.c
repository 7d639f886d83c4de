/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that does harm to its host as fast as it can: all of hostile.c's attacks, on each queue
 * of each device, and floods of what these devices do at a price. Nobody waits for an answer, so
 * that a device is reset with all of it under way. Meanwhile a second processor has a storm of
 * doorbells, ports, vectors and hotplug, turns=N of it (default 6) for each queue. Where it has
 * come to, it says: "evil: round 0 device 2 queue 0". After "evil: done" it gives up whatever it is
 * asked for, until 'q' on the serial port ends it.
 *
 * Command line: seed=N, rounds=N (default 1), wild (as for hostile). Writes to all of the disk.
 */
#include "evil.h"

const char guest_name[] = "evil";

struct target victims[DEVICES_MAX];
unsigned nvictims;

static volatile uint64_t turns, turned; /* that the storm shall have, and has had */
static volatile bool over;

static void find_victims(void)
{
	static const unsigned ids[] = { VIRTIO_ID_BLK,     VIRTIO_ID_NET, VIRTIO_ID_CONSOLE,
					VIRTIO_ID_BALLOON, VIRTIO_ID_MEM, VIRTIO_ID_RNG };

	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++)
		for (unsigned nth = 0; nvictims < DEVICES_MAX; nth++) {
			struct target *t = &victims[nvictims];

			if (!virtio_find(&t->d, ids[i], nth))
				break;
			t->features = ~0ull; /* all that is offered */
			nvictims++;
		}
}

static void make(struct target *t, const struct attack *attacks)
{
	for (const struct attack *a = attacks; a->name; a++) {
		target_start(t);
		a->run(t);
	}
}

/* Where another device is, and where memory is; memory stays what it is. */
static void move_bar(struct target *t)
{
	const uint32_t home = (uint32_t)t->d.common & ~(PAGE - 1u);
	const volatile uint64_t *memory = (const uint64_t *)scratch;

	target_start(t);
	for (unsigned i = 0; i <= nvictims; i++) {
		uint32_t to = i < nvictims ? (uint32_t)victims[i].d.common & ~(PAGE - 1u)
					   : (uint32_t)(uint64_t)scratch & ~0xffffu;

		pci_write(t->d.fn, PCI_BAR0, 4, to);
		write32(to, random64() & 0xff);
		virtq_kick(&t->q);
		write64((uint64_t)scratch, i);
		CHECK(*memory == i);
		pci_write(t->d.fn, PCI_BAR0, 4, home);
	}
}

static void harm(struct target *t, unsigned round)
{
	const uint64_t each = cmdline_number("turns", 6);
	unsigned queues = read16(t->d.common + VIRTIO_NUM_QUEUES);

	for (t->queue = 0; t->queue < queues; t->queue++) {
		print("evil: round %u device %u queue %u\n", round, t->d.id, t->queue);
		turns += each;
		/* What a descriptor says is memory to give away: only what can be spared. */
		if (t->d.id != VIRTIO_ID_BALLOON || t->queue != BALLOON_INFLATE)
			make(t, queue_attacks);
		target_start(t);
		flood(t);
	}
	t->queue = 0;
	make(t, register_attacks);
	move_bar(t);
}

static void second(unsigned index)
{
	(void)index;
	while (!over)
		if (turned != turns) {
			storm();
			turned++;
		}
}

void guest_main(void)
{
	unsigned rounds = (unsigned)cmdline_number("rounds", 1);

	random_seed(cmdline_number("seed", 1));
	find_victims();
	CHECK(cpu_start(1, 1, second));
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned i = 0; i < nvictims; i++)
			harm(&victims[i], round);
	while (turned != turns)
		delay_us(1000);
	over = true;
	for (unsigned i = 0; i < nvictims; i++)
		virtio_reset(&victims[i].d);
	print("evil: done, %u devices, %lu turns\n", nvictims, turns);
	while (serial_get() != 'q') {
		plugs();
		delay_us(1000);
	}
}
