/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "msix.h"
#include "vm.h"

/* The table, then the pending bits, in one BAR. */
enum {
	MSIX_PENDING_OFFSET = MSIX_VECTORS_MAX * PCI_MSIX_ENTRY_SIZE,
	MSIX_BAR_BYTES = 2 * MSIX_PENDING_OFFSET,
	MSIX_CAP_BODY = 10,
};

static const struct state_field msix_entry_fields[] = {
	STATE(struct msix_entry, address),
	STATE(struct msix_entry, data),
	STATE(struct msix_entry, control, .max = PCI_MSIX_ENTRY_CTRL_MASKBIT),
};
static const struct state_desc msix_entry_desc = STATE_DESC(struct msix_entry, "msix-entry", 1, 1,
							    msix_entry_fields);
static const struct state_field msix_fields[] = {
	STATE_COUNTED_STRUCTS(struct msix_state, entry, nentries, &msix_entry_desc),
	STATE(struct msix_state, pending),
};
const struct state_desc msix_state_desc = STATE_DESC(struct msix_state, "msix", 1, 1, msix_fields);

static struct irq *msix_irq(struct msix *m)
{
	return &m->fn->dev->vm->irq;
}

/* A vector may be sent: enabled, and masked neither as a whole nor by itself. */
static bool msix_open(const struct msix *m, unsigned vector)
{
	uint64_t control = get_le(m->fn->s->config + m->cap + PCI_MSIX_FLAGS, 2);

	return (control & PCI_MSIX_FLAGS_ENABLE) && !(control & PCI_MSIX_FLAGS_MASKALL) &&
	       !(m->s->entry[vector].control & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* Move what waits in the eventfd of a vector that is not connected to its pending bit. */
static void msix_collect(struct msix *m, unsigned vector)
{
	uint64_t count;

	if (!m->vector[vector].connected &&
	    read(m->vector[vector].fd, &count, sizeof(count)) == sizeof(count))
		m->s->pending |= BIT(vector);
}

/* Connect or disconnect a vector as its mask bits say. */
static void msix_update(struct msix *m, unsigned vector)
{
	struct msix_vector *v = &m->vector[vector];
	struct msix_entry *entry = &m->s->entry[vector];

	if (!msix_open(m, vector)) {
		if (v->connected)
			irq_msi_disconnect(msix_irq(m), v->gsi, v->fd);
		v->connected = false;
		return;
	}
	msix_collect(m, vector);
	if (irq_msi_connect(msix_irq(m), v->gsi, v->fd, entry->address, entry->data)) {
		device_note(m->fn->dev, "the host refuses interrupt vector %u", vector);
		return;
	}
	v->connected = true;
	if (m->s->pending & BIT(vector)) {
		m->s->pending &= ~BIT(vector);
		msix_signal(m, vector);
	}
}

static void msix_update_all(struct msix *m)
{
	for (unsigned i = 0; i < m->nvectors; i++)
		msix_update(m, i);
}

static uint64_t entry_read(const struct msix_entry *entry, unsigned offset)
{
	switch (offset) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		return (uint32_t)entry->address;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		return entry->address >> 32;
	case PCI_MSIX_ENTRY_DATA:
		return entry->data;
	default:
		return entry->control;
	}
}

static uint64_t msix_read_dword(struct msix *m, uint64_t offset)
{
	unsigned vector = (unsigned)(offset / PCI_MSIX_ENTRY_SIZE);

	if (offset >= MSIX_PENDING_OFFSET) {
		if (offset >= MSIX_PENDING_OFFSET + sizeof(m->s->pending))
			return 0;
		for (unsigned i = 0; i < m->nvectors; i++)
			msix_collect(m, i);
		return (uint32_t)(m->s->pending >> (8 * (offset - MSIX_PENDING_OFFSET)));
	}
	if (vector >= m->nvectors)
		return 0;
	return entry_read(&m->s->entry[vector], offset % PCI_MSIX_ENTRY_SIZE);
}

static void msix_write_dword(struct msix *m, uint64_t offset, uint32_t value)
{
	unsigned vector = (unsigned)(offset / PCI_MSIX_ENTRY_SIZE);
	struct msix_entry *entry = &m->s->entry[vector < m->nvectors ? vector : 0];

	if (vector >= m->nvectors)
		return;
	switch (offset % PCI_MSIX_ENTRY_SIZE) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		/* The low two bits are reserved. */
		entry->address = (entry->address & ~ones(4)) | (value & ~3u);
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		entry->address = (uint64_t)value << 32 | (uint32_t)entry->address;
		break;
	case PCI_MSIX_ENTRY_DATA:
		entry->data = value;
		break;
	default:
		entry->control = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
	msix_update(m, vector);
}

static uint64_t msix_read(void *owner, uint64_t offset, unsigned size)
{
	struct msix *m = owner;
	uint64_t value = msix_read_dword(m, offset);

	return size == 8 ? value | msix_read_dword(m, offset + 4) << 32 : value;
}

static void msix_write(void *owner, uint64_t offset, unsigned size, uint64_t value)
{
	struct msix *m = owner;

	msix_write_dword(m, offset, (uint32_t)value);
	if (size == 8)
		msix_write_dword(m, offset + 4, (uint32_t)(value >> 32));
}

static const struct region_ops msix_ops = { .read = msix_read,
					    .write = msix_write,
					    .widths = 4 | 8 };

static void msix_release(void *arg)
{
	struct msix *m = arg;

	for (unsigned i = 0; i < m->nvectors; i++)
		if (m->vector[i].connected)
			irq_msi_disconnect(msix_irq(m), m->vector[i].gsi, m->vector[i].fd);
}

static int msix_add_capability(struct msix *m, struct err *e)
{
	uint8_t body[MSIX_CAP_BODY] = { 0 }, writable[MSIX_CAP_BODY] = { 0 };
	int at;

	put_le(body, 2, m->nvectors - 1);
	put_le(body + PCI_MSIX_TABLE - 2, 4, m->bar);
	put_le(body + PCI_MSIX_PBA - 2, 4, MSIX_PENDING_OFFSET | m->bar);
	put_le(writable, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	at = pci_add_capability(m->fn, PCI_CAP_ID_MSIX, body, sizeof(body), writable, e);
	if (at < 0)
		return at;
	m->cap = (unsigned)at;
	return 0;
}

int msix_attach(struct msix *m, struct pci_function *fn, unsigned bar, unsigned nvectors,
		struct msix_state *s, struct err *e)
{
	int r;

	m->fn = fn;
	m->s = s;
	m->bar = (uint8_t)bar;
	m->nvectors = nvectors;
	if (nvectors > MSIX_VECTORS_MAX)
		return err_set(e, -EINVAL, "%s: at most %d interrupt vectors", fn->dev->id,
			       MSIX_VECTORS_MAX);
	r = pci_add_bar(fn, bar, MSIX_BAR_BYTES, &msix_ops, e);
	if (r)
		return r;
	fn->bar[bar].region.owner = m;
	for (unsigned i = 0; i < nvectors; i++) {
		r = device_claim_eventfd(fn->dev, &m->vector[i].fd, e);
		if (!r)
			r = device_claim_msi(fn->dev, &m->vector[i].gsi, e);
		if (r)
			return r;
	}
	r = msix_add_capability(m, e);
	return r ? r : device_claim(fn->dev, msix_release, m, e);
}

void msix_written(struct msix *m, unsigned offset, unsigned size)
{
	unsigned control = m->cap + PCI_MSIX_FLAGS;

	if (offset < control + 2 && offset + size > control)
		msix_update_all(m);
}

void msix_reset(struct msix *m)
{
	*m->s = (struct msix_state){ .nentries = m->nvectors };
	/* PCI 3.0, 6.8.2.9: masked after reset. */
	for (unsigned i = 0; i < m->nvectors; i++)
		m->s->entry[i].control = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	msix_update_all(m);
	for (unsigned i = 0; i < m->nvectors; i++)
		msix_collect(m, i);
	m->s->pending = 0;
}

int msix_fetch(struct msix *m, struct err *e)
{
	(void)e;
	for (unsigned i = 0; i < m->nvectors; i++)
		msix_collect(m, i);
	return 0;
}

int msix_loaded(struct msix *m, struct err *e)
{
	if (m->s->nentries != m->nvectors)
		return err_set(e, -EINVAL, "%s: saved with %u interrupt vectors, here are %u",
			       m->fn->dev->id, m->s->nentries, m->nvectors);
	if (m->nvectors < 64 && m->s->pending >> m->nvectors)
		return err_set(e, -EINVAL, "%s: an interrupt of no vector is pending",
			       m->fn->dev->id);
	msix_update_all(m);
	return 0;
}

void msix_signal(struct msix *m, unsigned vector)
{
	uint64_t one = 1;

	/* A full counter is a signal already. */
	if (vector < m->nvectors && write(m->vector[vector].fd, &one, sizeof(one)) < 0)
		return;
}
