/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio.h"

enum {
	VENDOR = 0x1af4,
	MODERN_FIRST = 0x1040,
	TRANSITIONAL_FIRST = 0x1000, /* 4.1.2 */
	CAP_TYPE = 3,
	CAP_BAR = 4,
	CAP_OFFSET = 8,
	CAP_NOTIFY_UNIT = 16, /* 4.1.4 */
	CAP_COMMON = 1,
	CAP_NOTIFY = 2,
	CAP_ISR = 3,
	CAP_DEVICE = 4,
	WAIT_S = 30, /* where many share a processor, seconds pass */
};

struct search {
	unsigned id, nth, fn;
};

static unsigned virtio_id(unsigned fn)
{
	uint32_t id = pci_read(fn, PCI_ID, 4);
	unsigned device = id >> 16;

	if ((id & 0xffff) != VENDOR)
		return 0;
	if (device >= MODERN_FIRST)
		return device - MODERN_FIRST;
	return device >= TRANSITIONAL_FIRST ? pci_read(fn, PCI_SUBSYSTEM + 2, 2) : 0;
}

static bool search_visit(unsigned fn, void *arg)
{
	struct search *s = arg;

	s->fn = fn;
	return virtio_id(fn) == s->id && !s->nth--;
}

static void take_capability(struct virtio *d, unsigned cap)
{
	uint64_t at;

	switch (pci_read(d->fn, cap + CAP_TYPE, 1)) {
	case CAP_COMMON:
	case CAP_NOTIFY:
	case CAP_ISR:
	case CAP_DEVICE:
		break;
	default:
		return; /* among others the window by configuration space: no BAR */
	}
	at = pci_bar(d->fn, pci_read(d->fn, cap + CAP_BAR, 1)) +
	     pci_read(d->fn, cap + CAP_OFFSET, 4);
	switch (pci_read(d->fn, cap + CAP_TYPE, 1)) {
	case CAP_COMMON:
		d->common = at;
		break;
	case CAP_NOTIFY:
		d->notify = at;
		d->notify_unit = pci_read(d->fn, cap + CAP_NOTIFY_UNIT, 4);
		break;
	case CAP_ISR:
		d->isr = at;
		break;
	case CAP_DEVICE:
		d->config = at;
		break;
	}
}

bool virtio_find(struct virtio *d, unsigned id, unsigned nth)
{
	struct search s = { .id = id, .nth = nth };

	if (!pci_each(search_visit, &s))
		return false;
	*d = (struct virtio){ .fn = s.fn, .id = id };
	for (unsigned cap = 0; (cap = pci_capability(s.fn, PCI_CAP_VENDOR, cap));)
		take_capability(d, cap);
	CHECK(d->common && d->notify && d->isr);
	pci_enable(s.fn);
	CHECK(msix_find(&d->msix, s.fn));
	return true;
}

uint8_t virtio_status(const struct virtio *d)
{
	return read8(d->common + VIRTIO_STATUS);
}

void virtio_set_status(const struct virtio *d, uint8_t v)
{
	write8(d->common + VIRTIO_STATUS, v);
}

void virtio_reset(const struct virtio *d)
{
	uint64_t end = rdtsc() + WAIT_S * tsc_hz();

	virtio_set_status(d, 0);
	while (virtio_status(d)) { /* 4.1.4.3.2: until it reads 0 */
		CHECK(rdtsc() < end);
		delay_us(100);
	}
}

static uint64_t features_read(const struct virtio *d)
{
	uint64_t low;

	write32(d->common + VIRTIO_DEVICE_FEATURE_SELECT, 0);
	low = read32(d->common + VIRTIO_DEVICE_FEATURE);
	write32(d->common + VIRTIO_DEVICE_FEATURE_SELECT, 1);
	return (uint64_t)read32(d->common + VIRTIO_DEVICE_FEATURE) << 32 | low;
}

void virtio_begin(struct virtio *d, uint64_t wanted)
{
	virtio_reset(d);
	virtio_set_status(d, VIRTIO_ACKNOWLEDGE);
	virtio_set_status(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	d->offered = features_read(d);
	CHECK(d->offered & VIRTIO_F_VERSION_1);
	d->features = d->offered & (wanted | VIRTIO_F_VERSION_1);
	for (unsigned i = 0; i < 2; i++) {
		write32(d->common + VIRTIO_DRIVER_FEATURE_SELECT, i);
		write32(d->common + VIRTIO_DRIVER_FEATURE, (uint32_t)(d->features >> 32 * i));
	}
	virtio_set_status(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	CHECK(virtio_status(d) & VIRTIO_FEATURES_OK);
}

void virtio_ready(const struct virtio *d)
{
	virtio_set_status(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK |
				     VIRTIO_DRIVER_OK);
}

static void write_address(uint64_t at, const void *p)
{
	write32(at, (uint32_t)(uint64_t)p); /* 4.1.3.1: 64-bit fields as two of 32 */
	write32(at + 4, (uint32_t)((uint64_t)p >> 32));
}

void virtq_setup(const struct virtio *d, struct virtq *q, uint16_t number, uint16_t size,
		 uint16_t vector)
{
	uint64_t c = d->common;

	memset(q, 0, sizeof(*q));
	write16(c + VIRTIO_QUEUE_SELECT, number);
	CHECK(size <= VIRTQ_MAX && read16(c + VIRTIO_QUEUE_SIZE) >= size);
	q->number = number;
	q->size = size;
	q->notify = d->notify + (uint64_t)read16(c + VIRTIO_QUEUE_NOTIFY_OFF) * d->notify_unit;
	write16(c + VIRTIO_QUEUE_SIZE, size);
	write16(c + VIRTIO_QUEUE_VECTOR, vector);
	CHECK(read16(c + VIRTIO_QUEUE_VECTOR) == vector);
	write_address(c + VIRTIO_QUEUE_DESC, q->desc);
	write_address(c + VIRTIO_QUEUE_DRIVER, &q->avail);
	write_address(c + VIRTIO_QUEUE_DEVICE, &q->used);
	write16(c + VIRTIO_QUEUE_ENABLE, 1);
}

/* Descriptors are taken in turn: a test never has more in use than the table has. */
uint16_t virtq_add(struct virtq *q, const struct virtq_part *parts, unsigned n)
{
	uint16_t head = q->next_desc;

	for (unsigned i = 0; i < n; i++) {
		uint16_t next = (uint16_t)((q->next_desc + 1) % q->size);

		q->desc[q->next_desc] = (struct virtq_desc){
			.address = (uint64_t)parts[i].data,
			.length = parts[i].length,
			.next = next,
			.flags = (uint16_t)((parts[i].to_driver ? VIRTQ_WRITE : 0) |
					    (i + 1 < n ? VIRTQ_NEXT : 0)),
		};
		q->next_desc = next;
	}
	q->avail.ring[q->avail.index % q->size] = head;
	barrier();
	q->avail.index++;
	return head;
}

void virtq_kick(const struct virtq *q)
{
	__sync_synchronize();
	write16(q->notify, q->number);
}

bool virtq_wait(struct virtq *q, struct virtq_used *used)
{
	uint64_t end = rdtsc() + WAIT_S * tsc_hz();

	while (*(volatile uint16_t *)&q->used.index == q->seen) {
		if (rdtsc() > end)
			return false;
		cpu_relax();
	}
	*used = q->used.ring[q->seen++ % q->size];
	return true;
}

uint16_t blk_add(struct virtq *q, struct blk_request *r, uint32_t type, uint64_t sector,
		 const void *data, uint32_t length)
{
	const struct virtq_part parts[] = {
		{ r, offsetof(struct blk_request, status), false },
		{ length ? data : &r->status, length ? length : 1, !length || type == BLK_IN },
		{ &r->status, 1, true },
	};

	*r = (struct blk_request){ .type = type, .sector = sector, .status = 0xff };
	return virtq_add(q, parts, length ? 3 : 2);
}

bool blk_do(struct virtq *q, uint32_t type, uint64_t sector, const void *data, uint32_t length)
{
	struct blk_request r;
	struct virtq_used used;
	uint16_t head = blk_add(q, &r, type, sector, data, length);

	virtq_kick(q);
	return virtq_wait(q, &used) && used.id == head &&
	       *(volatile uint8_t *)&r.status == BLK_STATUS_OK;
}

uint64_t blk_capacity(const struct virtio *d)
{
	return (uint64_t)read32(d->config + 4) << 32 | read32(d->config);
}
