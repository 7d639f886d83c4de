/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "virtio_internal.h"

enum {
	STATUS_MASK = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
		      VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK |
		      VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED,
	ISR_MASK = 1 | VIRTIO_PCI_ISR_CONFIG,
	EVENTS_PER_SECOND = 4, /* two drivers one after another, as by kexec, are told whole */
};

static const struct state_field virtio_fields[] = {
	STATE_STRUCTS(struct virtio_state, pci, &pci_state_desc),
	STATE_STRUCTS(struct virtio_state, msix, &msix_state_desc),
	STATE(struct virtio_state, driver_features),
	STATE(struct virtio_state, device_feature_select),
	STATE(struct virtio_state, driver_feature_select),
	STATE(struct virtio_state, config_vector),
	STATE(struct virtio_state, queue_select),
	STATE(struct virtio_state, status, .max = STATUS_MASK),
	STATE(struct virtio_state, config_generation),
	STATE(struct virtio_state, isr, .max = ISR_MASK),
	STATE_COUNTED_STRUCTS(struct virtio_state, queue, nqueues, &virtqueue_state_desc),
};
const struct state_desc virtio_state_desc = STATE_DESC(struct virtio_state, "virtio", 1, 1,
						       virtio_fields);

/* What the driver sets, in the order it must (virtio 1.2, 3.1.1). */
static const struct status_step {
	uint8_t bit, needs;
	const char *name;
} status_steps[] = {
	{ VIRTIO_CONFIG_S_ACKNOWLEDGE, 0, "ACKNOWLEDGE" },
	{ VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_ACKNOWLEDGE, "DRIVER" },
	{ VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER, "FEATURES_OK" },
	{ VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK, "DRIVER_OK" },
	{ VIRTIO_CONFIG_S_FAILED, 0, "FAILED" },
};

static struct virtio_device *virtio_of(struct device *dev)
{
	return container_of(dev, struct virtio_device, dev);
}

bool virtio_has(const struct virtio_device *v, unsigned bit)
{
	return v->s->driver_features & BIT(bit);
}

bool virtio_is_driven(const struct virtio_device *v)
{
	return v->s->status & VIRTIO_CONFIG_S_DRIVER_OK;
}

static bool features_acceptable(const struct virtio_device *v)
{
	if (v->s->driver_features & ~v->features || !virtio_has(v, VIRTIO_F_VERSION_1))
		return false;
	for (unsigned i = 0; i < v->class->ndependencies; i++) {
		const struct virtio_dependency *d = &v->class->dependency[i];

		if (virtio_has(v, d->feature) && !virtio_has(v, d->needs))
			return false;
	}
	return true;
}

/* virtio 1.2, 2.3: nothing is sent before DRIVER_OK. */
static void notify_config(struct virtio_device *v)
{
	struct virtio_state *s = v->s;

	if (!(s->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	if (s->config_vector == MSIX_NO_VECTOR)
		__atomic_fetch_or(&s->isr, VIRTIO_PCI_ISR_CONFIG, __ATOMIC_RELAXED);
	else
		msix_signal(&v->msix, s->config_vector);
}

void virtio_config_changed(struct virtio_device *v)
{
	v->s->config_generation++;
	notify_config(v);
}

/* The driver makes these as often as it likes. */
static void tell(struct virtio_device *v, const char *event, json_t *more)
{
	if (pace_allows(&v->told, EVENTS_PER_SECOND))
		device_tell(&v->dev, "virtio-device", event, more);
	else
		json_decref(more);
}

void virtio_needs_reset(struct virtio_device *v, const char *why)
{
	v->s->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	notify_config(v);
	device_note(&v->dev, "%s; the guest must reset the device", why);
	tell(v, "needs-reset", json_pack("{s:s}", "reason", why));
}

/* What a reset by the guest resets: the PCI function and its vectors stay (4.1.4.3). */
static void reset_common(struct virtio_device *v)
{
	struct virtio_state *s = v->s;

	s->driver_features = 0;
	s->device_feature_select = s->driver_feature_select = 0;
	s->config_vector = MSIX_NO_VECTOR;
	s->queue_select = 0;
	s->status = 0;
	s->isr = 0;
	s->nqueues = v->nqueues;
	for (unsigned i = 0; i < v->nqueues; i++)
		s->queue[i] = (struct virtqueue_state){ .size = v->queue_size,
							.vector = MSIX_NO_VECTOR };
	if (v->class->driver_reset)
		v->class->driver_reset(v);
}

/* May queues be with I/O threads?  A function that is no bus master must leave memory alone. */
static bool is_live(const struct virtio_device *v)
{
	return v->dev.phase == DEVICE_RUNNING && !v->resetting &&
	       (v->s->status & VIRTIO_CONFIG_S_DRIVER_OK) && pci_is_bus_master(&v->pci);
}

void virtio_settle(struct virtio_device *v)
{
	bool live = is_live(v);

	for (unsigned i = 0; i < v->nqueues; i++) {
		struct virtio_queue *q = &v->queue[i];

		if (live && v->s->queue[i].enabled && !q->handed_over)
			virtio_queue_hand_over(q);
		else if (!live && q->handed_over && !q->recalled)
			virtio_queue_recall(q);
	}
	if (v->handed_over)
		return;
	if (v->resetting) {
		v->resetting = false;
		if (v->s->status & VIRTIO_CONFIG_S_DRIVER_OK)
			tell(v, "reset", json_object());
		reset_common(v);
	}
	if (v->dev.phase == DEVICE_STOPPING)
		device_stopped(&v->dev);
}

static bool may_set(struct virtio_device *v, const struct status_step *step, uint8_t status)
{
	if ((status & step->needs) != step->needs) {
		device_note(&v->dev, "the guest sets %s too early; ignored", step->name);
		return false;
	}
	if (step->bit == VIRTIO_CONFIG_S_FEATURES_OK && !features_acceptable(v)) {
		device_note(&v->dev, "the guest's choice of features, %#llx, is refused",
			    (unsigned long long)v->s->driver_features);
		return false;
	}
	return true;
}

void virtio_set_status(struct virtio_device *v, uint8_t status)
{
	uint8_t now = v->s->status;

	v->resetting = !status;
	/* 2.1.1: bits are added until a reset, so a missing one clears nothing. */
	for (unsigned i = 0; i < ARRAY_SIZE(status_steps); i++) {
		const struct status_step *step = &status_steps[i];

		if ((status & ~now & step->bit) && may_set(v, step, now))
			now |= step->bit;
	}
	if (now & ~v->s->status & VIRTIO_CONFIG_S_DRIVER_OK)
		tell(v, "activated", json_object());
	v->s->status = now;
	virtio_settle(v);
}

int virtio_attach(struct virtio_device *v, const struct virtio_class *class, struct virtio_state *s,
		  struct err *e)
{
	void *queues;
	int r;

	assert(v->nqueues && v->nqueues <= VIRTIO_QUEUES_MAX);
	assert(is_power_of_two(v->queue_size) && v->queue_size <= VIRTQUEUE_SIZE_MAX);
	if (!class->on_main && !v->dev.vm->nio_threads)
		return err_set(e, -EINVAL, "%s: this VM has no I/O threads; give it one",
			       v->dev.id);
	v->class = class;
	v->s = s;
	v->features |= BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
		       BIT(VIRTIO_RING_F_INDIRECT_DESC);
	r = virtio_pci_attach(v, e);
	if (!r)
		r = msix_attach(&v->msix, &v->pci, 1, v->nqueues + 1, &s->msix[0], e);
	if (!r)
		r = device_claim_memory(&v->dev, v->nqueues * sizeof(*v->queue), &queues, e);
	if (r)
		return r;
	v->queue = queues;
	for (unsigned i = 0; !r && i < v->nqueues; i++)
		r = virtio_queue_attach(&v->queue[i], v, i, e);
	return r;
}

void virtio_reset(struct device *dev)
{
	struct virtio_device *v = virtio_of(dev);

	assert(!v->handed_over && !v->resetting);
	pci_reset(&v->pci);
	msix_reset(&v->msix);
	reset_common(v);
	v->s->config_generation = 0;
}

/* They come back by way of virtio_settle(), which finds them missing. */
void virtio_restart_queues(struct virtio_device *v, void (*done)(void *arg), void *arg)
{
	assert(!v->restarted);
	v->restarted = done;
	v->restarted_arg = arg;
	for (unsigned i = 0; i < v->nqueues; i++)
		if (v->queue[i].handed_over && !v->queue[i].recalled)
			virtio_queue_recall(&v->queue[i]);
	virtio_look_restarted(v);
}

void virtio_look_restarted(struct virtio_device *v)
{
	void (*done)(void *arg) = v->restarted;

	for (unsigned i = 0; done && i < v->nqueues; i++)
		if (v->queue[i].recalled)
			return;
	v->restarted = NULL;
	if (done)
		done(v->restarted_arg);
}

void virtio_start(struct device *dev)
{
	virtio_settle(virtio_of(dev));
}

void virtio_stop(struct device *dev)
{
	virtio_settle(virtio_of(dev));
}

int virtio_fetch(struct device *dev, struct err *e)
{
	return msix_fetch(&virtio_of(dev)->msix, e);
}

static bool is_vector(const struct virtio_device *v, uint16_t vector)
{
	return vector == MSIX_NO_VECTOR || vector < v->msix.nvectors;
}

static int check_status(const struct virtio_device *v, struct err *e)
{
	uint8_t status = v->s->status;

	if (status & ~STATUS_MASK)
		return err_set(e, -EINVAL, "%s: saved with the unknown status %#x", v->dev.id,
			       status);
	for (unsigned i = 0; i < ARRAY_SIZE(status_steps); i++)
		if ((status & status_steps[i].bit) &&
		    (status & status_steps[i].needs) != status_steps[i].needs)
			return err_set(e, -EINVAL, "%s: saved with the impossible status %#x",
				       v->dev.id, status);
	if ((status & VIRTIO_CONFIG_S_FEATURES_OK) && !features_acceptable(v))
		return err_set(e, -EINVAL,
			       "%s: saved with features %#llx, here it has %#llx; make the device "
			       "with the options it was saved with",
			       v->dev.id, (unsigned long long)v->s->driver_features,
			       (unsigned long long)v->features);
	return 0;
}

static int check_queues(const struct virtio_device *v, struct err *e)
{
	if (v->s->nqueues != v->nqueues)
		return err_set(e, -EINVAL, "%s: saved with %u queues, here it has %u", v->dev.id,
			       v->s->nqueues, v->nqueues);
	for (unsigned i = 0; i < v->nqueues; i++) {
		const struct virtqueue_state *q = &v->s->queue[i];

		if (!is_power_of_two(q->size) || q->size > v->queue_size)
			return err_set(
				e, -EINVAL,
				"%s: queue %u was saved with %u entries, here it has up to %u",
				v->dev.id, i, q->size, v->queue_size);
		if (!is_vector(v, q->vector))
			return err_set(e, -EINVAL, "%s: queue %u was saved with vector %u of %u",
				       v->dev.id, i, q->vector, v->msix.nvectors);
	}
	return 0;
}

int virtio_loaded(struct device *dev, struct err *e)
{
	struct virtio_device *v = virtio_of(dev);
	int r = check_status(v, e);

	if (!r)
		r = check_queues(v, e);
	if (!r && !is_vector(v, v->s->config_vector))
		r = err_set(e, -EINVAL, "%s: saved with configuration vector %u of %u", dev->id,
			    v->s->config_vector, v->msix.nvectors);
	if (!r)
		r = pci_loaded(&v->pci, e);
	return r ? r : msix_loaded(&v->msix, e);
}
