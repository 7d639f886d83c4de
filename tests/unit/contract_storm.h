/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a wild guest does to a device: random accesses of all sizes to all its regions and to
 * its configuration space, and between them a virtio driver that hands out rings of rubbish.
 * The same seed does the same.
 */
#ifndef CONTRACT_STORM_H
#define CONTRACT_STORM_H

#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "contract_rig.h"

enum { REGIONS_MAX = 32, RING_SIZE = 16, STATUS_POLLS = 100 };

/* xorshift64: the state is not 0. */
static inline uint64_t draw(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * UINT64_C(0x2545f4914f6cdd1d) >> 7;
}

struct access {
	enum { ACCESS_NONE, ACCESS_REGION, ACCESS_PCI } where;
	unsigned region;
	uint64_t offset, value;
	unsigned size;
	bool write;
};

static inline unsigned regions_of(struct rig *rig, struct region **list)
{
	struct bus *const bus[] = { &rig->vm.pio, &rig->vm.mmio };
	unsigned n = 0;

	for (unsigned b = 0; b < ARRAY_SIZE(bus); b++)
		for (unsigned i = 0; i < bus[b]->nregions && n < REGIONS_MAX; i++)
			if (!strcmp(bus[b]->region[i]->name, rig->dev->id))
				list[n++] = bus[b]->region[i];
	return n;
}

static inline uint64_t draw_value(uint64_t *seed)
{
	static const uint64_t usual[] = { 0, 1, 2, 4, 8, 0x10, 0x20, 0x80, 0xff, 0xffff };

	switch (draw(seed) % 8) {
	case 0:
		return draw(seed);
	case 1:
		return ~UINT64_C(0) >> draw(seed) % 64;
	case 2:
		return draw(seed) % RAM_BYTES;
	case 3:
	case 4:
		return draw(seed) % 16;
	case 5:
		return draw(seed) % 128;
	default:
		return usual[draw(seed) % ARRAY_SIZE(usual)];
	}
}

/* Mostly a size that the region takes, but not only. */
static inline unsigned draw_size(uint64_t *seed, const struct region *r)
{
	unsigned size = 1u << draw(seed) % 4;

	while (r && draw(seed) % 8 && !(r->ops->widths & size))
		size = 1u << draw(seed) % 4;
	return draw(seed) % 16 ? size : 1 + draw(seed) % 8;
}

/* Mostly aligned and near the beginning, where registers are, but not only. */
static inline uint64_t draw_offset(uint64_t *seed, uint64_t bytes, unsigned size)
{
	uint64_t near = MIN(bytes, UINT64_C(64));
	uint64_t at = draw(seed) % (draw(seed) % 4 ? near : bytes + 2);

	return draw(seed) % 8 ? at - at % size : at;
}

static inline struct access draw_access(struct rig *rig, uint64_t *seed)
{
	struct region *region[REGIONS_MAX];
	unsigned n = regions_of(rig, region);
	struct access a = { .write = draw(seed) % 2, .value = draw_value(seed) };

	if (function_of(rig) && (!n || draw(seed) % 16 == 0)) {
		a.where = ACCESS_PCI;
		a.size = 1u << draw(seed) % 3;
		a.offset = align_down(draw(seed) % (draw(seed) % 2 ? 0x80 : 4096), a.size);
	} else if (n) {
		a.where = ACCESS_REGION;
		a.region = (unsigned)draw(seed) % n;
		a.size = draw_size(seed, region[a.region]);
		a.offset = draw_offset(seed, region[a.region]->size_bytes, a.size);
	}
	return a;
}

static inline uint64_t access_region(struct rig *rig, const struct access *a)
{
	struct region *region[REGIONS_MAX];
	unsigned n = regions_of(rig, region);
	struct region *r;

	if (a->region >= n)
		return 0;
	r = region[a->region];
	if (!a->write)
		return bus_read(r->bus, r->base + a->offset, a->size);
	bus_write(r->bus, r->base + a->offset, a->size, a->value);
	return 0;
}

/* What was read, or 0. */
static inline uint64_t do_access(struct rig *rig, const struct access *a)
{
	uint64_t value = 0;

	pthread_mutex_lock(&rig->vm.lock);
	if (a->where == ACCESS_REGION)
		value = access_region(rig, a);
	else if (a->where == ACCESS_PCI && a->write)
		pci_config_write(rig->vm.pci, function_of(rig)->slot << 3, (unsigned)a->offset,
				 a->size, a->value);
	else if (a->where == ACCESS_PCI)
		value = pci_config_read(rig->vm.pci, function_of(rig)->slot << 3,
					(unsigned)a->offset, a->size);
	pthread_mutex_unlock(&rig->vm.lock);
	return value;
}

/* The registers of a modern virtio device. */
struct driver {
	struct rig *rig;
	uint64_t common, notify; /* addresses */
	uint32_t notify_multiplier;
};

static inline uint64_t pci_read(struct rig *rig, unsigned offset, unsigned size)
{
	return pci_config_read(rig->vm.pci, function_of(rig)->slot << 3, offset, size);
}

/* False: not a virtio device, or its registers are not mapped. */
static inline bool driver_find(struct driver *d, struct rig *rig)
{
	struct pci_function *fn = function_of(rig);

	*d = (struct driver){ .rig = rig };
	if (!fn || pci_read(rig, PCI_VENDOR_ID, 2) != 0x1af4)
		return false;
	for (unsigned at = (unsigned)pci_read(rig, PCI_CAPABILITY_LIST, 1), n = 0; at && n < 32;
	     at = (unsigned)pci_read(rig, at + 1, 1), n++) {
		unsigned bar = (unsigned)pci_read(rig, at + VIRTIO_PCI_CAP_BAR, 1);
		unsigned type = (unsigned)pci_read(rig, at + VIRTIO_PCI_CAP_CFG_TYPE, 1);
		uint64_t address;

		if (pci_read(rig, at, 1) == PCI_CAP_ID_MSIX)
			pci_config_write(rig->vm.pci, fn->slot << 3, at + PCI_MSIX_FLAGS, 2,
					 PCI_MSIX_FLAGS_ENABLE);
		if (pci_read(rig, at, 1) != PCI_CAP_ID_VNDR || bar >= PCI_BARS ||
		    !fn->bar[bar].region.mapped)
			continue;
		address = fn->bar[bar].region.base + pci_read(rig, at + VIRTIO_PCI_CAP_OFFSET, 4);
		if (type == VIRTIO_PCI_CAP_COMMON_CFG)
			d->common = address;
		if (type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
			d->notify = address;
			d->notify_multiplier =
				(uint32_t)pci_read(rig, at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
		}
	}
	return d->common && d->notify;
}

static inline uint64_t driver_get(struct driver *d, unsigned offset, unsigned size)
{
	return bus_read(&d->rig->vm.mmio, d->common + offset, size);
}

static inline void driver_set(struct driver *d, unsigned offset, unsigned size, uint64_t value)
{
	pthread_mutex_lock(&d->rig->vm.lock);
	bus_write(&d->rig->vm.mmio, d->common + offset, size, value);
	pthread_mutex_unlock(&d->rig->vm.lock);
}

static inline void put_descriptor(struct rig *rig, gpa_t table, unsigned i, gpa_t addr,
				  uint32_t len, unsigned flags, unsigned next)
{
	struct vring_desc desc = { addr, len, (uint16_t)flags, (uint16_t)next };

	guest_mem_write(rig->vm.mem, table + i * sizeof(desc), &desc, sizeof(desc));
}

/* Requests as a driver makes them: a small header, data either way, a byte to fill. */
static inline void good_ring(struct rig *rig, uint64_t *seed, gpa_t table)
{
	for (unsigned i = 0; i + 3 <= RING_SIZE; i += 3) {
		gpa_t header = 0x100000 + i * 0x1000;
		uint32_t type[4] = { (uint32_t)draw(seed) % 14, 0, (uint32_t)draw(seed) % 2048, 0 };

		guest_mem_write(rig->vm.mem, header, type, sizeof(type));
		put_descriptor(rig, table, i, header, sizeof(type), VRING_DESC_F_NEXT, i + 1);
		put_descriptor(rig, table, i + 1, header + 0x200, 512,
			       VRING_DESC_F_NEXT | (draw(seed) % 2 ? VRING_DESC_F_WRITE : 0),
			       i + 2);
		put_descriptor(rig, table, i + 2, header + 0x800, 1, VRING_DESC_F_WRITE, 0);
	}
}

static inline void wild_ring(struct rig *rig, uint64_t *seed, gpa_t table)
{
	for (unsigned i = 0; i < RING_SIZE; i++)
		put_descriptor(rig, table, i, draw_value(seed), (uint32_t)draw_value(seed),
			       draw(seed) % 8, draw(seed) % (RING_SIZE + 1));
}

enum { AVAIL = 0x2000, USED = 0x4000, REQUESTS = 5 }; /* from a queue's table */

static inline gpa_t table_of(unsigned q)
{
	return 0x10000 + (gpa_t)(q % 8) * 0x8000;
}

static inline void make_queue(struct driver *d, uint64_t *seed, unsigned q, bool wild)
{
	gpa_t table = table_of(q);
	uint16_t ring[3 + RING_SIZE] = { 0, REQUESTS };

	for (unsigned i = 0; i < RING_SIZE; i++)
		ring[2 + i] = (uint16_t)(i % REQUESTS * 3);
	if (wild && draw(seed) % 4 == 0)
		ring[1] = (uint16_t)draw_value(seed);
	guest_mem_write(d->rig->vm.mem, table + AVAIL, ring, sizeof(ring));
	if (wild)
		wild_ring(d->rig, seed, table);
	else
		good_ring(d->rig, seed, table);
	driver_set(d, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
	driver_set(d, VIRTIO_PCI_COMMON_Q_SIZE, 2, RING_SIZE);
	driver_set(d, VIRTIO_PCI_COMMON_Q_MSIX, 2, draw(seed) % 2 ? 0xffff : draw(seed) % 3);
	driver_set(d, VIRTIO_PCI_COMMON_Q_DESCLO, 4, table);
	driver_set(d, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, table + AVAIL);
	driver_set(d, VIRTIO_PCI_COMMON_Q_USEDLO, 4, table + USED);
	driver_set(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static inline void agree_on_features(struct driver *d)
{
	for (unsigned half = 0; half < 2; half++) {
		driver_set(d, VIRTIO_PCI_COMMON_DFSELECT, 4, half);
		driver_set(d, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
		driver_set(d, VIRTIO_PCI_COMMON_GF, 4, driver_get(d, VIRTIO_PCI_COMMON_DF, 4));
	}
}

static inline void kick_all(struct driver *d)
{
	unsigned nqueues = (unsigned)driver_get(d, VIRTIO_PCI_COMMON_NUMQ, 2);

	for (unsigned q = 0; q < nqueues; q++)
		bus_write(&d->rig->vm.mmio, d->notify + (uint64_t)q * d->notify_multiplier, 2, q);
}

/* If the RUNNING device is a virtio device: reset it, bring it up, and kick its queues. */
static inline void drive(struct rig *rig, uint64_t *seed, bool wild)
{
	struct driver d;
	unsigned nqueues;

	if (!driver_find(&d, rig))
		return;
	driver_set(&d, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	for (int i = 0; i < STATUS_POLLS && driver_get(&d, VIRTIO_PCI_COMMON_STATUS, 1); i++)
		rig_pump(rig);
	driver_set(&d, VIRTIO_PCI_COMMON_STATUS, 1, 1);
	driver_set(&d, VIRTIO_PCI_COMMON_STATUS, 1, 1 | 2);
	agree_on_features(&d);
	driver_set(&d, VIRTIO_PCI_COMMON_STATUS, 1, 1 | 2 | 8);
	nqueues = (unsigned)driver_get(&d, VIRTIO_PCI_COMMON_NUMQ, 2);
	for (unsigned q = 0; q < nqueues; q++)
		make_queue(&d, seed, q, wild);
	driver_set(&d, VIRTIO_PCI_COMMON_STATUS, 1, 1 | 2 | 8 | 4);
	kick_all(&d);
}

/* The same requests once more, after drive(); the device goes from STOPPED to STOPPED. */
static inline void drive_on(struct rig *rig)
{
	struct driver d;
	uint16_t idx;

	rig_start(rig);
	if (driver_find(&d, rig)) {
		for (unsigned q = 0; q < driver_get(&d, VIRTIO_PCI_COMMON_NUMQ, 2); q++) {
			gpa_t at = table_of(q) + AVAIL + 2;

			guest_mem_read(rig->vm.mem, at, &idx, sizeof(idx));
			idx += REQUESTS;
			guest_mem_write(rig->vm.mem, at, &idx, sizeof(idx));
		}
		kick_all(&d);
	}
	rig_pump(rig);
	rig_stop(rig);
}

/* On a STOPPED device, which is STOPPED again afterwards. */
static inline void storm(struct rig *rig, uint64_t seed, unsigned steps)
{
	rig_start(rig);
	for (unsigned i = 0; i < steps; i++) {
		struct access a = draw_access(rig, &seed);

		if (i % 512 == 0)
			drive(rig, &seed, draw(&seed) % 2);
		do_access(rig, &a);
		if (i % 64 == 0)
			rig_pump(rig);
	}
	rig_stop(rig);
}

#endif
