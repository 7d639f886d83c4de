/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "bits.h"
#include "pci.h"
#include "platform.h"
#include "vm.h"

enum { PCI_CAP_FIRST = 0x40, PCI_CONFIG_EXTENDED_BYTES = 4096 };

static const struct state_field pci_fields[] = {
	STATE_ARRAY(struct pci_state, config),
	STATE(struct pci_state, slot, .max = PCI_SLOTS - 1, .since = 2),
};
const struct state_desc pci_state_desc = STATE_DESC(struct pci_state, "pci", 2, 1, pci_fields);

static void pci_release(void *arg)
{
	struct pci_function *fn = arg;

	fn->dev->vm->pci->slot[fn->slot] = NULL;
}

static int pci_take_slot(struct pci_function *fn, int slot, struct err *e)
{
	struct pci_bus *bus = fn->dev->vm->pci;

	if (slot < 0)
		for (slot = 0; slot < PCI_SLOTS && bus->slot[slot]; slot++)
			;
	if (slot >= PCI_SLOTS)
		return err_set(e, -ENOSPC, "%s: all %d PCI slots are taken", fn->dev->id,
			       PCI_SLOTS);
	if (bus->slot[slot])
		return err_set(e, -EBUSY, "%s: PCI slot %d belongs to %s", fn->dev->id, slot,
			       bus->slot[slot]->dev->id);
	fn->slot = (unsigned)slot;
	int r = device_claim(fn->dev, pci_release, fn, e);

	if (!r)
		bus->slot[slot] = fn;
	return r;
}

int pci_function_attach(struct pci_function *fn, struct device *dev, struct pci_state *s,
			const struct pci_ids *ids, int slot, struct err *e)
{
	uint8_t *c = fn->fresh;

	fn->dev = dev;
	fn->s = s;
	fn->next_cap = PCI_CAP_FIRST;
	put_le(c + PCI_VENDOR_ID, 2, ids->vendor);
	put_le(c + PCI_DEVICE_ID, 2, ids->device);
	put_le(c + PCI_CLASS_REVISION, 4, ids->class_code << 8 | ids->revision);
	put_le(c + PCI_SUBSYSTEM_VENDOR_ID, 2, ids->subsystem_vendor);
	put_le(c + PCI_SUBSYSTEM_ID, 2, ids->subsystem);
	put_le(c + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	put_le(fn->writable + PCI_COMMAND, 2,
	       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	fn->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	fn->writable[PCI_INTERRUPT_LINE] = 0xff;
	return pci_take_slot(fn, slot, e);
}

static uint64_t fresh_address(const struct pci_function *fn, unsigned index)
{
	return get_le(fn->fresh + PCI_BASE_ADDRESS_0 + 4 * index, 4);
}

/* A BAR has its pages for itself, so that a guest can map it apart from all others. */
static uint64_t bar_span(uint64_t size_bytes)
{
	return MAX(size_bytes, UINT64_C(4096));
}

/* Of the function's BARs the first that meets [base, base + span); PCI_BARS: none does. */
static unsigned bar_at(const struct pci_function *fn, uint64_t base, uint64_t span)
{
	unsigned i;

	for (i = 0; i < PCI_BARS; i++) {
		uint64_t taken = fresh_address(fn, i);

		if (fn->bar[i].size_bytes && base < taken + bar_span(fn->bar[i].size_bytes) &&
		    taken < base + span)
			break;
	}
	return i;
}

/*
 * The lowest place that no other BAR has from power-on.  Where the guest has moved one since
 * does not matter: what is added while it runs it places itself.
 */
static uint64_t pci_find_gap(const struct pci_bus *bus, uint64_t span)
{
	uint64_t base = align_up(PLATFORM_PCI_BAR_BASE, span);
	unsigned slot = 0;

	while (slot < PCI_SLOTS) {
		const struct pci_function *fn = bus->slot[slot];
		unsigned i = fn ? bar_at(fn, base, span) : PCI_BARS;

		slot++;
		if (i == PCI_BARS)
			continue;
		base = align_up(fresh_address(fn, i) + bar_span(fn->bar[i].size_bytes), span);
		slot = 0;
	}
	return base;
}

int pci_add_bar(struct pci_function *fn, unsigned index, uint64_t size,
		const struct region_ops *ops, struct err *e)
{
	struct pci_bar *bar = &fn->bar[index];
	uint64_t base = pci_find_gap(fn->dev->vm->pci, bar_span(size));
	int r;

	if (base + size > PLATFORM_PCI_BAR_END)
		return err_set(e, -ENOSPC, "%s: the PCI memory window is full", fn->dev->id);
	r = device_claim_region(fn->dev, &bar->region, size, ops, e);
	if (r)
		return r;
	bar->size_bytes = size;
	put_le(fn->fresh + PCI_BASE_ADDRESS_0 + 4 * index, 4, base);
	put_le(fn->writable + PCI_BASE_ADDRESS_0 + 4 * index, 4, ~(size - 1));
	return 0;
}

int pci_add_capability(struct pci_function *fn, uint8_t id, const void *body, size_t len,
		       const void *writable, struct err *e)
{
	unsigned at = fn->next_cap;

	if (at + 2 + len > PCI_CONFIG_BYTES)
		return err_set(e, -ENOSPC, "%s: no room for a PCI capability", fn->dev->id);
	fn->fresh[at] = id;
	memcpy(fn->fresh + at + 2, body, len);
	if (writable)
		memcpy(fn->writable + at + 2, writable, len);
	/* PCI 3.0, 6.7: a list from CAP_PTR, dword aligned, ended by 0. */
	fn->fresh[fn->last_cap ? fn->last_cap + 1 : PCI_CAPABILITY_LIST] = (uint8_t)at;
	fn->fresh[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	fn->last_cap = (uint8_t)at;
	fn->next_cap = (uint8_t)MIN(align_up(at + 2 + len, 4), 0xfcu);
	return (int)at;
}

int pci_slot_of(const struct pci_bus *bus, const struct device *dev)
{
	for (int slot = 0; slot < PCI_SLOTS; slot++)
		if (bus->slot[slot] && bus->slot[slot]->dev == dev)
			return slot;
	return -ENOENT;
}

void pci_hide(struct pci_bus *bus, unsigned slot)
{
	if (bus->slot[slot])
		bus->slot[slot]->hidden = true;
}

static uint64_t bar_address(const struct pci_function *fn, unsigned index)
{
	return get_le(fn->s->config + PCI_BASE_ADDRESS_0 + 4 * index, 4) &
	       ~(fn->bar[index].size_bytes - 1);
}

/*
 * Decode the BARs where the configuration space says.  A guest that lays one over another
 * device finds nothing there until it moves it.  All are mapped anew, in order, so that the
 * outcome depends on the configuration space alone and not on how it came about.
 */
static void pci_decode(struct pci_function *fn)
{
	bool on = get_le(fn->s->config + PCI_COMMAND, 2) & PCI_COMMAND_MEMORY;
	bool same = true;
	struct err e;

	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &fn->bar[i];

		if (bar->size_bytes)
			same &= bar->region.mapped == on &&
				(!on || bar->region.base == bar_address(fn, i));
	}
	if (same)
		return;
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (fn->bar[i].size_bytes)
			region_unmap(&fn->bar[i].region);
	for (unsigned i = 0; on && i < PCI_BARS; i++)
		if (fn->bar[i].size_bytes && region_map(&fn->bar[i].region, bar_address(fn, i), &e))
			device_note(fn->dev, "BAR %u cannot be moved there (%s)", i, e.text);
}

void pci_bus_renew(struct pci_bus *bus, bool live)
{
	bus->live = live;
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned i = 0; bus->slot[slot] && i < PCI_BARS; i++)
			if (bus->slot[slot]->bar[i].size_bytes)
				region_unmap(&bus->slot[slot]->bar[i].region);
}

void pci_reset(struct pci_function *fn)
{
	memcpy(fn->s->config, fn->fresh, sizeof(fn->s->config));
	fn->s->slot = (uint8_t)fn->slot;
	/* PCI 3.0, 6.2.2: as after RST#.  Where it would be is perhaps another one's by now. */
	if (fn->dev->vm->pci->live) {
		put_le(fn->s->config + PCI_COMMAND, 2, 0);
		memset(fn->s->config + PCI_BASE_ADDRESS_0, 0, 4 * PCI_BARS);
	}
	pci_decode(fn);
}

/*
 * A VM that devices came to and left has them elsewhere than one that was built with what is there
 * now.  Whoever is in the way changes places: the turn of all comes, and all states are loaded.
 */
static int pci_move(struct pci_function *fn, unsigned slot, struct err *e)
{
	struct pci_bus *bus = fn->dev->vm->pci;
	struct pci_function *there = bus->slot[slot];

	if (there == fn)
		return 0;
	if (there && there->s->slot == slot)
		return err_set(e, -EINVAL, "%s: saved in PCI slot %u, and so is %s", fn->dev->id,
			       slot, there->dev->id);
	bus->slot[fn->slot] = there;
	if (there)
		there->slot = fn->slot;
	bus->slot[slot] = fn;
	fn->slot = slot;
	return 0;
}

int pci_loaded(struct pci_function *fn, struct err *e)
{
	int r;

	for (unsigned i = 0; i < PCI_CONFIG_BYTES; i++)
		if ((fn->s->config[i] ^ fn->fresh[i]) & ~fn->writable[i])
			return err_set(
				e, -EINVAL,
				"%s: the saved PCI device is another one (configuration byte "
				"%#x differs)",
				fn->dev->id, i);
	r = pci_move(fn, fn->s->slot, e);
	if (!r)
		pci_decode(fn);
	return r;
}

bool pci_is_bus_master(const struct pci_function *fn)
{
	return get_le(fn->s->config + PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

/* devfn: functions other than 0 do not exist. */
static struct pci_function *pci_find(struct pci_bus *bus, unsigned devfn)
{
	struct pci_function *fn = bus->slot[devfn >> 3 & (PCI_SLOTS - 1)];

	return devfn & 7 || !fn || fn->hidden ? NULL : fn;
}

uint64_t pci_config_read(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size)
{
	struct pci_function *fn = pci_find(bus, devfn);

	if (!fn)
		return ones(size);
	/* No extended capabilities: PCIe 5.0, 7.9.1, reads 0. */
	if (offset > PCI_CONFIG_BYTES - size)
		return 0;
	if (fn->reading)
		fn->reading(fn, offset, size);
	return get_le(fn->s->config + offset, size);
}

void pci_config_write(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size,
		      uint64_t value)
{
	struct pci_function *fn = pci_find(bus, devfn);

	if (!fn || offset > PCI_CONFIG_BYTES - size)
		return;
	for (unsigned i = 0; i < size; i++) {
		uint8_t mask = fn->writable[offset + i];
		uint8_t *byte = &fn->s->config[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | ((value >> (8 * i)) & mask));
	}
	pci_decode(fn);
	if (fn->written)
		fn->written(fn, offset, size);
}
