/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network card on passt's stream socket (passt.h).  Frames cross many in one system call, and
 * without the guest's header: there are no offloads.  A frame that the socket took in part is
 * finished from a copy, because the stream's framing must survive whatever happens to the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "net.h"

enum {
	RX_BYTES = 256 * KIB,
	UNIT_MAX = PASST_LENGTH_BYTES + PASST_FRAME_MAX, /* a frame with its length */
	RX_CALLS = 2, /* then other queues of the thread have their turn */
};

/* rx_*: rx's I/O thread; the rest: tx's. */
struct net_passt_wire {
	uint8_t rx[RX_BYTES]; /* what came and was not given to the guest yet */
	size_t rx_at, rx_len;
	struct watch room; /* tx: the socket takes more */
	uint32_t length[NET_BATCH];
	struct iovec iov[IOV_MAX];
	uint8_t rest[UNIT_MAX]; /* of a frame that went out in part */
	size_t rest_at, rest_len;
};

/* Nothing comes or goes any more. */
static void hang_up(struct net_pair *p)
{
	loop_post(p->net->v.dev.vm->loop, &p->net->unplugged);
}

/* To the guest: on rx's I/O thread */

static void passt_pause_receiving(struct net_pair *p)
{
	if (p->packets.active)
		loop_unwatch(p->rx_loop, &p->packets);
}

static bool take_buffers(struct net_pair *p, size_t bytes)
{
	unsigned max = virtio_has(&p->net->v, VIRTIO_NET_F_MRG_RXBUF)
			       ? MIN(NET_RX_REQUESTS, p->rx->s->size)
			       : 1;

	p->n = 0;
	p->bytes = 0;
	while (p->bytes < bytes && p->n < max) {
		struct vq_request *r = &p->request[p->n];

		if (vq_pop(p->rx, r)) {
			p->bytes += r->writable_bytes;
			p->n++;
		} else if (!vq_enable_kicks(p->rx)) {
			vq_unpop(p->rx, p->n);
			return false;
		}
	}
	return true;
}

static size_t fill(struct net_pair *p, struct vq_request *r, const uint8_t *data, size_t len,
		   uint32_t before)
{
	size_t n = req_write(r, data, len);

	vq_complete(p->rx, r, before + (uint32_t)n);
	return n;
}

/* False: the guest has not offered enough buffers, and will kick. */
static bool give_frame(struct net_pair *p, const uint8_t *frame, size_t len)
{
	struct virtio_net_hdr_mrg_rxbuf header = { 0 };
	size_t done;

	if (!take_buffers(p, sizeof(header) + len))
		return false;
	if (p->bytes < sizeof(header) + len || p->request[0].writable_bytes < sizeof(header)) {
		/* Too few for any packet: it is lost, and the first is back (5.1.6.3.1). */
		vq_unpop(p->rx, p->n - 1);
		vq_complete(p->rx, &p->request[0], 0);
		counter_add(&p->rx_counters->rx_dropped, 1);
		return true;
	}
	header.num_buffers = htole16((uint16_t)p->n);
	req_write(&p->request[0], &header, sizeof(header));
	done = fill(p, &p->request[0], frame, len, sizeof(header));
	for (unsigned i = 1; i < p->n; i++)
		done += fill(p, &p->request[i], frame + done, len - done, 0);
	net_count_rx(p, len);
	return true;
}

static size_t next_length(const struct net_passt_wire *w)
{
	uint32_t length;

	memcpy(&length, w->rx + w->rx_at, sizeof(length));
	return be32toh(length);
}

/* False: wait for a kick, by the guest or because it is time, or for ever. */
static bool give_frames(struct net_pair *p)
{
	struct net_passt_wire *w = p->net->wire;

	while (w->rx_len >= PASST_LENGTH_BYTES) {
		size_t length = next_length(w);

		if (p->rx_throttle.closed)
			return false;
		if (length < PASST_FRAME_MIN || length > PASST_FRAME_MAX) {
			hang_up(p);
			return false;
		}
		if (w->rx_len < PASST_LENGTH_BYTES + length)
			break;
		if (!give_frame(p, w->rx + w->rx_at + PASST_LENGTH_BYTES, length))
			return false;
		throttle_charge(&p->rx_throttle, length);
		w->rx_at += PASST_LENGTH_BYTES + length;
		w->rx_len -= PASST_LENGTH_BYTES + length;
	}
	memmove(w->rx, w->rx + w->rx_at, w->rx_len);
	w->rx_at = 0;
	return true;
}

/* False: the socket has no more now. */
static bool read_frames(struct net_pair *p)
{
	struct net_passt_wire *w = p->net->wire;
	size_t room = sizeof(w->rx) - w->rx_len;
	ssize_t n = read(p->packets.fd, w->rx + w->rx_len, room);

	if (n > 0) {
		w->rx_len += (size_t)n;
		return (size_t)n == room;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		passt_pause_receiving(p);
		hang_up(p);
	}
	return false;
}

static void passt_ready(void *arg, uint32_t events)
{
	struct net_pair *p = arg;
	bool more = true, room;

	(void)events;
	p->rx_found_ns = loop_now_ns();
	throttle_begin(&p->rx_throttle);
	room = give_frames(p);
	for (unsigned i = 0; room && more && i < RX_CALLS; i++) {
		more = read_frames(p);
		room = give_frames(p);
	}
	if (!room)
		passt_pause_receiving(p);
	vq_flush(p->rx);
}

static void passt_receive(struct net_pair *p)
{
	vq_disable_kicks(p->rx);
	if (!p->packets.active && loop_watch(p->rx_loop, &p->packets, EPOLLIN))
		log_warn("%s: the host is out of memory; no more packets come", p->net->v.dev.id);
	/* What came before may be all that comes. */
	if (p->net->wire->rx_len)
		passt_ready(p, 0);
}

/* From the guest: on tx's I/O thread */

static void passt_pause_sending(struct net_pair *p)
{
	if (p->net->wire->room.active)
		loop_unwatch(p->tx_loop, &p->net->wire->room);
}

static void wait_for_room(struct net_pair *p)
{
	struct watch *room = &p->net->wire->room;

	if (!room->active && loop_watch(p->tx_loop, room, EPOLLOUT))
		hang_up(p);
}

/* A frame of the guest's that does not go out. */
static void drop(struct net_pair *p, struct vq_request *r)
{
	vq_complete(p->tx, r, 0);
	counter_add(&p->tx_counters->tx_dropped, 1);
}

/* A batch of frames as one vector: as many of the guest's requests as fit.  One that is no frame is
 * done with if it comes first, and else left for the next batch. */
static unsigned gather(struct net_pair *p, unsigned *niov)
{
	struct net_passt_wire *w = p->net->wire;
	struct virtio_net_hdr_mrg_rxbuf header;
	struct iovec *segment;
	unsigned n = 0;

	*niov = 0;
	while (n < NET_BATCH && vq_pop(p->tx, &p->sending[n])) {
		struct vq_request *r = &p->sending[n];
		int segments;

		req_read(r, &header, sizeof(header));
		if (r->readable_bytes < PASST_FRAME_MIN || r->readable_bytes > PASST_FRAME_MAX ||
		    *niov + 1 + r->nreadable > IOV_MAX) {
			if (n)
				vq_unpop(p->tx, 1);
			else
				drop(p, r);
			break;
		}
		w->length[n] = htobe32(r->readable_bytes);
		w->iov[(*niov)++] = (struct iovec){ &w->length[n], PASST_LENGTH_BYTES };
		segments = req_take_readable(r, r->readable_bytes, &segment);
		memcpy(w->iov + *niov, segment, (size_t)segments * sizeof(*segment));
		*niov += (unsigned)segments;
		n++;
	}
	return n;
}

/* What is left of the vector from byte at on: up to len bytes. */
static void keep_rest(struct net_passt_wire *w, const struct iovec *iov, size_t at, size_t len)
{
	w->rest_at = w->rest_len = 0;
	for (; at >= iov->iov_len; iov++)
		at -= iov->iov_len;
	for (; w->rest_len < len; iov++, at = 0) {
		size_t n = MIN(iov->iov_len - at, len - w->rest_len);

		memcpy(w->rest + w->rest_len, (const char *)iov->iov_base + at, n);
		w->rest_len += n;
	}
}

/* Of n frames, sent bytes are out: those that are whole, and one in part, are done with.  Returns
 * how many are not begun. */
static unsigned settle(struct net_pair *p, unsigned n, size_t sent)
{
	struct net_passt_wire *w = p->net->wire;
	size_t begin = 0;
	unsigned done;

	for (done = 0; done < n && begin < sent; done++) {
		size_t unit = PASST_LENGTH_BYTES + be32toh(w->length[done]);

		if (begin + unit > sent)
			keep_rest(w, w->iov, sent, begin + unit - sent);
		begin += unit;
		throttle_charge(&p->tx_throttle, be32toh(w->length[done]));
		net_count_tx(p, be32toh(w->length[done]));
		vq_complete(p->tx, &p->sending[done], 0);
	}
	return n - done;
}

/* False: the socket takes no more now, or never. */
static bool socket_takes(struct net_pair *p, const struct iovec *iov, unsigned niov, size_t *sent)
{
	ssize_t n;

	do
		n = writev(p->packets.fd, iov, (int)niov);
	while (n < 0 && errno == EINTR);
	*sent = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool send_rest(struct net_pair *p)
{
	struct net_passt_wire *w = p->net->wire;
	struct iovec iov = { w->rest + w->rest_at, w->rest_len };
	size_t sent;

	if (!w->rest_len)
		return true;
	if (!socket_takes(p, &iov, 1, &sent) && errno != EAGAIN)
		w->rest_len = 0;
	w->rest_at += sent;
	w->rest_len -= MIN(sent, w->rest_len);
	return !w->rest_len;
}

/* False: what is not sent stays with the guest until there is room.  A dead wire takes all. */
static bool send_batch(struct net_pair *p, unsigned n, unsigned niov)
{
	size_t sent;
	unsigned left;

	if (!socket_takes(p, p->net->wire->iov, niov, &sent) && errno != EAGAIN) {
		for (unsigned i = 0; i < n; i++)
			drop(p, &p->sending[i]);
		return true;
	}
	left = settle(p, n, sent);
	vq_unpop(p->tx, left);
	return !left && !p->net->wire->rest_len;
}

static void passt_send(struct net_pair *p)
{
	unsigned n, niov, total = 0;
	bool room = send_rest(p), open = throttle_begin(&p->tx_throttle);

	p->tx_found_ns = loop_now_ns();
	vq_disable_kicks(p->tx);
	while (room && open && total < NET_BATCH) {
		n = gather(p, &niov);
		if (n)
			room = send_batch(p, n, niov);
		else if (!vq_enable_kicks(p->tx))
			break;
		total += MAX(n, 1);
		open = !p->tx_throttle.closed;
	}
	if (!room)
		wait_for_room(p);
	else if (open && total >= NET_BATCH)
		virtio_kick(&p->net->v, p->tx->index);
	vq_flush(p->tx);
}

static void passt_room(void *arg, uint32_t events)
{
	struct net_pair *p = arg;

	(void)events;
	passt_pause_sending(p);
	passt_send(p);
}

/* Life: under the machine lock */

static void passt_hung_up(void *arg)
{
	struct net *net = arg;
	char words[160];

	shutdown(passt_fd(net->passt), SHUT_RDWR);
	if (!net->plugged)
		return;
	passt_last_words(net->passt, words, sizeof(words));
	log_warn("%s: passt has ended%s%s; the guest sees its link go down", net->v.dev.id,
		 *words ? ": " : "", words);
	device_tell(&net->v.dev, "net", "link-down",
		    json_pack("{s:s}", "reason", *words ? words : "passt has ended"));
	net_plug(net, false);
}

static void passt_release(void *arg)
{
	struct net *net = arg;

	if (net->wire && net->wire->room.fd >= 0)
		close(net->wire->room.fd);
	passt_stop(net->passt);
	loop_unpost(net->v.dev.vm->loop, &net->unplugged);
}

static int check_options(const struct net *net, struct err *e)
{
	if (net->tap_name || net->fd || net->bridge || net->ip || net->mask || net->host_mac)
		return err_set(
			e, -EINVAL,
			"%s: with passt there is no tap; leave out tap, fd, bridge, ip, mask "
			"and host_mac",
			net->v.dev.id);
	if (net->vhost == NET_VHOST_ON)
		return err_set(e, -EINVAL, "%s: vhost is for taps; leave it out", net->v.dev.id);
	if (net->npairs > 1)
		return err_set(e, -EINVAL, "%s: passt has one pair of queues; leave out num_queues",
			       net->v.dev.id);
	return 0;
}

static int passt_plug_in(struct net *net, struct err *e)
{
	struct passt_config c = { .forward = net->forward, .mtu = net->mtu };
	struct net_pair *p = &net->pair[0];
	void *wire;
	int r = check_options(net, e);

	if (!r)
		r = device_claim_memory(&net->v.dev, sizeof(*net->wire), &wire, e);
	if (r)
		return r;
	net->wire = wire;
	net->wire->room = (struct watch){ .fd = -1, .ready = passt_room, .arg = p };
	net->unplugged = (struct work){ .run = passt_hung_up, .arg = net };
	memcpy(c.mac, net->config.mac, sizeof(c.mac));
	r = device_claim(&net->v.dev, passt_release, net, e);
	if (!r)
		r = passt_start(&net->passt, &c, e);
	if (r)
		return r;
	p->packets = (struct watch){ .fd = passt_fd(net->passt), .ready = passt_ready, .arg = p };
	/* rx and tx may be one thread's, and a loop watches an fd once. */
	net->wire->room.fd = fcntl(p->packets.fd, F_DUPFD_CLOEXEC, 0);
	if (net->wire->room.fd < 0)
		return err_set(e, -errno, "%s: %s", net->v.dev.id, strerror(errno));
	net->plugged = true;
	return 0;
}

static uint64_t passt_features(const struct net *net)
{
	(void)net;
	return 0;
}

const struct net_backend net_passt = {
	.sending = NET_BATCH,
	.open = passt_plug_in,
	.features = passt_features,
	.send = passt_send,
	.receive = passt_receive,
	.pause_sending = passt_pause_sending,
	.pause_receiving = passt_pause_receiving,
};
