/* SPDX-License-Identifier: Apache-2.0 */
/* A network card's control queue: virtio 1.2, 5.1.6.5. */
#include "net.h"

enum { CONTROL_SEGMENTS = 8 };

static uint8_t set_pairs(struct net *net, struct vq_request *r)
{
	struct virtio_net_ctrl_mq mq;
	uint16_t pairs;

	if (!virtio_has(&net->v, VIRTIO_NET_F_MQ) || req_read(r, &mq, sizeof(mq)) != sizeof(mq))
		return VIRTIO_NET_ERR;
	pairs = le16toh(mq.virtqueue_pairs);
	if (pairs < 1 || pairs > net->npairs)
		return VIRTIO_NET_ERR;
	__atomic_store_n(&net->s.pairs, pairs, __ATOMIC_RELEASE);
	/* The driver may send on them as soon as it has its answer. */
	net->backend->set_pairs(net, pairs);
	for (unsigned i = 0; i < net->npairs; i++)
		virtio_kick(&net->v, 2 * i);
	return VIRTIO_NET_OK;
}

/* Only what was negotiated can be switched on (5.1.6.5.6.2). */
static uint8_t set_offloads(struct net *net, struct vq_request *r)
{
	uint64_t wanted;

	if (!virtio_has(&net->v, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    req_read(r, &wanted, sizeof(wanted)) != sizeof(wanted))
		return VIRTIO_NET_ERR;
	wanted = le64toh(wanted);
	if (wanted & ~net_offloads(net, UINT64_MAX))
		return VIRTIO_NET_ERR;
	__atomic_store_n(&net->s.offloads, wanted, __ATOMIC_SEQ_CST);
	net_apply_offloads(net);
	return VIRTIO_NET_OK;
}

/* 5.1.6.5.4.2: before the answer. */
static uint8_t announced(struct net *net)
{
	if (!virtio_has(&net->v, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return VIRTIO_NET_ERR;
	net_set_status(net, VIRTIO_NET_S_ANNOUNCE, false);
	return VIRTIO_NET_OK;
}

static uint8_t control_answer(struct net *net, struct vq_request *r)
{
	struct virtio_net_ctrl_hdr header;

	if (req_read(r, &header, sizeof(header)) != sizeof(header))
		return VIRTIO_NET_ERR;
	if (header.class == VIRTIO_NET_CTRL_MQ && header.cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)
		return set_pairs(net, r);
	if (header.class == VIRTIO_NET_CTRL_ANNOUNCE && header.cmd == VIRTIO_NET_CTRL_ANNOUNCE_ACK)
		return announced(net);
	if (header.class == VIRTIO_NET_CTRL_GUEST_OFFLOADS &&
	    header.cmd == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET)
		return set_offloads(net, r);
	return VIRTIO_NET_ERR;
}

void net_control_kick(struct net *net, struct virtqueue *vq)
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
