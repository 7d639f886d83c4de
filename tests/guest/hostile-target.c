/* SPDX-License-Identifier: Apache-2.0 */
/* What attacks are made of, and where they begin. */
#include "hostile.h"

uint8_t scratch[16 * PAGE] __attribute__((aligned(PAGE)));

static uint64_t seed;

void random_seed(uint64_t s)
{
	seed = s | 1ull << 63;
}

/* xorshift64* */
uint64_t random64(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545f4914f6cdd1d;
}

void raw(struct target *t, unsigned i, uint64_t address, uint32_t length, uint16_t flags,
	 uint16_t next)
{
	t->q.desc[i] = (struct virtq_desc){ address, length, flags, next };
}

void post(struct target *t, uint16_t head)
{
	t->q.avail.ring[t->q.avail.index % QUEUE_SIZE] = head;
	barrier();
	t->q.avail.index++;
	virtq_kick(&t->q);
}

void target_start(struct target *t)
{
	memset(scratch, 0, sizeof(scratch));
	virtio_begin(&t->d, t->features);
	for (unsigned i = 0; i < 2; i++) {
		msix_set(&t->d.msix, i, VECTOR_IRQ + i);
		msix_mask(&t->d.msix, i, true);
	}
	msix_enable(&t->d.msix, true);
	virtq_setup(&t->d, &t->q, t->queue, QUEUE_SIZE, 1);
	virtio_ready(&t->d);
}

void tried(struct target *t)
{
	delay_us(t->patience_us);
	if (!(virtio_status(&t->d) & VIRTIO_NEEDS_RESET))
		return;
	t->asked = true;
	target_start(t);
}
