/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network card's own: net.c is the device, net_rx.c what comes to the guest.  Each pair of
 * queues has an fd of the tap.  Packets go between the guest's buffers and the tap without a copy,
 * one system call each, and the guest is told once per batch.  Buffers for packets to the guest are
 * taken from its queue before a packet is there, because a packet's length is known only when it
 * has been read; what a batch did not need goes back, so that nothing is in flight between two.
 */
#ifndef NET_H
#define NET_H

#include <linux/virtio_net.h>

#include "tap.h"
#include "virtio.h"

enum {
	/* Buffers of 1526 bytes for one packet, as drivers offer them (virtio 1.2, 5.1.6.3.1). */
	NET_RX_REQUESTS = 64,
	NET_RX_SEGMENTS = 20, /* of each: a packet in 4 KiB pages, and two headers */
	NET_BATCH = 64, /* packets, then other queues of the thread have their turn */
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
	struct vq_request *request; /* NET_RX_REQUESTS: a ring of buffers for packets to come */
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

/* errno after a packet that could not pass.  True: none will, the host removed the interface. */
bool net_lost_tap(struct net *);

void net_rx_ready(void *pair, uint32_t events); /* packets may be there */
/* The guest offers buffers, or uses more or fewer pairs than before. */
void net_rx_kick(struct net_pair *);
void net_rx_pause(struct net_pair *); /* until the next kick */

#endif
