/* SPDX-License-Identifier: Apache-2.0 */
/* virtio network card: virtio 1.2, 5.1. Options, features, queues and life. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <string.h>

#include "net.h"

enum {
	QUEUE_SIZE_MIN = 16,
	MTU_MIN = 68,
	CLASS_CODE = 0x020000, /* Ethernet controller */
};

enum { BACKEND_TAP, BACKEND_PASST };
static const char *const backend_names[] = { "Tap", "Passt", NULL };
static const struct net_backend *const backends[] = {
	[BACKEND_TAP] = &net_tap, [BACKEND_PASST] = &net_passt
};

static const char *const vhost_names[] = {
	[NET_VHOST_AUTO] = "Auto", [NET_VHOST_ON] = "On", [NET_VHOST_OFF] = "Off", NULL
};

/* Clients that have no word for "none" want the addresses to be there. */
#define NO_ADDRESS "0.0.0.0"

static const struct option net_options[] = {
	{ .key = "backend",
	  .help = "what the card is plugged into; Passt needs no rights",
	  .kind = OPTION_ENUM,
	  .names = backend_names,
	  .fallback = "Tap",
	  .offset = offsetof(struct net, backend_kind) },
	{ .key = "tap",
	  .help = "interface of the host; made if there is none of that name",
	  .kind = OPTION_STRING,
	  .offset = offsetof(struct net, tap_name) },
	OPTION(struct net, fd, .help = "of an open tap, one for each pair of queues: 3:4:5"),
	OPTION(struct net, bridge, .help = "bridge of the host that the tap is put into"),
	OPTION(struct net, mac, .help = "the guest's address; else made from the VM's uuid"),
	OPTION(struct net, mtu, .help = "largest packet without its Ethernet header",
	       .min = MTU_MIN),
	OPTION(struct net, ip, .help = "the host's address on the tap; 0.0.0.0: none",
	       .fallback = NO_ADDRESS),
	OPTION(struct net, mask, .help = "and its netmask", .fallback = NO_ADDRESS),
	OPTION(struct net, host_mac, .help = "and its network card's address"),
	OPTION(struct net, forward,
	       .help = "ports that passt forwards: HOST:GUEST,udp:HOST:GUEST,..."),
	OPTION(struct net, num_queues, .help = "two for each vCPU that shall have its own",
	       .fallback = "2", .min = 2, .max = 2 * TAP_PAIRS_MAX),
	OPTION(struct net, queue_size, .help = "entries per queue, a power of two",
	       .fallback = "256", .min = QUEUE_SIZE_MIN, .max = VIRTQUEUE_SIZE_MAX),
	OPTION(struct net, offload_tso, .help = "large TCP packets cross in one", .fallback = "on"),
	OPTION(struct net, offload_ufo, .help = "large UDP packets, too", .fallback = "on"),
	OPTION(struct net, offload_csum, .help = "checksums are left to who needs them",
	       .fallback = "on"),
	OPTION_NAMED(struct net, vhost, vhost_names,
		     .help = "the kernel moves a tap's packets; Auto: where that is faster",
		     .fallback = "Auto"),
	OPTION(struct net, id, .help = "name of the device"),
	RATE_LIMIT_OPTIONS(struct net, limit),
	RATE_LIMIT_GROUP_OPTION(struct net, limit),
	OPTION_REFUSE("iommu", .fallback = "off"),
	OPTION_REFUSE("vhost_user", .fallback = "off"),
	OPTION_REFUSE("vhost_socket"),
	OPTION_REFUSE("vhost_mode", .fallback = "Client"),
	OPTION_REFUSE("fds", .help = "open files come with the request, or as fd=3:4"),
	OPTION_REFUSE("pci_segment", .fallback = "0"),
	OPTION_REFUSE("pci_device_id"),
};
static const struct option_table net_option_table = OPTION_TABLE(net_options, .first = "backend");

static const struct state_field net_fields[] = {
	STATE_STRUCTS(struct net_state, virtio, &virtio_state_desc),
	STATE(struct net_state, pairs, .max = TAP_PAIRS_MAX),
	STATE(struct net_state, status, .max = VIRTIO_NET_S_LINK_UP),
	STATE(struct net_state, offloads),
};
static const struct state_desc net_state_desc = STATE_DESC(struct net_state, "virtio-net", 1, 1,
							   net_fields);

#define NET_COUNTER(m, family, ...)                                                                \
	COUNTER(struct net_counters, m, .metric = "godwit_net_" family, __VA_ARGS__)
#define NET_LATENCY(m, family, ...)                                                                \
	COUNTER_LATENCY_OF(struct net_counters, m, .metric = "godwit_net_" family, __VA_ARGS__)

static const struct counter net_counters[] = {
	NET_COUNTER(rx_bytes, "receive_bytes", .unit = COUNTER_BYTES,
		    .help = "Bytes of frames that the guest received."),
	NET_COUNTER(rx_frames, "receive_frames", .help = "Frames that the guest received."),
	NET_COUNTER(rx_dropped, "receive_dropped",
		    .help = "Frames for the guest that were lost in the monitor."),
	NET_COUNTER(rx_throttled, "receive_throttled",
		    .help = "Times a limit made a queue to the guest wait."),
	NET_COUNTER(tx_bytes, "transmit_bytes", .unit = COUNTER_BYTES,
		    .help = "Bytes of frames that the guest sent."),
	NET_COUNTER(tx_frames, "transmit_frames", .help = "Frames that the guest sent."),
	NET_COUNTER(tx_dropped, "transmit_dropped",
		    .help = "Frames of the guest that the host did not take."),
	NET_COUNTER(tx_throttled, "transmit_throttled",
		    .help = "Times a limit made a queue from the guest wait."),
	NET_LATENCY(rx_latency, "receive_latency_seconds",
		    .help = "Time that frames to the guest took in the monitor."),
	NET_LATENCY(tx_latency, "transmit_latency_seconds",
		    .help = "Time that frames of the guest took in the monitor."),
};

static bool net_fetch(struct device *dev)
{
	struct net *net = container_of(dev, struct net, v.dev);

	return net->pair[0].vhost < 0 || net_vhost_count(net);
}

static const struct counter_table net_counter_table =
	COUNTER_TABLE(struct net_counters, net_counters, .fetch = net_fetch);

/* 5.1.3.1 */
static const struct virtio_dependency net_dependencies[] = {
	{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_CSUM },
	{ TAP_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM },
	{ TAP_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_CSUM },
	{ TAP_F_HOST_USO, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ },
	{ VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_CTRL_VQ },
	{ VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_VQ },
};

static struct net *net_of(struct device *dev)
{
	return container_of(dev, struct net, v.dev);
}

/* All bits are in the first byte. */
void net_set_status(struct net *net, uint8_t bit, bool on)
{
	uint8_t *status = (uint8_t *)&net->config + offsetof(struct virtio_net_config, status);

	if (on)
		__atomic_fetch_or(status, bit, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(status, (uint8_t)~bit, __ATOMIC_SEQ_CST);
}

static void net_set_link(struct net *net, bool up)
{
	net->s.status = up ? VIRTIO_NET_S_LINK_UP : 0;
	net_set_status(net, VIRTIO_NET_S_LINK_UP, up);
}

void net_plug(struct net *net, bool plugged)
{
	net->plugged = plugged;
	if (net->s.status == (plugged ? VIRTIO_NET_S_LINK_UP : 0))
		return;
	net_set_link(net, plugged);
	virtio_config_changed(&net->v);
}

uint64_t net_offloads(const struct net *net, uint64_t features)
{
	static const uint64_t offloads = BIT(VIRTIO_NET_F_GUEST_CSUM) |
					 BIT(VIRTIO_NET_F_GUEST_TSO4) |
					 BIT(VIRTIO_NET_F_GUEST_TSO6) |
					 BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO) |
					 BIT(TAP_F_GUEST_USO4) | BIT(TAP_F_GUEST_USO6);

	return features & net->v.s->driver_features & offloads;
}

/* Who changes them, or is the last to look, has looked again: the back end ends with the latest. */
void net_apply_offloads(struct net *net)
{
	uint64_t wanted;

	if (!net->backend->set_offloads)
		return;
	do {
		wanted = __atomic_load_n(&net->s.offloads, __ATOMIC_SEQ_CST);
		net->backend->set_offloads(net, net_offloads(net, wanted));
	} while (__atomic_load_n(&net->s.offloads, __ATOMIC_SEQ_CST) != wanted);
}

/* Queues (5.1.2): rx and tx of each pair, then control, for which the pairs count that the driver
 * knows of. */

static bool is_control(const struct net *net, unsigned queue)
{
	return queue == 2 * (virtio_has(&net->v, VIRTIO_NET_F_MQ) ? net->npairs : 1);
}

/* NULL: control's place with MQ, which was not negotiated. */
static struct net_pair *pair_of(struct net *net, const struct virtqueue *vq)
{
	return vq->index / 2 < net->npairs ? &net->pair[vq->index / 2] : NULL;
}

static void net_kick(struct virtio_device *v, struct virtqueue *vq)
{
	struct net *net = container_of(v, struct net, v);
	struct net_pair *p = pair_of(net, vq);

	if (is_control(net, vq->index))
		net_control_kick(net, vq);
	else if (p && vq->index % 2)
		net->backend->send(p);
	else if (p && p->index < __atomic_load_n(&net->s.pairs, __ATOMIC_ACQUIRE))
		net->backend->receive(p);
	else if (p)
		net->backend->pause_receiving(p);
}

static int net_queue_start(struct virtio_device *v, struct virtqueue *vq, struct loop *loop,
			   struct err *e)
{
	struct net *net = container_of(v, struct net, v);
	struct net_pair *p = pair_of(net, vq);

	if (is_control(net, vq->index) || !p)
		return 0;
	if (vq->index % 2) {
		p->tx = vq;
		p->tx_loop = loop;
		throttle_start(&p->tx_throttle, rate_limit_limiter(&net->limit, 1), vq, loop,
			       &p->tx_counters->tx_throttled);
	} else {
		p->rx = vq;
		p->rx_loop = loop;
		throttle_start(&p->rx_throttle, rate_limit_limiter(&net->limit, 0), vq, loop,
			       &p->rx_counters->rx_throttled);
		net_apply_offloads(net);
	}
	/* The kernel knows no limits, and marks no page that it writes. */
	if (p->vhost < 0 || limiter_is_on(rate_limit_limiter(&net->limit, 0)) ||
	    net->v.dev.vm->logged)
		return 0;
	return net_vhost_start(p, vq, e);
}

static void net_queue_stop(struct virtio_device *v, struct virtqueue *vq)
{
	struct net *net = container_of(v, struct net, v);
	struct net_pair *p = pair_of(net, vq);

	if (is_control(net, vq->index) || !p)
		return;
	throttle_stop(vq->index % 2 ? &p->tx_throttle : &p->rx_throttle);
	if (vq->delegated)
		net_vhost_stop(p, vq);
	else if (vq->index % 2)
		net->backend->pause_sending(p);
	else
		net->backend->pause_receiving(p);
}

/* 5.1.6.5.5: one pair, until the driver asks for more.  5.1.6.5.6: all offloads, until for less. */
static void net_driver_reset(struct virtio_device *v)
{
	struct net *net = container_of(v, struct net, v);

	net->s.pairs = 1;
	net->s.offloads = UINT64_MAX;
	net_set_status(net, VIRTIO_NET_S_ANNOUNCE, false);
	if (net->backend->set_pairs)
		net->backend->set_pairs(net, 1);
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

static void net_limits_changed(struct device *dev)
{
	struct net *net = net_of(dev);

	if (net->pair[0].vhost >= 0)
		virtio_restart_queues(&net->v, NULL, NULL);
	else
		throttle_changed(dev);
}

static void net_log(struct device *dev, void (*done)(void *arg), void *arg)
{
	struct net *net = net_of(dev);

	if (net->pair[0].vhost >= 0)
		virtio_restart_queues(&net->v, done, arg);
	else
		done(arg);
}

static uint64_t net_features(const struct net *net)
{
	return BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
	       BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |
	       (net->mtu ? BIT(VIRTIO_NET_F_MTU) : 0) | net->backend->features(net);
}

static int net_check_options(struct net *net, struct err *e)
{
	const char *id = net->v.dev.id;

	if (!strcmp(net->ip, NO_ADDRESS))
		net->ip = NULL;
	if (!strcmp(net->mask, NO_ADDRESS))
		net->mask = NULL;
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

static int claim_requests(struct net *net, size_t n, size_t segments, struct vq_request **out,
			  struct err *e)
{
	void *request, *segment, *range;
	int r = device_claim_memory(&net->v.dev, n * sizeof(struct vq_request), &request, e);

	if (!r)
		r = device_claim_memory(&net->v.dev, n * segments * sizeof(struct iovec), &segment,
					e);
	if (!r)
		r = device_claim_memory(&net->v.dev, n * segments * sizeof(struct vq_range), &range,
					e);
	if (r)
		return r;
	*out = request;
	for (size_t i = 0; i < n; i++)
		(*out)[i] = (struct vq_request){
			.segment_max = (uint16_t)segments,
			.segment = (struct iovec *)segment + i * segments,
			.range = (struct vq_range *)range + i * segments,
		};
	return 0;
}

static int claim_pair(struct net *net, unsigned index, struct err *e)
{
	struct net_pair *p = &net->pair[index];
	int r;

	p->net = net;
	p->index = index;
	p->vhost = -1;
	p->rx_counters = device_counters(&net->v.dev, 2 * index);
	p->tx_counters = device_counters(&net->v.dev, 2 * index + 1);
	r = claim_requests(net, NET_RX_REQUESTS, NET_RX_SEGMENTS, &p->request, e);
	return r ? r
		 : claim_requests(net, net->backend->sending, VIRTQUEUE_SEGMENTS_MAX, &p->sending,
				  e);
}

static int net_attach(struct device *dev, struct err *e)
{
	struct net *net = net_of(dev);
	int r = net_check_options(net, e);

	net->backend = backends[net->backend_kind];
	if (!r)
		r = rate_limit_attach(&net->limit, dev, 2, net_limits_changed, e);
	/* One for each queue of packets, and one for what the kernel moves. */
	if (!r)
		r = device_claim_counters(dev, 2 * net->npairs + 1, e);
	for (unsigned i = 0; !r && i < net->npairs; i++)
		r = claim_pair(net, i, e);
	if (!r)
		r = net->backend->open(net, e);
	if (!r)
		r = net_announce_attach(net, e);
	if (r)
		return r;
	net->config.mtu = htole16(net->mtu);
	net->config.max_virtqueue_pairs = htole16((uint16_t)net->npairs);
	net->v.features = net_features(net);
	net->v.config = (uint8_t *)&net->config;
	net->v.config_bytes = offsetof(struct virtio_net_config, speed);
	net->v.nqueues = net->num_queues + 1u;
	net->v.queue_size = net->queue_size;
	return virtio_attach(&net->v, &net_virtio_class, &net->s.virtio[0], e);
}

static void net_reset(struct device *dev)
{
	struct net *net = net_of(dev);

	virtio_reset(dev);
	net_set_link(net, net->plugged);
}

/* What was loaded may be another host's. */
static void net_start(struct device *dev)
{
	struct net *net = net_of(dev);

	if (net->backend->set_pairs)
		net->backend->set_pairs(net, net->s.pairs);
	net_announce_start(net);
	virtio_start(dev);
	net_plug(net, net->plugged);
}

static void net_stop(struct device *dev)
{
	net_announce_stop(net_of(dev));
	virtio_stop(dev);
}

static int net_loaded(struct device *dev, struct err *e)
{
	struct net *net = net_of(dev);

	if (net->s.pairs < 1 || net->s.pairs > net->npairs)
		return err_set(e, -EINVAL, "%s: %u pairs of queues are in use, the device has %u",
			       dev->id, net->s.pairs, net->npairs);
	net_set_link(net, net->s.status);
	net_announce_loaded(net);
	return virtio_loaded(dev, e);
}

extern const struct device_class virtio_net_class;
const struct device_class virtio_net_class = {
	.kind = "virtio-net",
	.size = sizeof(struct net),
	.options = &net_option_table,
	.state = &net_state_desc,
	.state_offset = offsetof(struct net, s),
	.counters = &net_counter_table,
	.attach = net_attach,
	.reset = net_reset,
	.start = net_start,
	.stop = net_stop,
	.loaded = net_loaded,
	.log = net_log,
	.fetch = virtio_fetch,
};
