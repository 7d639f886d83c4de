/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network card's own: net.c is the device, net_control.c its control queue, net_tap.c and
 * net_passt.c are what it can be plugged into, net_vhost.c has the kernel move a tap's packets,
 * and net_announce.c tells the network where the card has moved.
 * Packets begin with the header of virtio 1.2, 5.1.6.
 * The guest is told once per batch.  Buffers for packets to the guest may be taken from its queue
 * before a packet is there, but what a batch did not need goes back: nothing is in flight between
 * two.
 */
#ifndef NET_H
#define NET_H

#include <linux/virtio_net.h>
#include <net/ethernet.h>

#include "passt.h"
#include "tap.h"
#include "throttle.h"

enum {
	NET_HEADER_BYTES = sizeof(struct virtio_net_hdr_mrg_rxbuf),
	/* Buffers of 1526 bytes for one packet, as drivers offer them (virtio 1.2, 5.1.6.3.1). */
	NET_RX_REQUESTS = 64,
	NET_RX_SEGMENTS = 48, /* of each: Linux's largest packet, and two headers */
	NET_BATCH = 64, /* packets, then other queues of the thread have their turn */
};

struct net_state {
	struct virtio_state virtio[1];
	uint16_t pairs; /* in use */
	uint16_t status; /* of the link */
	uint64_t offloads; /* of those negotiated, the ones that the driver wants now; atomic */
};

/* Of one queue, which counts in its direction.  Bytes are those of frames, without the header.  A
 * frame's latency is the monitor's: from when its thread finds work to when the frame has gone on.
 * Time that it waits for a limit, or in a queue behind others of a former batch, is not in it. */
struct net_counters {
	_Atomic uint64_t rx_bytes, rx_frames, rx_dropped, rx_throttled;
	_Atomic uint64_t tx_bytes, tx_frames, tx_dropped, tx_throttled;
	struct latency rx_latency, tx_latency;
};

/* A pair's queues are two I/O threads' while handed over, or one's. */
struct net_pair {
	struct net *net;
	unsigned index;
	struct virtqueue *rx, *tx;
	struct loop *rx_loop, *tx_loop;
	struct throttle rx_throttle, tx_throttle;
	struct net_counters *rx_counters, *tx_counters;
	uint64_t rx_found_ns, tx_found_ns; /* when the batch under way was */
	struct watch packets; /* rx's: the back end has some */
	struct vq_request *request; /* NET_RX_REQUESTS: a ring of buffers for packets to come */
	unsigned first, n;
	uint64_t bytes; /* that they hold */
	struct vq_request *sending; /* as many as the back end wants */
	int vhost; /* its fd, for both queues; -1: they are served here */
};

/* What the card is plugged into.  The verbs of a pair run on the I/O threads of its queues. */
struct net_backend {
	unsigned sending; /* requests that it wants of each pair */
	int (*open)(struct net *, struct err *); /* and claims */
	uint64_t (*features)(const struct net *); /* that the device has by it */
	void (*send)(struct net_pair *); /* the guest has packets */
	void (*receive)(struct net_pair *); /* the guest has buffers, and uses the pair */
	/* Until send() or receive(), nothing of that queue's happens. */
	void (*pause_sending)(struct net_pair *);
	void (*pause_receiving)(struct net_pair *);
	/* The driver uses the first n pairs; any thread.  NULL: there is one. */
	void (*set_pairs)(struct net *, unsigned n);
	/* Which of GUEST_CSUM, GUEST_TSO4, ... packets for the guest may use; NULL: none. */
	void (*set_offloads)(struct net *, uint64_t features);
	/* A frame of the card itself, as short as Ethernet's may be, which is not counted as the
	 * guest's; main.  NULL: nobody there learns where an address is. */
	void (*send_own)(struct net *, const uint8_t frame[static ETH_ZLEN]);
};

extern const struct net_backend net_tap, net_passt;

struct net_announce {
	bool moved; /* was loaded, and has not started since */
	unsigned sent;
	struct timer next;
};

struct net {
	struct virtio_device v;
	struct net_state s;
	const char *id, *tap_name, *fd, *bridge, *ip, *mask, *mac, *host_mac, *forward;
	unsigned backend_kind, vhost;
	uint16_t mtu, num_queues, queue_size;
	bool offload_tso, offload_ufo, offload_csum;
	struct rate_limit limit; /* of each direction */
	unsigned npairs;
	const struct net_backend *backend;
	struct tap *tap;
	struct tap_counts tap_before; /* what went through it before the card was plugged in */
	struct passt *passt;
	struct net_passt_wire *wire;
	struct net_pair pair[TAP_PAIRS_MAX];
	bool plugged; /* the other side is up */
	struct watch link; /* tap's */
	enum tap_link tap_was;
	struct work unplugged; /* passt's; runs on main */
	struct net_announce announce;
	struct virtio_net_config config; /* its status: net_set_status() */
};

/* The link follows the other side; main. */
void net_plug(struct net *, bool plugged);
/* A bit of the status that the driver reads; any thread, another for each bit. */
void net_set_status(struct net *, uint8_t bit, bool on);
/* Of these GUEST_* features, those negotiated. */
uint64_t net_offloads(const struct net *, uint64_t features);
/* Have the back end use those that the driver wants now; the I/O threads of any of its queues. */
void net_apply_offloads(struct net *);

/* Main.  start: before the queues are handed over. */
int net_announce_attach(struct net *, struct err *);
void net_announce_loaded(struct net *);
void net_announce_start(struct net *);
void net_announce_stop(struct net *);

enum net_vhost { NET_VHOST_AUTO, NET_VHOST_ON, NET_VHOST_OFF };

/* Once memory is there.  Without vhost-net, and unless it must be, the fds stay -1. */
int net_vhost_open(struct net *, struct err *);
/* Hand a queue to the kernel, and take it back: on its I/O thread. */
int net_vhost_start(struct net_pair *, struct virtqueue *, struct err *);
void net_vhost_stop(struct net_pair *, struct virtqueue *);

/* Main: count what the kernel moved.  False: that is not known. */
bool net_vhost_count(struct net *);

static inline void net_count_rx(struct net_pair *p, uint64_t frame_bytes)
{
	counter_add(&p->rx_counters->rx_frames, 1);
	counter_add(&p->rx_counters->rx_bytes, frame_bytes);
	latency_add(&p->rx_counters->rx_latency, loop_now_ns() - p->rx_found_ns);
}

static inline void net_count_tx(struct net_pair *p, uint64_t frame_bytes)
{
	uint64_t now_ns = loop_now_ns();

	if (!counter_get(&p->tx_counters->tx_frames))
		vm_note_first(&p->net->v.dev.vm->arrival.first_frame_ns, now_ns);
	counter_add(&p->tx_counters->tx_frames, 1);
	counter_add(&p->tx_counters->tx_bytes, frame_bytes);
	latency_add(&p->tx_counters->tx_latency, now_ns - p->tx_found_ns);
}

/* The control queue, on its I/O thread. */
void net_control_kick(struct net *, struct virtqueue *);

#endif
