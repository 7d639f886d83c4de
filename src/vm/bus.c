/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bits.h"
#include "bus.h"

void bus_init(struct bus *b, const char *kind, int kvm_vm_fd)
{
	*b = (struct bus){ .kind = kind, .kvm_fd = kvm_vm_fd };
	if (!strcmp(kind, "port"))
		b->ioeventfd_flags = KVM_IOEVENTFD_FLAG_PIO;
}

void bus_free(struct bus *b)
{
	free(b->region);
	b->region = NULL;
	b->nregions = b->capacity = 0;
}

void region_init(struct region *r, struct bus *b, const char *name, uint64_t size_bytes,
		 const struct region_ops *ops, void *owner)
{
	*r = (struct region){
		.bus = b, .name = name, .size_bytes = size_bytes, .ops = ops, .owner = owner
	};
	list_init(&r->ioeventfds);
}

/* Index of the first region that ends above address. */
static unsigned bus_position(const struct bus *b, uint64_t address)
{
	unsigned low = 0, high = b->nregions;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (b->region[mid]->base + (b->region[mid]->size_bytes - 1) < address)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Where the kernel takes no more, the store still arrives through bus_write(). */
static void ioeventfd_set(struct region *r, struct ioeventfd *i, bool on)
{
	struct kvm_ioeventfd k = { .addr = r->base + i->offset,
				   .fd = i->fd,
				   .flags = r->bus->ioeventfd_flags |
					    (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN) };

	if (i->armed && r->mapped && r->bus->kvm_fd >= 0)
		ioctl(r->bus->kvm_fd, KVM_IOEVENTFD, &k);
}

void region_unmap(struct region *r)
{
	struct bus *b = r->bus;
	struct ioeventfd *i;
	unsigned at;

	if (!r->mapped)
		return;
	list_for_each (i, &r->ioeventfds, node)
		ioeventfd_set(r, i, false);
	at = bus_position(b, r->base);
	memmove(&b->region[at], &b->region[at + 1], (b->nregions - at - 1) * sizeof(*b->region));
	b->nregions--;
	r->mapped = false;
}

static int bus_reserve(struct bus *b)
{
	unsigned capacity = b->capacity ? 2 * b->capacity : 32;
	struct region **region;

	if (b->nregions < b->capacity)
		return 0;
	region = realloc(b->region, capacity * sizeof(*region));
	if (!region)
		return -ENOMEM;
	b->region = region;
	b->capacity = capacity;
	return 0;
}

int region_map(struct region *r, uint64_t base, struct err *e)
{
	struct bus *b = r->bus;
	struct ioeventfd *i;
	unsigned at;

	region_unmap(r);
	if (base + (r->size_bytes - 1) < base)
		return err_set(e, -EINVAL, "%s: %s %#llx is out of range", r->name, b->kind,
			       (unsigned long long)base);
	at = bus_position(b, base);
	if (at < b->nregions && b->region[at]->base <= base + (r->size_bytes - 1))
		return err_set(e, -EBUSY, "%s: %s %#llx belongs to %s", r->name, b->kind,
			       (unsigned long long)base, b->region[at]->name);
	if (bus_reserve(b))
		return err_set(e, -ENOMEM, "%s: out of memory", r->name);
	memmove(&b->region[at + 1], &b->region[at], (b->nregions - at) * sizeof(*b->region));
	b->region[at] = r;
	b->nregions++;
	r->base = base;
	r->mapped = true;
	/* Where the kernel takes no more, the store still arrives through bus_write(). */
	list_for_each (i, &r->ioeventfds, node)
		ioeventfd_set(r, i, true);
	return 0;
}

void region_add_ioeventfd(struct region *r, struct ioeventfd *i)
{
	i->armed = false;
	list_append(&r->ioeventfds, &i->node);
}

void region_remove_ioeventfd(struct region *r, struct ioeventfd *i)
{
	ioeventfd_set(r, i, false);
	list_remove(&i->node);
}

void region_arm_ioeventfd(struct region *r, struct ioeventfd *i)
{
	if (i->armed)
		return;
	i->armed = true;
	ioeventfd_set(r, i, true);
}

/* The region that takes this access whole, or NULL. */
static struct region *bus_find(struct bus *b, uint64_t address, unsigned size)
{
	unsigned at = bus_position(b, address);
	struct region *r;

	if (at == b->nregions)
		return NULL;
	r = b->region[at];
	if (address < r->base || size > r->size_bytes || address - r->base > r->size_bytes - size)
		return NULL;
	return r;
}

static bool region_takes(const struct region *r, uint64_t offset, unsigned size)
{
	return is_power_of_two(size) && (r->ops->widths & size) && !(offset & (size - 1));
}

uint64_t bus_read(struct bus *b, uint64_t address, unsigned size)
{
	struct region *r = bus_find(b, address, size);

	if (!r || !region_takes(r, address - r->base, size) || !r->ops->read)
		return ones(size);
	return r->ops->read(r->owner, address - r->base, size) & ones(size);
}

static bool region_signal(struct region *r, uint64_t offset)
{
	struct ioeventfd *i;
	uint64_t one = 1;

	list_for_each (i, &r->ioeventfds, node)
		if (i->offset == offset)
			/* A full counter is a signal already. */
			return write(i->fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
	return false;
}

void bus_write(struct bus *b, uint64_t address, unsigned size, uint64_t value)
{
	struct region *r = bus_find(b, address, size);

	if (!r || !region_takes(r, address - r->base, size))
		return;
	if (region_signal(r, address - r->base))
		return;
	if (r->ops->write)
		r->ops->write(r->owner, address - r->base, size, value & ones(size));
}
