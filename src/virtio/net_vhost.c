/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net: the kernel serves a pair's two queues with a thread of its own, between the guest's
 * memory and the tap (<linux/vhost.h>).  The queues are delegated while handed over, and come back
 * like others.  The kernel does not mark what it writes in guest_mem: while memory is logged,
 * queues are served here.  A queue's interrupt vector is the one it had when it started.
 * Nor does it count: what the tap has counted, less what was moved here, is the kernel's part.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net.h"
#include "thread.h"

static const char path[] = "/dev/vhost-net";

/* What the rings and packets of a guest may be like. */
static const uint64_t needed = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
			       BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_NET_F_MRG_RXBUF);

static int refuse(const struct net *net, const char *what, struct err *e)
{
	int error = errno;

	if (net->vhost == NET_VHOST_AUTO)
		return 0;
	return err_set(e, -error, "%s: %s: %s: %s; vhost=auto goes on without", net->v.dev.id, path,
		       what, strerror(error));
}

static int set_memory(int fd, const struct guest_mem *mem)
{
	union {
		struct vhost_memory table;
		char bytes[sizeof(struct vhost_memory) +
			   GUEST_MEM_REGIONS * sizeof(struct vhost_memory_region)];
	} m = { .table.nregions = mem->nregions };

	for (unsigned i = 0; i < mem->nregions; i++)
		m.table.regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = mem->region[i].base,
			.memory_size = mem->region[i].size_bytes,
			.userspace_addr = (uintptr_t)mem->region[i].host,
		};
	return ioctl(fd, VHOST_SET_MEM_TABLE, &m.table);
}

/* NULL: it can be used. */
static const char *set_up(int fd, const struct guest_mem *mem)
{
	uint64_t features;

	if (ioctl(fd, VHOST_SET_OWNER) < 0)
		return "VHOST_SET_OWNER";
	if (ioctl(fd, VHOST_GET_FEATURES, &features) < 0)
		return "VHOST_GET_FEATURES";
	if (needed & ~features) {
		errno = EOPNOTSUPP;
		return "features";
	}
	return set_memory(fd, mem) < 0 ? "VHOST_SET_MEM_TABLE" : NULL;
}

/* The kernel's thread gains by running beside the guest.  Where both take turns on one processor
 * it moves every packet as it comes, and the I/O thread's batches are better. */
static bool runs_beside_guest(void)
{
	return thread_processors() > 1;
}

int net_vhost_open(struct net *net, struct err *e)
{
	if (net->vhost == NET_VHOST_AUTO && !runs_beside_guest())
		return 0;
	if (net->vhost == NET_VHOST_ON && limiter_is_on(rate_limit_limiter(&net->limit, 0)))
		return err_set(e, -EINVAL,
			       "%s: vhost=on moves packets past any limit; leave one of them out",
			       net->v.dev.id);
	for (unsigned i = 0; i < net->npairs; i++) {
		int fd = open(path, O_RDWR | O_CLOEXEC), r;
		const char *failed;

		if (fd < 0)
			return refuse(net, "open", e);
		r = device_claim_fd(&net->v.dev, fd, e);
		if (r) {
			close(fd);
			return r;
		}
		failed = set_up(fd, net->v.dev.vm->mem);
		if (failed)
			return refuse(net, failed, e);
		net->pair[i].vhost = fd;
	}
	return 0;
}

/* Member at offset of all blocks together shall be total. */
static void kernel_makes_it(struct net *net, size_t offset, uint64_t total)
{
	char *kernel = device_counters(&net->v.dev, 2 * net->npairs);

	for (unsigned i = 0; i < 2 * net->npairs; i++) {
		char *block = device_counters(&net->v.dev, i);

		total -= counter_get((void *)(block + offset));
	}
	counter_set((void *)(kernel + offset), total);
}

bool net_vhost_count(struct net *net)
{
	const struct tap_counts *before = &net->tap_before;
	struct tap_counts now;

	if (tap_count(net->tap, &now))
		return false;
	kernel_makes_it(net, offsetof(struct net_counters, rx_bytes),
			now.tx_bytes - before->tx_bytes);
	kernel_makes_it(net, offsetof(struct net_counters, rx_frames),
			now.tx_frames - before->tx_frames);
	kernel_makes_it(net, offsetof(struct net_counters, tx_bytes),
			now.rx_bytes - before->rx_bytes);
	kernel_makes_it(net, offsetof(struct net_counters, tx_frames),
			now.rx_frames - before->rx_frames);
	return true;
}

static int connect_ring(const struct net_pair *p, const struct virtqueue *vq, unsigned ring)
{
	const struct virtio_device *v = &p->net->v;
	struct vhost_vring_state num = { ring, vq->s->size };
	struct vhost_vring_state base = { ring, vq->s->next_avail };
	struct vhost_vring_addr address = { .index = ring,
					    .desc_user_addr = (uintptr_t)vq->desc,
					    .avail_user_addr = (uintptr_t)vq->avail,
					    .used_user_addr = (uintptr_t)vq->used };
	struct vhost_vring_file kick = { ring, virtio_kick_fd(v, vq->index) };
	struct vhost_vring_file call = { ring, virtio_signal_fd(v, vq->index) };
	struct vhost_vring_file tap = { ring, tap_fd(p->net->tap, p->index) };
	uint64_t features = v->s->driver_features & needed;

	if (ioctl(p->vhost, VHOST_SET_FEATURES, &features) < 0 ||
	    ioctl(p->vhost, VHOST_SET_VRING_NUM, &num) < 0 ||
	    ioctl(p->vhost, VHOST_SET_VRING_BASE, &base) < 0 ||
	    ioctl(p->vhost, VHOST_SET_VRING_ADDR, &address) < 0 ||
	    ioctl(p->vhost, VHOST_SET_VRING_KICK, &kick) < 0 ||
	    ioctl(p->vhost, VHOST_SET_VRING_CALL, &call) < 0 ||
	    ioctl(p->vhost, VHOST_NET_SET_BACKEND, &tap) < 0)
		return -errno;
	return 0;
}

int net_vhost_start(struct net_pair *p, struct virtqueue *vq, struct err *e)
{
	int r = connect_ring(p, vq, vq->index % 2);

	if (r)
		return err_set(e, r, "queue %u: %s refuses it: %s", vq->index, path, strerror(-r));
	vq->delegated = true;
	return 0;
}

void net_vhost_stop(struct net_pair *p, struct virtqueue *vq)
{
	struct vhost_vring_file none = { vq->index % 2, -1 };
	struct vhost_vring_state base = { .index = vq->index % 2 };

	/* Neither can fail with these arguments. */
	ioctl(p->vhost, VHOST_NET_SET_BACKEND, &none);
	ioctl(p->vhost, VHOST_GET_VRING_BASE, &base);
	vq_take_back(vq, (uint16_t)base.num);
}
