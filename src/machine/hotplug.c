/* SPDX-License-Identifier: Apache-2.0 */
#include "hotplug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "log.h"
#include "pci_hotplug.h"

enum { HOTPLUG_LIMIT_S = 30 };

struct removal {
	struct hotplug *h;
	struct device *dev;
	unsigned slot;
	bool given_up; /* by the guest, or there is none */
	struct timer limit;
	void (*done)(void *arg, int result, const char *why); /* NULL: was told already */
	void *arg;
	struct list node;
};

void hotplug_init(struct hotplug *h, struct vm *vm, struct work *step,
		  void (*stopped)(struct device *, void *arg), void *arg)
{
	*h = (struct hotplug){ .vm = vm,
			       .step = step,
			       .stopped = stopped,
			       .arg = arg,
			       .limit_ns = HOTPLUG_LIMIT_S * UINT64_C(1000000000) };
	list_init(&h->removals);
}

static struct device *hotplug_registers(const struct hotplug *h)
{
	return vm_device(h->vm, "pci-hotplug");
}

static void set_limit(struct hotplug *h, struct timer *limit)
{
	loop_timer_set(h->vm->loop, limit, loop_now_ns() + h->limit_ns);
}

/* Additions */

static void addition_tell(struct addition *a, const char *event)
{
	device_tell(a->dev, "virtio-device", event, json_object());
}

static void addition_end(struct addition *a)
{
	if (a->dev)
		loop_timer_cancel(a->h->vm->loop, &a->limit);
	a->dev = NULL;
}

static void addition_settle(struct addition *a)
{
	if (!a->dev || pci_hotplug_is_unread(hotplug_registers(a->h), a->slot))
		return;
	addition_tell(a, "found");
	addition_end(a);
}

static void addition_expired(void *arg)
{
	struct addition *a = arg;

	/* Its answer may be on its way to here. */
	addition_settle(a);
	if (!a->dev)
		return;
	/* A guest that is paused cannot answer. */
	if (a->dev->phase != DEVICE_RUNNING) {
		set_limit(a->h, &a->limit);
		return;
	}
	log_warn("%s: the guest did not look for it within %u s; see that it is up and knows PCI "
		 "hotplug by ACPI, or reboot it: it finds the device then",
		 a->dev->id, HOTPLUG_LIMIT_S);
	addition_tell(a, "not-found"); /* it may do so later */
}

static void additions_end(struct hotplug *h)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		addition_end(&h->added[slot]);
}

void hotplug_added(struct hotplug *h, struct device *dev)
{
	unsigned slot = (unsigned)pci_slot_of(h->vm->pci, dev);
	struct addition *a = &h->added[slot];

	/* A guest that is yet to start finds it by itself. */
	if (!h->vm->pci->live)
		return;
	*a = (struct addition){
		.h = h, .dev = dev, .slot = slot, .limit = { .expired = addition_expired, .arg = a }
	};
	pci_hotplug_insert(hotplug_registers(h), slot);
	set_limit(h, &a->limit);
}

/* Removals */

static void removal_tell(struct removal *r, int result, const char *why)
{
	void (*done)(void *, int, const char *) = r->done;

	r->done = NULL;
	if (done)
		done(r->arg, result, why);
}

static void removal_end(struct removal *r, int result, const char *why)
{
	loop_timer_cancel(r->h->vm->loop, &r->limit);
	list_remove(&r->node);
	removal_tell(r, result, why);
	free(r);
}

/* A device that has been given up is of no use to anyone: it is freed whenever it does stop. */
static void removal_is_stuck(struct removal *r)
{
	struct err e;

	err_set(&e, 0,
		"%s: the guest gave it up but its host file or disk does not answer; it goes when "
		"that does",
		r->dev->id);
	removal_tell(r, -ETIMEDOUT, e.text);
}

static void removal_expired(void *arg)
{
	struct removal *r = arg;
	struct err e;

	if (r->given_up) {
		removal_is_stuck(r);
		return;
	}
	/* A guest that is paused cannot answer. */
	if (r->dev->phase != DEVICE_RUNNING) {
		set_limit(r->h, &r->limit);
		return;
	}
	pci_hotplug_withdraw(hotplug_registers(r->h), r->slot);
	err_set(&e, 0,
		"%s: the guest did not give it up within %u s; see that it is up and knows PCI "
		"hotplug by ACPI, then try again",
		r->dev->id, HOTPLUG_LIMIT_S);
	removal_end(r, -ETIMEDOUT, e.text);
}

static bool can_be_removed(const struct device *dev)
{
	for (size_t i = 0; i < nconfig_sections; i++)
		if (config_sections[i].hotplug && config_sections[i].class == dev->class)
			return true;
	return false;
}

static bool is_being_removed(const struct hotplug *h, const struct device *dev)
{
	const struct removal *r;

	list_for_each (r, &h->removals, node)
		if (r->dev == dev)
			return true;
	return false;
}

int hotplug_remove(struct hotplug *h, const char *id,
		   void (*done)(void *arg, int result, const char *why), void *arg, struct err *e)
{
	struct device *dev = vm_device(h->vm, id);
	struct removal *r;

	if (!dev)
		return err_set(e, -ENOENT, "%s: there is no device of this name", id);
	if (!can_be_removed(dev))
		return err_set(e, -ENOTSUP,
			       "%s: only disks and network cards can be removed from a VM", id);
	if (is_being_removed(h, dev))
		return err_set(e, -EBUSY, "%s: it is being removed already", id);
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, -ENOMEM, "%s: out of memory", id);
	*r = (struct removal){ .h = h,
			       .dev = dev,
			       .slot = (unsigned)pci_slot_of(h->vm->pci, dev),
			       .given_up = !h->vm->pci->live,
			       .limit = { .expired = removal_expired, .arg = r },
			       .done = done,
			       .arg = arg };
	list_append(&h->removals, &r->node);
	if (r->given_up) {
		loop_post(h->vm->loop, h->step);
		return 0;
	}
	pci_hotplug_want(hotplug_registers(h), r->slot);
	set_limit(h, &r->limit);
	return 0;
}

void hotplug_answered(struct hotplug *h)
{
	struct device *registers = hotplug_registers(h);
	uint32_t slots = pci_hotplug_take_ejected(registers);
	struct removal *r;

	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		addition_settle(&h->added[slot]);
	list_for_each (r, &h->removals, node) {
		if (slots >> r->slot & 1)
			r->given_up = true;
		slots &= ~(UINT32_C(1) << r->slot);
	}
	/* The guest can have it back by looking for it: nobody else knows that it is not in use. */
	if (slots)
		device_note(registers, "the guest gives up PCI slots %#x unasked; ignored", slots);
	loop_post(h->vm->loop, h->step);
}

static void removal_settle(struct removal *r)
{
	struct hotplug *h = r->h;

	if (!r->given_up)
		return;
	if (r->dev->phase == DEVICE_RUNNING) {
		set_limit(h, &r->limit);
		device_stop(r->dev, h->stopped, h->arg);
	}
	if (r->dev->phase == DEVICE_STOPPED) {
		addition_end(&h->added[r->slot]);
		device_free(r->dev);
		removal_end(r, 0, NULL);
	}
}

void hotplug_settle(struct hotplug *h)
{
	struct list *at, *next;

	for (at = h->removals.next; at != &h->removals; at = next) {
		next = at->next;
		removal_settle(list_item(at, struct removal, node));
	}
}

void hotplug_guest_is_gone(struct hotplug *h)
{
	struct removal *r;

	additions_end(h);
	list_for_each (r, &h->removals, node)
		r->given_up = true;
	hotplug_settle(h);
}

void hotplug_cancel(struct hotplug *h)
{
	additions_end(h);
	while (!list_empty(&h->removals))
		removal_end(list_item(h->removals.next, struct removal, node), -ECANCELED,
			    "the VM ended");
}
