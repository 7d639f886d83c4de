/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "claim.h"
#include "vm.h"

/* The only place where a claim can fail for want of memory, or because a test asked for it. */
static struct claim *claim_new(struct device *dev, void (*release)(struct claim *), struct err *e)
{
	struct vm *vm = dev->vm;
	struct claim *c = NULL;

	if (!vm->fail_claim || --vm->fail_claim)
		c = calloc(1, sizeof(*c));
	if (!c) {
		err_set(e, -ENOMEM, "%s: out of memory", dev->id);
		return NULL;
	}
	c->dev = dev;
	c->release = release;
	return c;
}

/* Success: the claim is the device's. */
static int claim_keep(struct claim *c)
{
	c->next = c->dev->claims;
	c->dev->claims = c;
	return 0;
}

static int claim_drop(struct claim *c, int code)
{
	free(c);
	return code;
}

void claims_release(struct device *dev)
{
	while (dev->claims) {
		struct claim *c = dev->claims;

		dev->claims = c->next;
		c->release(c);
		free(c);
	}
}

static void release_region(struct claim *c)
{
	region_unmap(&c->u.region);
}

static int claim_mapped(struct device *dev, struct bus *bus, uint64_t base, uint64_t len,
			const struct region_ops *ops, struct err *e)
{
	struct claim *c = claim_new(dev, release_region, e);
	int r;

	if (!c)
		return -ENOMEM;
	region_init(&c->u.region, bus, dev->id, len, ops, dev);
	r = region_map(&c->u.region, base, e);
	return r ? claim_drop(c, r) : claim_keep(c);
}

int device_claim_pio(struct device *dev, uint16_t port, uint16_t len, const struct region_ops *ops,
		     struct err *e)
{
	return claim_mapped(dev, &dev->vm->pio, port, len, ops, e);
}

int device_claim_mmio(struct device *dev, uint64_t base, uint64_t len, const struct region_ops *ops,
		      struct err *e)
{
	return claim_mapped(dev, &dev->vm->mmio, base, len, ops, e);
}

static void release_mapped_later(struct claim *c)
{
	region_unmap(c->u.mapped_later);
}

int device_claim_region(struct device *dev, struct region *region, uint64_t len,
			const struct region_ops *ops, struct err *e)
{
	struct claim *c = claim_new(dev, release_mapped_later, e);

	if (!c)
		return -ENOMEM;
	region_init(region, &dev->vm->mmio, dev->id, len, ops, dev);
	c->u.mapped_later = region;
	return claim_keep(c);
}

static void release_irq(struct claim *c)
{
	struct irq_line line = { .irq = &c->dev->vm->irq, .gsi = c->u.gsi };

	irq_line_set(&line, false);
	line.irq->taken[line.gsi] = false;
}

int device_claim_irq(struct device *dev, unsigned gsi, struct irq_line *line, struct err *e)
{
	struct irq *irq = &dev->vm->irq;
	struct claim *c = claim_new(dev, release_irq, e);

	if (!c)
		return -ENOMEM;
	if (gsi >= IRQ_PINS || irq->taken[gsi])
		return claim_drop(
			c, err_set(e, -EBUSY, "%s: interrupt line %u is taken", dev->id, gsi));
	irq->taken[gsi] = true;
	*line = (struct irq_line){ .irq = irq, .gsi = gsi };
	c->u.gsi = gsi;
	return claim_keep(c);
}

static void release_msi(struct claim *c)
{
	irq_msi_free(&c->dev->vm->irq, c->u.gsi);
}

int device_claim_msi(struct device *dev, unsigned *gsi, struct err *e)
{
	struct claim *c = claim_new(dev, release_msi, e);
	int r;

	if (!c)
		return -ENOMEM;
	r = irq_msi_new(&dev->vm->irq);
	if (r < 0)
		return claim_drop(
			c, err_set(e, r, "%s: too many message interrupts in this VM", dev->id));
	*gsi = c->u.gsi = (unsigned)r;
	return claim_keep(c);
}

static void release_fd(struct claim *c)
{
	close(c->u.fd);
}

int device_claim_fd(struct device *dev, int fd, struct err *e)
{
	struct claim *c = claim_new(dev, release_fd, e);

	if (!c)
		return -ENOMEM;
	c->u.fd = fd;
	return claim_keep(c);
}

int device_claim_eventfd(struct device *dev, int *fd, struct err *e)
{
	struct claim *c = claim_new(dev, release_fd, e);

	if (!c)
		return -ENOMEM;
	c->u.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->u.fd < 0)
		return claim_drop(c, err_set(e, -errno, "%s: cannot make an eventfd: %s", dev->id,
					     strerror(errno)));
	*fd = c->u.fd;
	return claim_keep(c);
}

static void release_ioeventfd(struct claim *c)
{
	region_remove_ioeventfd(c->u.kick.of, c->u.kick.ioeventfd);
}

int device_claim_ioeventfd(struct device *dev, struct region *region, struct ioeventfd *ioeventfd,
			   struct err *e)
{
	struct claim *c = claim_new(dev, release_ioeventfd, e);

	if (!c)
		return -ENOMEM;
	region_add_ioeventfd(region, ioeventfd);
	c->u.kick.of = region;
	c->u.kick.ioeventfd = ioeventfd;
	return claim_keep(c);
}

static void release_watch(struct claim *c)
{
	loop_unwatch(c->dev->vm->loop, c->u.watch);
}

int device_claim_watch(struct device *dev, struct watch *watch, uint32_t events, struct err *e)
{
	struct claim *c = claim_new(dev, release_watch, e);
	int r;

	if (!c)
		return -ENOMEM;
	r = loop_watch(dev->vm->loop, watch, events);
	if (r)
		return claim_drop(
			c, err_set(e, r, "%s: cannot watch a file: %s", dev->id, strerror(-r)));
	c->u.watch = watch;
	return claim_keep(c);
}

static void release_timer(struct claim *c)
{
	loop_timer_cancel(c->dev->vm->loop, c->u.timer);
}

int device_claim_timer(struct device *dev, struct timer *timer, struct err *e)
{
	struct claim *c = claim_new(dev, release_timer, e);

	if (!c)
		return -ENOMEM;
	c->u.timer = timer;
	return claim_keep(c);
}

static void release_other(struct claim *c)
{
	c->u.other.release(c->u.other.arg);
}

int device_claim(struct device *dev, void (*release)(void *arg), void *arg, struct err *e)
{
	struct claim *c = claim_new(dev, release_other, e);

	if (!c)
		return -ENOMEM;
	c->u.other.release = release;
	c->u.other.arg = arg;
	return claim_keep(c);
}

int device_claim_memory(struct device *dev, size_t bytes, void **zeroed, struct err *e)
{
	void *p = calloc(1, bytes);
	int r;

	if (!p)
		return err_set(e, -ENOMEM, "%s: out of memory", dev->id);
	r = device_claim(dev, free, p, e);
	if (r)
		free(p);
	else
		*zeroed = p;
	return r;
}

static void release_acpi_events(struct claim *c)
{
	c->dev->vm->acpi = NULL;
}

int device_claim_acpi_events(struct device *dev, void (*raise)(struct device *, uint8_t events),
			     struct err *e)
{
	struct claim *c;

	if (dev->vm->acpi)
		return err_set(e, -EBUSY, "%s: %s has the ACPI events already", dev->id,
			       dev->vm->acpi->id);
	c = claim_new(dev, release_acpi_events, e);
	if (!c)
		return -ENOMEM;
	dev->vm->acpi = dev;
	dev->vm->acpi_raise = raise;
	return claim_keep(c);
}
