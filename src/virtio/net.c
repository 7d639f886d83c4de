/* SPDX-License-Identifier: Apache-2.0 */
/* virtio network card: virtio 1.2, 5.1. Options, features, sending, control and life. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

#include "log.h"
#include "net.h"

enum {
	QUEUE_SIZE_MIN = 16,
	MTU_MIN = 68,
	CONTROL_SEGMENTS = 8,
	CLASS_CODE = 0x020000, /* Ethernet controller */
};

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
	OPTION_REFUSE("iommu", .fallback = "off"),
	OPTION_REFUSE("vhost_user", .fallback = "off"),
	OPTION_REFUSE("vhost_socket"),
	OPTION_REFUSE("vhost_mode", .fallback = "Client"),
	OPTION_REFUSE("fds"),
	OPTION_REFUSE("rate_limiter_config"),
	OPTION_REFUSE("pci_segment", .fallback = "0"),
	OPTION_REFUSE("pci_device_id"),
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

bool net_lost_tap(struct net *net)
{
	/* Also of a pair that is not attached, which is no news. */
	if (errno != EBADFD || !tap_is_gone(net->tap))
		return false;
	loop_post(net->v.dev.vm->loop, &net->unplugged);
	return true;
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

/* From the guest: on tx's I/O thread */

static bool tx_packet(struct net_pair *p)
{
	struct vq_request *r = p->sending;

	if (!vq_pop(p->tx, r))
		return false;
	/* What the tap does not take is lost, as on any wire: it is full, down, or the packet is
	 * nonsense. */
	if (writev(p->packets.fd, r->segment, r->nreadable) < 0)
		net_lost_tap(p->net);
	vq_complete(p->tx, r, 0);
	return true;
}

static void tx_kick(struct net_pair *p)
{
	unsigned sent = 0;

	vq_disable_kicks(p->tx);
	do {
		while (sent < NET_BATCH && tx_packet(p))
			sent++;
	} while (sent < NET_BATCH && vq_enable_kicks(p->tx));
	if (sent == NET_BATCH)
		virtio_kick(&p->net->v, p->tx->index);
	vq_flush(p->tx);
}

/* Control: on its I/O thread */

static uint8_t control_set_pairs(struct net *net, uint16_t pairs)
{
	if (!virtio_has(&net->v, VIRTIO_NET_F_MQ) || pairs < 1 || pairs > net->npairs)
		return VIRTIO_NET_ERR;
	/* The driver may send on them as soon as it has its answer. */
	for (unsigned i = 1; i < pairs; i++)
		tap_attach_pair(net->tap, i, true);
	__atomic_store_n(&net->s.pairs, pairs, __ATOMIC_RELEASE);
	/* Each pair's own thread does what else that means to it. */
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
		net_rx_kick(&net->pair[vq->index / 2]);
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
	struct net_pair *p = &net->pair[vq->index / 2];

	if (is_control(net, vq->index) || vq->index / 2 >= net->npairs || vq->index % 2)
		return;
	net_rx_pause(p);
	/* The next driver may know of the first pair only. */
	if (p->index)
		tap_attach_pair(net->tap, p->index, false);
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
	size_t requests = NET_RX_REQUESTS + 1;
	size_t segments = NET_RX_REQUESTS * NET_RX_SEGMENTS + VIRTQUEUE_SEGMENTS_MAX;
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
		.packets = { .fd = tap_fd(net->tap, index), .ready = net_rx_ready, .arg = p },
		.request = request,
		.sending = (struct vq_request *)request + NET_RX_REQUESTS
	};
	for (size_t i = 0; i < requests; i++)
		p->request[i] = (struct vq_request){
			.segment_max = i < NET_RX_REQUESTS ? NET_RX_SEGMENTS
							   : VIRTQUEUE_SEGMENTS_MAX,
			.segment = (struct iovec *)segment + i * NET_RX_SEGMENTS,
			.range = (struct vq_range *)range + i * NET_RX_SEGMENTS,
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
