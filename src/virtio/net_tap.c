/* SPDX-License-Identifier: Apache-2.0 */
/* A network card on a tap: packets go between the guest's buffers and the tap without a copy. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "log.h"
#include "net.h"

static_assert((int)NET_HEADER_BYTES == (int)TAP_HEADER_BYTES, "the tap's header is the guest's");

enum { PACKET_BYTES_MAX = 65536 + 18 }; /* the largest, with an Ethernet and a VLAN header */

/* To the guest: on the I/O thread of the pair's rx queue.  A packet's length is known only when it
 * has been read. */

/* A driver that takes no packet in several buffers gives each one that holds any (5.1.6.3.1). */
static uint64_t rx_wanted_bytes(const struct net *net)
{
	return virtio_has(&net->v, VIRTIO_NET_F_MRG_RXBUF) ? NET_HEADER_BYTES + PACKET_BYTES_MAX
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

static void tap_pause_receiving(struct net_pair *p)
{
	if (p->packets.active)
		loop_unwatch(p->rx_loop, &p->packets);
}

/* False: no packet is there, or no buffer, or it is not its time. */
static bool rx_packet(struct net_pair *p)
{
	struct iovec iov[IOV_MAX];
	ssize_t len;
	int n;

	if (p->rx_throttle.closed || !rx_take_buffers(p)) {
		tap_pause_receiving(p);
		return false;
	}
	if (p->request[p->first].writable_bytes < NET_HEADER_BYTES) {
		rx_refuse_buffer(p);
		return true;
	}
	n = rx_vector(p, iov);
	len = readv(p->packets.fd, iov, n);
	if (len > 0) {
		rx_complete(p, iov, n, (size_t)len);
		net_count_rx(p, (uint64_t)len - NET_HEADER_BYTES);
		throttle_charge(&p->rx_throttle, (uint64_t)len);
		return true;
	}
	if (errno == EAGAIN || errno == EINTR)
		return false;
	if (errno != EBADFD) { /* that packet is lost */
		counter_add(&p->rx_counters->rx_dropped, 1);
		return true;
	}
	tap_pause_receiving(p); /* the tap was removed, or the pair is not in use */
	return false;
}

static void tap_ready(void *arg, uint32_t events)
{
	struct net_pair *p = arg;

	(void)events;
	p->rx_found_ns = loop_now_ns();
	throttle_begin(&p->rx_throttle);
	for (unsigned i = 0; i < NET_BATCH && rx_packet(p); i++)
		;
	rx_give_buffers_back(p);
	vq_flush(p->rx);
}

static void tap_receive(struct net_pair *p)
{
	vq_disable_kicks(p->rx);
	if (!p->packets.active && loop_watch(p->rx_loop, &p->packets, EPOLLIN))
		log_warn("%s: the host is out of memory; no more packets come", p->net->v.dev.id);
}

/* From the guest: on tx's I/O thread */

static bool tx_packet(struct net_pair *p)
{
	struct vq_request *r = p->sending;
	ssize_t sent;

	if (p->tx_throttle.closed || !vq_pop(p->tx, r))
		return false;
	throttle_charge(&p->tx_throttle, r->readable_bytes);
	/* What the tap does not take is lost, as on any wire: it is full, down, or the packet is
	 * nonsense. */
	sent = writev(tap_fd(p->net->tap, p->index), r->segment, r->nreadable);
	if (sent > NET_HEADER_BYTES)
		net_count_tx(p, (uint64_t)sent - NET_HEADER_BYTES);
	else
		counter_add(&p->tx_counters->tx_dropped, 1);
	vq_complete(p->tx, r, 0);
	return true;
}

static void tap_send(struct net_pair *p)
{
	unsigned sent = 0;

	if (!throttle_begin(&p->tx_throttle))
		return;
	p->tx_found_ns = loop_now_ns();
	vq_disable_kicks(p->tx);
	do {
		while (sent < NET_BATCH && tx_packet(p))
			sent++;
	} while (!p->tx_throttle.closed && sent < NET_BATCH && vq_enable_kicks(p->tx));
	if (sent == NET_BATCH)
		virtio_kick(&p->net->v, p->tx->index);
	vq_flush(p->tx);
}

static void tap_pause_sending(struct net_pair *p)
{
	(void)p; /* nothing waits for the tap */
}

static void tap_set_pairs(struct net *net, unsigned n)
{
	for (unsigned i = 0; i < net->npairs; i++)
		tap_attach_pair(net->tap, i, i < n);
}

/* Kernels differ in what they know; the guest was offered no more than that.  Of a set that is
 * refused, such as ECN without TSO, nothing may stay that the driver does not want: all is off. */
static void tap_offload(struct net *net, uint64_t features)
{
	if (tap_set_offloads(net->tap, features & tap_offloads(net->tap)))
		tap_set_offloads(net->tap, 0);
}

/* On main, beside whatever the pair's threads send: each packet is one write.  The tap counts it,
 * if it is taken, as it counts the guest's. */
static void tap_send_own(struct net *net, const uint8_t frame[static ETH_ZLEN])
{
	struct {
		struct virtio_net_hdr_mrg_rxbuf none;
		uint8_t frame[ETH_ZLEN];
	} packet = { .frame = { 0 } };

	memcpy(packet.frame, frame, sizeof(packet.frame));
	if (write(tap_fd(net->tap, 0), &packet, sizeof(packet)) < 0)
		return;
	net->tap_before.rx_frames++;
	net->tap_before.rx_bytes += sizeof(packet.frame);
}

/* Life: under the machine lock */

static void tap_link_changed(void *arg, uint32_t events)
{
	static const char *const news[] = {
		[TAP_REMOVED] = "was removed", [TAP_DOWN] = "is down", [TAP_UP] = "is up"
	};
	struct net *net = arg;
	enum tap_link link = tap_link(net->tap);

	(void)events;
	if (link == net->tap_was)
		return;
	net->tap_was = link;
	log_info("%s: tap %s %s; the guest's link is %s", net->v.dev.id, tap_name(net->tap),
		 news[link], link == TAP_UP ? "up" : "down");
	net_plug(net, link == TAP_UP);
}

static void tap_release(void *arg)
{
	struct net *net = arg;

	tap_close(net->tap);
}

/* "3:4" for npairs = 2 */
static int parse_fds(const struct net *net, int fd[TAP_PAIRS_MAX], struct err *e)
{
	const char *text = net->fd;
	unsigned n = 0, twice = 0;
	int length;

	for (; n < net->npairs && sscanf(text, "%d%n", &fd[n], &length) == 1 && fd[n] >= 0; n++) {
		text += length;
		if (*text == ':' && n + 1 < net->npairs)
			text++;
		for (unsigned i = 0; i < n; i++)
			twice += fd[i] == fd[n];
	}
	if (n == net->npairs && !*text && !twice)
		return 0;
	return err_set(
		e, -EINVAL,
		"%s: fd=%s must be one number for each pair of queues, all different and joined by "
		"\":\"; with num_queues=%u that is %u",
		net->v.dev.id, net->fd, net->num_queues, net->npairs);
}

static int tap_plug_in(struct net *net, struct err *e)
{
	struct tap_config c = { .name = net->tap_name,
				.bridge = net->bridge,
				.ip = net->ip,
				.mask = net->mask,
				.host_mac = net->host_mac,
				.guest_mac = net->config.mac,
				.mtu = net->mtu,
				.npairs = net->npairs };
	int fd[TAP_PAIRS_MAX], r = 0;

	if (net->forward)
		return err_set(
			e, -EINVAL,
			"%s: forward= is passt's; with a tap, ports are the host's firewall's",
			net->v.dev.id);
	if (net->fd && (c.name || c.bridge || c.ip || c.mask || c.host_mac))
		return err_set(e, -EINVAL,
			       "%s: with fd= the tap is as its opener set it up; leave out tap, "
			       "bridge, ip, mask and host_mac",
			       net->v.dev.id);
	if (net->fd) {
		c.fd = fd;
		r = parse_fds(net, fd, e);
	}
	if (!r)
		r = device_claim(&net->v.dev, tap_release, net, e);
	if (!r)
		r = tap_open(&net->tap, &c, e);
	if (r)
		return r;
	for (unsigned i = 0; i < net->npairs; i++)
		net->pair[i].packets = (struct watch){ .fd = tap_fd(net->tap, i),
						       .ready = tap_ready,
						       .arg = &net->pair[i] };
	net->link = (struct watch){ .fd = tap_link_fd(net->tap),
				    .ready = tap_link_changed,
				    .arg = net };
	net->tap_was = tap_link(net->tap);
	net->plugged = net->tap_was == TAP_UP;
	tap_count(net->tap, &net->tap_before);
	r = net->fd ? 0 : device_claim_watch(&net->v.dev, &net->link, EPOLLIN, e);
	if (r || net->vhost == NET_VHOST_OFF)
		return r;
	return net_vhost_open(net, e);
}

static uint64_t tap_features(const struct net *net)
{
	static const uint64_t tso = BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
				    BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) |
				    BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN);
	static const uint64_t ufo = BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_HOST_UFO);
	static const uint64_t uso = BIT(TAP_F_GUEST_USO4) | BIT(TAP_F_GUEST_USO6) |
				    BIT(TAP_F_HOST_USO);
	uint64_t known = tap_offloads(net->tap), usable = 0;
	/* A smaller queue's usual buffers do not hold the largest packet. */
	bool large = net->queue_size >= NET_RX_REQUESTS;

	if (net->npairs > 1)
		usable |= BIT(VIRTIO_NET_F_MQ);
	if (!net->offload_csum || !known)
		return usable;
	usable |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
		  BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (large && net->offload_tso)
		usable |= tso;
	if (large && net->offload_ufo)
		usable |= ufo;
	/* A kernel that knows one of these knows all. */
	if (large && net->offload_ufo && known & uso)
		usable |= uso;
	return usable;
}

const struct net_backend net_tap = {
	.sending = 1,
	.open = tap_plug_in,
	.features = tap_features,
	.send = tap_send,
	.receive = tap_receive,
	.pause_sending = tap_pause_sending,
	.pause_receiving = tap_pause_receiving,
	.set_pairs = tap_set_pairs,
	.set_offloads = tap_offload,
	.send_own = tap_send_own,
};
