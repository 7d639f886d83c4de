/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI transport, modern only: virtio 1.2, 4.1. */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "virtio_internal.h"

/* BAR 0: a page for each structure (4.1.4.3 to 4.1.4.6). */
enum {
	COMMON = 0x0000,
	ISR = 0x1000,
	DEVICE_CONFIG = 0x2000,
	NOTIFY = 0x3000,
	SECTION_BYTES = 0x1000,
	BAR_BYTES = 0x4000,
	COMMON_BYTES = sizeof(struct virtio_pci_common_cfg),
	NOTIFY_MULTIPLIER = 4,
};

enum { VENDOR = 0x1af4, DEVICE_BASE = 0x1040, REVISION = 1 }; /* 4.1.2 */

/* 4.1.3.1: a field is accessed in its own width, the 64-bit ones in halves. */
static const uint8_t common_width[COMMON_BYTES] = {
	[VIRTIO_PCI_COMMON_DFSELECT] = 4,  [VIRTIO_PCI_COMMON_DF] = 4,
	[VIRTIO_PCI_COMMON_GFSELECT] = 4,  [VIRTIO_PCI_COMMON_GF] = 4,
	[VIRTIO_PCI_COMMON_MSIX] = 2,      [VIRTIO_PCI_COMMON_NUMQ] = 2,
	[VIRTIO_PCI_COMMON_STATUS] = 1,    [VIRTIO_PCI_COMMON_CFGGENERATION] = 1,
	[VIRTIO_PCI_COMMON_Q_SELECT] = 2,  [VIRTIO_PCI_COMMON_Q_SIZE] = 2,
	[VIRTIO_PCI_COMMON_Q_MSIX] = 2,    [VIRTIO_PCI_COMMON_Q_ENABLE] = 2,
	[VIRTIO_PCI_COMMON_Q_NOFF] = 2,    [VIRTIO_PCI_COMMON_Q_DESCLO] = 4,
	[VIRTIO_PCI_COMMON_Q_DESCHI] = 4,  [VIRTIO_PCI_COMMON_Q_AVAILLO] = 4,
	[VIRTIO_PCI_COMMON_Q_AVAILHI] = 4, [VIRTIO_PCI_COMMON_Q_USEDLO] = 4,
	[VIRTIO_PCI_COMMON_Q_USEDHI] = 4,
};

static bool is_common_field(uint64_t offset, unsigned size)
{
	return offset < COMMON_BYTES && common_width[offset] == size;
}

/* 32 of 64 feature bits; all others are 0. */
static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

/* The queue that queue_select names; NULL: there is none. */
static struct virtqueue_state *selected(struct virtio_device *v)
{
	return v->s->queue_select < v->nqueues ? &v->s->queue[v->s->queue_select] : NULL;
}

static uint64_t *queue_address(struct virtqueue_state *q, unsigned offset)
{
	uint64_t *const address[] = { &q->desc, &q->driver, &q->device };

	return address[(offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 8];
}

static unsigned address_shift(unsigned offset)
{
	return (offset - VIRTIO_PCI_COMMON_Q_DESCLO) % 8 * 8;
}

static uint64_t queue_read(struct virtio_device *v, unsigned offset)
{
	struct virtqueue_state *q = selected(v);

	/* 4.1.4.3.1: queue_size 0 says that there is no such queue. */
	if (!q)
		return 0;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return q->size;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return q->vector;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return v->s->queue_select;
	default:
		return (uint32_t)(*queue_address(q, offset) >> address_shift(offset));
	}
}

static uint64_t common_read(struct virtio_device *v, unsigned offset)
{
	const struct virtio_state *s = v->s;

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return s->device_feature_select;
	case VIRTIO_PCI_COMMON_DF:
		return feature_word(v->features, s->device_feature_select);
	case VIRTIO_PCI_COMMON_GFSELECT:
		return s->driver_feature_select;
	case VIRTIO_PCI_COMMON_GF:
		return feature_word(s->driver_features, s->driver_feature_select);
	case VIRTIO_PCI_COMMON_MSIX:
		return s->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return v->nqueues;
	case VIRTIO_PCI_COMMON_STATUS:
		return s->status;
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return s->config_generation;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return s->queue_select;
	default:
		return queue_read(v, offset);
	}
}

static void write_features(struct virtio_device *v, uint32_t value)
{
	struct virtio_state *s = v->s;
	unsigned shift = 32 * (s->driver_feature_select & 1);

	if (s->status & VIRTIO_CONFIG_S_FEATURES_OK)
		device_note(&v->dev, "the guest changes features after FEATURES_OK; ignored");
	else if (s->driver_feature_select < 2)
		s->driver_features = (s->driver_features & ~(ones(4) << shift)) | (uint64_t)value
											  << shift;
}

/* 4.1.5.1.2.1: a vector that cannot be used reads back as none. */
static void write_vector(struct virtio_device *v, uint16_t *vector, uint64_t value)
{
	__atomic_store_n(vector, value < v->msix.nvectors ? (uint16_t)value : MSIX_NO_VECTOR,
			 __ATOMIC_RELAXED);
}

static void write_queue_size(struct virtio_device *v, struct virtqueue_state *q, uint64_t value)
{
	if (is_power_of_two(value) && value <= v->queue_size)
		q->size = (uint16_t)value;
	else
		device_note(&v->dev, "queue %u cannot have %u entries; ignored", v->s->queue_select,
			    (unsigned)value);
}

static void queue_write(struct virtio_device *v, unsigned offset, uint64_t value)
{
	struct virtqueue_state *q = selected(v);

	if (!q || offset == VIRTIO_PCI_COMMON_Q_NOFF)
		return;
	if (offset == VIRTIO_PCI_COMMON_Q_MSIX) {
		write_vector(v, &q->vector, value);
		return;
	}
	/* 4.1.4.3.2: configured before it is enabled, and disabled by reset alone. */
	if (q->enabled) {
		device_note(&v->dev, "queue %u is enabled and cannot be changed; ignored",
			    v->s->queue_select);
		return;
	}
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		write_queue_size(v, q, value);
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		q->enabled = value == 1;
		virtio_settle(v);
		break;
	default: {
		uint64_t *address = queue_address(q, offset);
		unsigned shift = address_shift(offset);

		*address = (*address & ~(ones(4) << shift)) | value << shift;
	}
	}
}

static void common_write(struct virtio_device *v, unsigned offset, uint64_t value)
{
	struct virtio_state *s = v->s;

	/* 4.1.4.3.2: the driver waits until status reads 0. */
	if (v->resetting)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		s->device_feature_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		s->driver_feature_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		write_features(v, (uint32_t)value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		write_vector(v, &s->config_vector, value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		virtio_set_status(v, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		s->queue_select = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_DF:
	case VIRTIO_PCI_COMMON_NUMQ:
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		break;
	default:
		queue_write(v, offset, value);
	}
}

static uint64_t isr_read(struct virtio_device *v, unsigned offset, unsigned size)
{
	if (offset || size != 1)
		return ones(size);
	return __atomic_exchange_n(&v->s->isr, 0, __ATOMIC_RELAXED);
}

static bool is_config(const struct virtio_device *v, unsigned offset, unsigned size)
{
	return size <= v->config_bytes && offset <= v->config_bytes - size;
}

/* A device's I/O threads may change a byte of it meanwhile. */
static uint64_t config_read(const struct virtio_device *v, unsigned offset, unsigned size)
{
	uint64_t value = 0;

	while (size--)
		value = value << 8 | __atomic_load_n(v->config + offset + size, __ATOMIC_RELAXED);
	return value;
}

static uint64_t bar_read(void *dev, uint64_t offset, unsigned size)
{
	struct virtio_device *v = dev;
	unsigned at = offset % SECTION_BYTES;

	switch (offset - at) {
	case COMMON:
		return is_common_field(at, size) ? common_read(v, at) : ones(size);
	case ISR:
		return isr_read(v, at, size);
	case DEVICE_CONFIG:
		return is_config(v, at, size) ? config_read(v, at, size) : ones(size);
	default:
		return ones(size);
	}
}

static void config_write(struct virtio_device *v, unsigned offset, unsigned size, uint64_t value)
{
	if (!v->class->config_written || !is_config(v, offset, size))
		return;
	put_le(v->config + offset, size, value);
	v->class->config_written(v, offset, size);
}

/* A kick that did not come through the kernel's ioeventfd or the bus. */
static void notify_write(struct virtio_device *v, unsigned offset)
{
	if (!(offset % NOTIFY_MULTIPLIER) && offset / NOTIFY_MULTIPLIER < v->nqueues)
		virtio_kick(v, (unsigned)(offset / NOTIFY_MULTIPLIER));
}

static void bar_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_device *v = dev;
	unsigned at = offset % SECTION_BYTES;

	switch (offset - at) {
	case COMMON:
		if (is_common_field(at, size))
			common_write(v, at, value);
		break;
	case DEVICE_CONFIG:
		config_write(v, at, size, value);
		break;
	case NOTIFY:
		notify_write(v, at);
		break;
	default:
		break;
	}
}

static const struct region_ops bar_ops = { .read = bar_read,
					   .write = bar_write,
					   .widths = 1 | 2 | 4 };

/* 4.1.4.9: what the access window is set to, or NULL if that is no access. */
static struct region *window_region(struct virtio_device *v, uint64_t *offset, unsigned *size)
{
	const uint8_t *cap = v->s->pci[0].config + v->window;
	unsigned bar = cap[VIRTIO_PCI_CAP_BAR];
	uint64_t at = get_le(cap + VIRTIO_PCI_CAP_OFFSET, 4);
	uint64_t len = get_le(cap + VIRTIO_PCI_CAP_LENGTH, 4);
	struct region *r;

	if (bar >= PCI_BARS || (len != 1 && len != 2 && len != 4) || at % len)
		return NULL;
	r = &v->pci.bar[bar].region;
	if (at + len > v->pci.bar[bar].size_bytes || !(r->ops->widths & len))
		return NULL;
	*offset = at;
	*size = (unsigned)len;
	return r;
}

static uint8_t *window_data(struct virtio_device *v)
{
	return v->s->pci[0].config + v->window + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
}

static bool touches_window(struct virtio_device *v, unsigned offset, unsigned size)
{
	unsigned data = v->window + (unsigned)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);

	return offset < data + 4 && offset + size > data;
}

static void virtio_pci_reading(struct pci_function *fn, unsigned offset, unsigned size)
{
	struct virtio_device *v = container_of(fn, struct virtio_device, pci);
	struct region *r;
	uint64_t at;
	unsigned len;

	if (!touches_window(v, offset, size))
		return;
	r = window_region(v, &at, &len);
	if (r)
		put_le(window_data(v), len, r->ops->read(r->owner, at, len));
}

static void virtio_pci_written(struct pci_function *fn, unsigned offset, unsigned size)
{
	struct virtio_device *v = container_of(fn, struct virtio_device, pci);
	struct region *r;
	uint64_t at;
	unsigned len;

	msix_written(&v->msix, offset, size);
	if (offset < PCI_COMMAND + 2 && offset + size > PCI_COMMAND)
		virtio_settle(v);
	if (!touches_window(v, offset, size))
		return;
	r = window_region(v, &at, &len);
	if (r)
		r->ops->write(r->owner, at, len, get_le(window_data(v), len));
}

/* cap: the capability as the guest finds it, of cap->cap_len bytes. */
static int add_capability(struct virtio_device *v, struct virtio_pci_cap *cap, uint8_t type,
			  uint32_t offset, uint32_t length, const void *writable, struct err *e)
{
	cap->cfg_type = type;
	cap->offset = htole32(offset);
	cap->length = htole32(length);
	return pci_add_capability(&v->pci, PCI_CAP_ID_VNDR, &cap->cap_len, cap->cap_len - 2u,
				  writable, e);
}

static int add_window(struct virtio_device *v, struct err *e)
{
	struct virtio_pci_cfg_cap cap = { .cap.cap_len = sizeof(cap) };
	struct virtio_pci_cfg_cap writable = {
		.cap = { .bar = 0xff, .offset = UINT32_MAX, .length = UINT32_MAX },
		.pci_cfg_data = { 0xff, 0xff, 0xff, 0xff }
	};
	int at = add_capability(v, &cap.cap, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, &writable.cap.cap_len,
				e);

	if (at < 0)
		return at;
	v->window = (unsigned)at;
	return 0;
}

static int add_capabilities(struct virtio_device *v, struct err *e)
{
	struct virtio_pci_cap plain = { .cap_len = sizeof(plain) };
	struct virtio_pci_notify_cap notify = {
		.cap.cap_len = sizeof(notify), .notify_off_multiplier = htole32(NOTIFY_MULTIPLIER)
	};
	int r = add_capability(v, &plain, VIRTIO_PCI_CAP_COMMON_CFG, COMMON, COMMON_BYTES, NULL, e);

	if (r >= 0)
		r = add_capability(v, &notify.cap, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY,
				   v->nqueues * NOTIFY_MULTIPLIER, NULL, e);
	if (r >= 0)
		r = add_capability(v, &plain, VIRTIO_PCI_CAP_ISR_CFG, ISR, 1, NULL, e);
	if (r >= 0 && v->config_bytes)
		r = add_capability(v, &plain, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_CONFIG,
				   v->config_bytes, NULL, e);
	return r < 0 ? r : add_window(v, e);
}

int virtio_pci_attach(struct virtio_device *v, struct err *e)
{
	struct pci_ids ids = { .vendor = VENDOR,
			       .device = DEVICE_BASE + v->class->id,
			       .subsystem_vendor = VENDOR,
			       .subsystem = DEVICE_BASE + v->class->id,
			       .class_code = v->class->class_code,
			       .revision = REVISION };
	int r = pci_function_attach(&v->pci, &v->dev, &v->s->pci[0], &ids, -1, e);

	if (r)
		return r;
	v->pci.written = virtio_pci_written;
	v->pci.reading = virtio_pci_reading;
	r = pci_add_bar(&v->pci, 0, BAR_BYTES, &bar_ops, e);
	return r ? r : add_capabilities(v, e);
}

int virtio_pci_claim_kick(struct virtio_device *v, unsigned index, int fd, struct err *e)
{
	v->kick[index] = (struct ioeventfd){ .offset = NOTIFY + index * NOTIFY_MULTIPLIER,
					     .fd = fd };
	return device_claim_ioeventfd(&v->dev, &v->pci.bar[0].region, &v->kick[index], e);
}

void virtio_pci_arm_kick(struct virtio_device *v, unsigned index)
{
	region_arm_ioeventfd(&v->pci.bar[0].region, &v->kick[index]);
}
