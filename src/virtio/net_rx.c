/* SPDX-License-Identifier: Apache-2.0 */
/* A network card's packets for the guest: on the I/O thread of the pair's rx queue. */
#include <errno.h>
#include <limits.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/uio.h>

#include "log.h"
#include "net.h"

enum { PACKET_BYTES_MAX = 65536 + 18 }; /* the largest, with an Ethernet and a VLAN header */

/* A driver that takes no packet in several buffers gives each one that holds any (5.1.6.3.1). */
static uint64_t rx_wanted_bytes(const struct net *net)
{
	return virtio_has(&net->v, VIRTIO_NET_F_MRG_RXBUF) ? TAP_HEADER_BYTES + PACKET_BYTES_MAX
							   : 1;
}

/* Take buffers until any packet fits.  False: the guest has not offered enough, and will kick. */
static bool rx_take_buffers(struct net_pair *p)
{
	uint64_t wanted = rx_wanted_bytes(p->net);
	/* Of a small queue all there is must do. */
	unsigned max = MIN(NET_RX_REQUESTS, p->rx->s->size);

	while (p->n < max && p->bytes < wanted) {
		struct vq_request *r = &p->request[(p->first + p->n) % NET_RX_REQUESTS];

		if (vq_pop(p->rx, r)) {
			p->bytes += r->writable_bytes;
			p->n++;
		} else if (!vq_enable_kicks(p->rx)) {
			return false;
		}
	}
	return true;
}

static void rx_give_buffers_back(struct net_pair *p)
{
	vq_unpop(p->rx, p->n);
	p->first = p->n = 0;
	p->bytes = 0;
}

/* What one packet may fill: all that is taken, or without mergeable buffers the first. */
static int rx_vector(const struct net_pair *p, struct iovec iov[static IOV_MAX])
{
	bool many = virtio_has(&p->net->v, VIRTIO_NET_F_MRG_RXBUF);
	unsigned count = 0;

	for (unsigned i = 0; i < (many ? p->n : 1); i++) {
		const struct vq_request *r = &p->request[(p->first + i) % NET_RX_REQUESTS];

		for (unsigned k = 0; k < r->nwritable && count < IOV_MAX; k++)
			iov[count++] = r->segment[r->nreadable + k];
	}
	return (int)count;
}

static void store(const struct iovec *iov, int n, size_t at, const void *data, size_t len)
{
	for (int i = 0; i < n && len; i++) {
		size_t here = at < iov[i].iov_len ? MIN(len, iov[i].iov_len - at) : 0;

		memcpy((char *)iov[i].iov_base + at, data, here);
		data = (const char *)data + here;
		len -= here;
		at -= MIN(at, iov[i].iov_len);
	}
}

static unsigned rx_buffers_of(const struct net_pair *p, size_t len)
{
	unsigned count = 1;

	for (; count < p->n; count++) {
		uint32_t bytes =
			p->request[(p->first + count - 1) % NET_RX_REQUESTS].writable_bytes;

		if (len <= bytes)
			break;
		len -= bytes;
	}
	return count;
}

static void rx_complete(struct net_pair *p, const struct iovec *iov, int niov, size_t len)
{
	unsigned count = rx_buffers_of(p, len);
	uint16_t num_buffers = htole16((uint16_t)count);

	store(iov, niov, offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers), &num_buffers,
	      sizeof(num_buffers));
	for (; count; count--) {
		struct vq_request *r = &p->request[p->first];
		uint32_t bytes = r->writable_bytes, filled = (uint32_t)MIN(len, bytes);

		r->writable_bytes -= filled; /* the cursor passes what readv() filled */
		vq_complete(p->rx, r, filled);
		len -= filled;
		p->bytes -= bytes;
		p->first = (p->first + 1) % NET_RX_REQUESTS;
		p->n--;
	}
}

/* No packet begins in it. */
static void rx_refuse_buffer(struct net_pair *p)
{
	struct vq_request *r = &p->request[p->first];

	p->bytes -= r->writable_bytes;
	vq_complete(p->rx, r, 0);
	p->first = (p->first + 1) % NET_RX_REQUESTS;
	p->n--;
}

void net_rx_pause(struct net_pair *p)
{
	if (p->packets.active)
		loop_unwatch(p->loop, &p->packets);
}

/* False: no packet is there, or no buffer. */
static bool rx_packet(struct net_pair *p)
{
	struct iovec iov[IOV_MAX];
	ssize_t len;
	int n;

	if (!rx_take_buffers(p)) {
		net_rx_pause(p);
		return false;
	}
	if (p->request[p->first].writable_bytes < TAP_HEADER_BYTES) {
		rx_refuse_buffer(p);
		return true;
	}
	n = rx_vector(p, iov);
	len = readv(p->packets.fd, iov, n);
	if (len > 0) {
		rx_complete(p, iov, n, (size_t)len);
		return true;
	}
	if (errno == EAGAIN || errno == EINTR)
		return false;
	if (!net_lost_tap(p->net))
		return true; /* that packet is lost */
	net_rx_pause(p);
	return false;
}

void net_rx_ready(void *arg, uint32_t events)
{
	struct net_pair *p = arg;

	(void)events;
	for (unsigned i = 0; i < NET_BATCH && rx_packet(p); i++)
		;
	rx_give_buffers_back(p);
	vq_flush(p->rx);
}

void net_rx_kick(struct net_pair *p)
{
	bool used = p->index < __atomic_load_n(&p->net->s.pairs, __ATOMIC_ACQUIRE);

	vq_disable_kicks(p->rx);
	if (!used)
		net_rx_pause(p);
	tap_attach_pair(p->net->tap, p->index, used);
	if (used && !p->packets.active && loop_watch(p->loop, &p->packets, EPOLLIN))
		log_warn("%s: the host is out of memory; no more packets come", p->net->v.dev.id);
}
