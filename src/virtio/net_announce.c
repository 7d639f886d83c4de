/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card that came from elsewhere tells the network where it is now: bridges and switches send the
 * guest's packets to where they last saw its address.  The card says it by itself, with frames
 * that every switch learns from and no host answers (RARP requests, RFC 903), several as any may
 * be lost while a port is still being opened.  A driver that can is asked to do it too (virtio
 * 1.2, 5.1.6.5.4): it knows of addresses, VLANs and groups that the card does not.
 *
 * That the driver is being asked is no state: after a load it is asked anew.
 */
#include <assert.h>
#include <linux/virtio_config.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <stddef.h>
#include <string.h>

#include "net.h"

/* At once, then after 50, 150, 250 and 350 ms: what QEMU does unless it is told otherwise
 * (announce-rounds, announce-initial, announce-step), and networks are used to. */
enum { ROUNDS = 5 };
static const uint64_t first_gap_ns = 50000000, more_gap_ns = 100000000;

struct rarp_frame {
	struct ether_header ethernet;
	struct arphdr arp;
	uint8_t sender_mac[ETH_ALEN], sender_ip[4], target_mac[ETH_ALEN], target_ip[4];
	uint8_t padding[18];
} __attribute__((packed));
static_assert(sizeof(struct rarp_frame) == ETH_ZLEN, "padded to Ethernet's least");

static struct rarp_frame make_frame(const uint8_t mac[static ETH_ALEN])
{
	struct rarp_frame f = {
		.ethernet = { .ether_type = htobe16(ETHERTYPE_REVARP) },
		.arp = { .ar_hrd = htobe16(ARPHRD_ETHER),
			 .ar_pro = htobe16(ETHERTYPE_IP),
			 .ar_hln = ETH_ALEN,
			 .ar_pln = sizeof(f.sender_ip),
			 .ar_op = htobe16(ARPOP_RREQUEST) },
	};

	memset(f.ethernet.ether_dhost, 0xff, ETH_ALEN);
	memcpy(f.ethernet.ether_shost, mac, ETH_ALEN);
	memcpy(f.sender_mac, mac, ETH_ALEN);
	memcpy(f.target_mac, mac, ETH_ALEN);
	return f;
}

static void announce(void *arg)
{
	struct net *net = arg;
	struct net_announce *a = &net->announce;
	const struct rarp_frame f = make_frame(net->config.mac);

	net->backend->send_own(net, (const uint8_t *)&f);
	if (++a->sent < ROUNDS)
		loop_timer_set(net->v.dev.vm->loop, &a->next,
			       loop_now_ns() + first_gap_ns + (a->sent - 1) * more_gap_ns);
}

/* 5.1.6.5.4.1: once, until it has acknowledged.  A driver that has not chosen its features yet
 * will make itself known anyway. */
static void ask_driver(struct net *net)
{
	if (!(net->v.s->status & VIRTIO_CONFIG_S_FEATURES_OK) ||
	    !virtio_has(&net->v, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return;
	net_set_status(net, VIRTIO_NET_S_ANNOUNCE, true);
	virtio_config_changed(&net->v);
}

int net_announce_attach(struct net *net, struct err *e)
{
	net->announce.next = (struct timer){ .expired = announce, .arg = net };
	return device_claim_timer(&net->v.dev, &net->announce.next, e);
}

void net_announce_loaded(struct net *net)
{
	net_set_status(net, VIRTIO_NET_S_ANNOUNCE, false);
	net->announce.moved = true;
}

void net_announce_start(struct net *net)
{
	struct net_announce *a = &net->announce;

	if (!a->moved)
		return;
	a->moved = false;
	a->sent = 0;
	ask_driver(net);
	if (net->backend->send_own)
		announce(net);
}

void net_announce_stop(struct net *net)
{
	loop_timer_cancel(net->v.dev.vm->loop, &net->announce.next);
}
