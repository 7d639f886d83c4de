/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio network card: virtio 1.2, 5.1.  Each pair of queues has an fd of the tap.  Packets go
 * between the guest's buffers and the tap without a copy, one system call each, and the guest is
 * told once per batch.  Buffers for packets to the guest are taken from its queue before a packet
 * is there, because a packet's length is known only when it has been read; what a batch did not
 * need goes back, so that nothing is in flight between two batches.
 */
#include <errno.h>
#include <limits.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

#include "log.h"
#include "tap.h"
#include "virtio.h"

enum {
	QUEUE_SIZE_MIN = 16,
	PACKET_BYTES_MAX = 65536 +
			   18, /* of the largest segment, with an Ethernet and a VLAN header */
	MTU_MIN = 68,
	/* Buffers of 1526 bytes for one packet, as drivers offer them (5.1.6.3.1). */
	RX_REQUESTS = 64,
	RX_SEGMENTS = 20, /* a packet in 4 KiB pages, and two headers */
	CONTROL_SEGMENTS = 8,
	BATCH = 64, /* packets, then other queues of the thread have their turn */
	CLASS_CODE = 0x020000, /* Ethernet controller */
};

struct net_state {
	struct virtio_state virtio[1];
	uint16_t pairs; /* in use */
	uint16_t status; /* of the link */
};

/* A pair's queues are two I/O threads' while handed over, or one's. */
struct net_pair {
	struct net *net;
	unsigned index;
	struct virtqueue *rx, *tx;
	struct loop *loop; /* of rx; NULL: not handed over */
	struct watch packets;
	struct vq_request *request; /* RX_REQUESTS: a ring of buffers for packets to come */
	unsigned first, n;
	uint64_t bytes; /* that they hold */
	struct vq_request *sending;
};

struct net {
	struct virtio_device v;
	struct net_state s;
	const char *id, *tap_name, *bridge, *ip, *mask, *mac, *host_mac;
	uint16_t mtu, num_queues, queue_size;
	bool offload_tso, offload_ufo, offload_csum;
	unsigned npairs;
	struct tap *tap;
	struct net_pair pair[TAP_PAIRS_MAX];
	struct work unplugged; /* runs on main */
	struct virtio_net_config config;
};

#define REFUSED(name, ...)                                                                         \
	{                                                                                          \
		.key = (name), .kind = OPTION_REFUSED, __VA_ARGS__                                 \
	}

static const struct option net_options[] = {
	{ .key = "tap",
	  .help = "interface of the host; made if there is none of that name",
	  .kind = OPTION_STRING,
	  .offset = offsetof(struct net, tap_name) },
	OPTION(struct net, bridge, .help = "bridge of the host that the tap is put into"),
	OPTION(struct net, mac, .help = "the guest's address; else made from the VM's uuid"),
	OPTION(struct net, mtu, .help = "largest packet without its Ethernet header",
	       .min = MTU_MIN),
	OPTION(struct net, ip, .help = "the host's address on the tap"),
	OPTION(struct net, mask, .help = "and its netmask"),
	OPTION(struct net, host_mac, .help = "and its network card's address"),
	OPTION(struct net, num_queues, .help = "two for each vCPU that shall have its own",
	       .fallback = "2", .min = 2, .max = 2 * TAP_PAIRS_MAX),
	OPTION(struct net, queue_size, .help = "entries per queue, a power of two",
	       .fallback = "256", .min = QUEUE_SIZE_MIN, .max = VIRTQUEUE_SIZE_MAX),
	OPTION(struct net, offload_tso, .help = "large TCP packets cross in one", .fallback = "on"),
	OPTION(struct net, offload_ufo, .help = "large UDP packets, too", .fallback = "on"),
	OPTION(struct net, offload_csum, .help = "checksums are left to who needs them",
	       .fallback = "on"),
	OPTION(struct net, id, .help = "name of the device"),
	REFUSED("iommu", .fallback = "off"),
	REFUSED("vhost_user", .fallback = "off"),
	REFUSED("vhost_socket"),
	REFUSED("vhost_mode", .fallback = "Client"),
	REFUSED("fds"),
	REFUSED("rate_limiter_config"),
	REFUSED("pci_segment", .fallback = "0"),
	REFUSED("pci_device_id"),
};
static const struct option_table net_option_table = OPTION_TABLE(net_options, .first = "tap");

static const struct state_field net_fields[] = {
	STATE_STRUCTS(struct net_state, virtio, &virtio_state_desc),
	STATE(struct net_state, pairs, .max = TAP_PAIRS_MAX),
	STATE(struct net_state, status, .max = VIRTIO_NET_S_LINK_UP),
};
static const struct state_desc net_state_desc = STATE_DESC(struct net_state, "virtio-net", 1, 1,
							   net_fields);

/* 5.1.3.1; the kernel's names for bits that it knows */
static const struct virtio_dependency net_dependencies[] = {
	{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ },
};

static struct net *net_of(struct device *dev)
{
	return container_of(dev, struct net, v.dev);
}

/* The interface was removed from the host; no more can come or go. */
static void net_unplug(struct net *net)
{
	loop_post(net->v.dev.vm->loop, &net->unplugged);
}

static void net_set_link(struct net *net, bool up)
{
	net->s.status = up ? VIRTIO_NET_S_LINK_UP : 0;
	net->config.status = htole16(net->s.status);
}

static void net_unplugged(void *arg)
{
	struct net *net = arg;

	if (!net->s.status)
		return;
	log_warn("%s: tap %s was removed; the guest sees its link go down", net->v.dev.id,
		 tap_name(net->tap));
	net_set_link(net, false);
	virtio_config_changed(&net->v);
}

/* To the guest: on rx's I/O thread */

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
	unsigned max = MIN(RX_REQUESTS, p->rx->s->size);

	while (p->n < max && p->bytes < wanted) {
		struct vq_request *r = &p->request[(p->first + p->n) % RX_REQUESTS];

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
		const struct vq_request *r = &p->request[(p->first + i) % RX_REQUESTS];

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
		uint32_t bytes = p->request[(p->first + count - 1) % RX_REQUESTS].writable_bytes;

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
		p->first = (p->first + 1) % RX_REQUESTS;
		p->n--;
	}
}

static void rx_pause(struct net_pair *p)
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
		rx_pause(p);
		return false;
	}
	n = rx_vector(p, iov);
	len = readv(p->packets.fd, iov, n);
	if (len > 0) {
		rx_complete(p, iov, n, (size_t)len);
		return true;
	}
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	rx_pause(p);
	net_unplug(p->net);
	return false;
}

static void rx_ready(void *arg, uint32_t events)
{
	struct net_pair *p = arg;

	(void)events;
	for (unsigned i = 0; i < BATCH && rx_packet(p); i++)
		;
	rx_give_buffers_back(p);
	vq_flush(p->rx);
}

/* The guest offers buffers, or uses more or fewer pairs than before. */
static void rx_kick(struct net_pair *p)
{
	bool used = p->index < __atomic_load_n(&p->net->s.pairs, __ATOMIC_ACQUIRE);

	vq_disable_kicks(p->rx);
	if (!used)
		rx_pause(p);
	tap_attach_pair(p->net->tap, p->index, used);
	if (used && !p->packets.active && loop_watch(p->loop, &p->packets, EPOLLIN))
		net_unplug(p->net);
}

/* From the guest: on tx's I/O thread */

static bool tx_packet(struct net_pair *p)
{
	struct vq_request *r = p->sending;

	if (!vq_pop(p->tx, r))
		return false;
	/* What the tap does not take is lost, as on any wire: it is full, down, or the packet is
	 * nonsense. */
	if (writev(p->packets.fd, r->segment, r->nreadable) < 0 && errno == EBADFD)
		net_unplug(p->net);
	vq_complete(p->tx, r, 0);
	return true;
}

static void tx_kick(struct net_pair *p)
{
	unsigned sent = 0;

	vq_disable_kicks(p->tx);
	do {
		while (sent < BATCH && tx_packet(p))
			sent++;
	} while (sent < BATCH && vq_enable_kicks(p->tx));
	if (sent == BATCH)
		virtio_kick(&p->net->v, p->tx->index);
	vq_flush(p->tx);
}

/* Control: on its I/O thread */

static uint8_t control_set_pairs(struct net *net, uint16_t pairs)
{
	if (!virtio_has(&net->v, VIRTIO_NET_F_MQ) || pairs < 1 || pairs > net->npairs)
		return VIRTIO_NET_ERR;
	__atomic_store_n(&net->s.pairs, pairs, __ATOMIC_RELEASE);
	/* Each pair's own thread does what that means to it. */
	for (unsigned i = 0; i < net->npairs; i++)
		virtio_kick(&net->v, 2 * i);
	return VIRTIO_NET_OK;
}

static uint8_t control_answer(struct net *net, struct vq_request *r)
{
	struct virtio_net_ctrl_hdr header;
	struct virtio_net_ctrl_mq mq;

	if (req_read(r, &header, sizeof(header)) == sizeof(header) &&
	    header.class == VIRTIO_NET_CTRL_MQ && header.cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET &&
	    req_read(r, &mq, sizeof(mq)) == sizeof(mq))
		return control_set_pairs(net, le16toh(mq.virtqueue_pairs));
	return VIRTIO_NET_ERR;
}

static void control_kick(struct net *net, struct virtqueue *vq)
{
	struct iovec segment[CONTROL_SEGMENTS];
	struct vq_range range[CONTROL_SEGMENTS];
	struct vq_request r = { .segment_max = CONTROL_SEGMENTS,
				.segment = segment,
				.range = range };
	unsigned done = 0;

	vq_disable_kicks(vq);
	do {
		for (; done < vq->s->size && vq_pop(vq, &r); done++) {
			uint8_t answer = control_answer(net, &r);

			vq_complete(vq, &r, (uint32_t)req_write(&r, &answer, sizeof(answer)));
		}
	} while (done < vq->s->size && vq_enable_kicks(vq));
	if (done == vq->s->size)
		virtio_kick(&net->v, vq->index);
	vq_flush(vq);
}

/* Queues (5.1.2): rx and tx of each pair, then control, for which the pairs count that the driver
 * knows of. */

static bool is_control(const struct net *net, unsigned queue)
{
	return queue == 2 * (virtio_has(&net->v, VIRTIO_NET_F_MQ) ? net->npairs : 1);
}

static void net_kick(struct virtio_device *v, struct virtqueue *vq)
{
	struct net *net = container_of(v, struct net, v);

	if (is_control(net, vq->index))
		control_kick(net, vq);
	else if (vq->index / 2 >= net->npairs)
		return; /* control's place with MQ, which was not negotiated */
	else if (vq->index % 2)
		tx_kick(&net->pair[vq->index / 2]);
	else
		rx_kick(&net->pair[vq->index / 2]);
}

static int net_queue_start(struct virtio_device *v, struct virtqueue *vq, struct loop *loop,
			   struct err *e)
{
	struct net *net = container_of(v, struct net, v);
	struct net_pair *p = &net->pair[vq->index / 2];

	(void)e;
	if (is_control(net, vq->index) || vq->index / 2 >= net->npairs)
		return 0;
	if (vq->index % 2) {
		p->tx = vq;
		return 0;
	}
	p->rx = vq;
	p->loop = loop;
	/* Kernels differ in what they know; the guest was offered no more than that. */
	tap_set_offloads(net->tap, v->s->driver_features & tap_offloads(net->tap));
	return 0;
}

static void net_queue_stop(struct virtio_device *v, struct virtqueue *vq)
{
	struct net *net = container_of(v, struct net, v);

	if (!is_control(net, vq->index) && vq->index / 2 < net->npairs && !(vq->index % 2))
		rx_pause(&net->pair[vq->index / 2]);
}

/* 5.1.6.5.5: one pair, until the driver asks for more */
static void net_driver_reset(struct virtio_device *v)
{
	container_of(v, struct net, v)->s.pairs = 1;
}

static const struct virtio_class net_virtio_class = {
	.id = VIRTIO_ID_NET,
	.class_code = CLASS_CODE,
	.dependency = net_dependencies,
	.ndependencies = ARRAY_SIZE(net_dependencies),
	.kick = net_kick,
	.queue_start = net_queue_start,
	.queue_stop = net_queue_stop,
	.driver_reset = net_driver_reset,
};

/* Life: under the machine lock */

static uint64_t net_features(const struct net *net)
{
	uint64_t tso = BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
		       BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) |
		       BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN);
	uint64_t ufo = BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_HOST_UFO);
	uint64_t known = tap_offloads(net->tap), features;

	features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF);
	if (net->mtu)
		features |= BIT(VIRTIO_NET_F_MTU);
	if (net->npairs > 1)
		features |= BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ);
	if (!net->offload_csum || !known)
		return features;
	features |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM);
	if (net->offload_tso)
		features |= tso;
	return net->offload_ufo ? features | ufo : features;
}

static int net_check_options(struct net *net, struct err *e)
{
	const char *id = net->v.dev.id;

	if (!is_power_of_two(net->queue_size))
		return err_set(e, -EINVAL, "%s: queue_size=%u is not a power of two", id,
			       net->queue_size);
	if (net->num_queues % 2)
		return err_set(e, -EINVAL, "%s: num_queues=%u must be even: two for each pair", id,
			       net->num_queues);
	net->npairs = net->num_queues / 2u;
	if (net->mac && tap_parse_mac(net->mac, net->config.mac))
		return err_set(e, -EINVAL,
			       "%s: mac=%s is not the address of a network card, such as "
			       "52:54:00:12:34:56",
			       id, net->mac);
	return 0;
}

static void net_close(void *arg)
{
	struct net *net = arg;

	tap_close(net->tap);
}

static int net_open(struct net *net, struct err *e)
{
	const struct tap_config c = { .name = net->tap_name,
				      .bridge = net->bridge,
				      .ip = net->ip,
				      .mask = net->mask,
				      .host_mac = net->host_mac,
				      .mtu = net->mtu,
				      .npairs = net->npairs };
	int r = device_claim(&net->v.dev, net_close, net, e);

	return r ? r : tap_open(&net->tap, &c, e);
}

static int net_claim_pair(struct net *net, unsigned index, struct err *e)
{
	struct net_pair *p = &net->pair[index];
	/* The last request is for sending. */
	size_t requests = RX_REQUESTS + 1;
	size_t segments = RX_REQUESTS * RX_SEGMENTS + VIRTQUEUE_SEGMENTS_MAX;
	void *request, *segment, *range;
	int r = device_claim_memory(&net->v.dev, requests * sizeof(struct vq_request), &request, e);

	if (!r)
		r = device_claim_memory(&net->v.dev, segments * sizeof(struct iovec), &segment, e);
	if (!r)
		r = device_claim_memory(&net->v.dev, segments * sizeof(struct vq_range), &range, e);
	if (r)
		return r;
	*p = (struct net_pair){
		.net = net,
		.index = index,
		.packets = { .fd = tap_fd(net->tap, index), .ready = rx_ready, .arg = p },
		.request = request,
		.sending = (struct vq_request *)request + RX_REQUESTS
	};
	for (size_t i = 0; i < requests; i++)
		p->request[i] = (struct vq_request){
			.segment_max = i < RX_REQUESTS ? RX_SEGMENTS : VIRTQUEUE_SEGMENTS_MAX,
			.segment = (struct iovec *)segment + i * RX_SEGMENTS,
			.range = (struct vq_range *)range + i * RX_SEGMENTS,
		};
	return 0;
}

static int net_attach(struct device *dev, struct err *e)
{
	struct net *net = net_of(dev);
	int r = net_check_options(net, e);

	if (!r)
		r = net_open(net, e);
	for (unsigned i = 0; !r && i < net->npairs; i++)
		r = net_claim_pair(net, i, e);
	if (r)
		return r;
	net->unplugged = (struct work){ .run = net_unplugged, .arg = net };
	net->config.mtu = htole16(net->mtu);
	net->config.max_virtqueue_pairs = htole16((uint16_t)net->npairs);
	net->v.features = net_features(net);
	net->v.config = (uint8_t *)&net->config;
	net->v.config_bytes = offsetof(struct virtio_net_config, speed);
	net->v.nqueues = net->npairs > 1 ? net->num_queues + 1u : 2;
	net->v.queue_size = net->queue_size;
	return virtio_attach(&net->v, &net_virtio_class, &net->s.virtio[0], e);
}

static void net_reset(struct device *dev)
{
	struct net *net = net_of(dev);

	virtio_reset(dev);
	net_set_link(net, true);
}

static int net_loaded(struct device *dev, struct err *e)
{
	struct net *net = net_of(dev);

	if (net->s.pairs < 1 || net->s.pairs > net->npairs)
		return err_set(e, -EINVAL, "%s: %u pairs of queues are in use, the device has %u",
			       dev->id, net->s.pairs, net->npairs);
	net_set_link(net, net->s.status);
	return virtio_loaded(dev, e);
}

extern const struct device_class virtio_net_class;
const struct device_class virtio_net_class = {
	.kind = "virtio-net",
	.size = sizeof(struct net),
	.options = &net_option_table,
	.state = &net_state_desc,
	.state_offset = offsetof(struct net, s),
	.attach = net_attach,
	.reset = net_reset,
	.start = virtio_start,
	.stop = virtio_stop,
	.loaded = net_loaded,
	.fetch = virtio_fetch,
};
