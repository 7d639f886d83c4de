/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network back ends that are no more than one end of a socket: of packets as a tap, of bytes as
 * passt. They stand in for tap.c and passt.c; of a VM one card has them.
 */
#ifndef NET_WIRES_H
#define NET_WIRES_H

#include <assert.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "passt.h"
#include "tap.h"

enum { PAIRS_MAX = 2 };

static struct wire {
	int card, peer;
} wires[PAIRS_MAX];

/* From the guest through passt's socket: bytes of a length, and what is left of a frame. */
static struct {
	bool passt;
	uint32_t length;
	unsigned nlength;
	size_t left;
} stream;

static inline void wires_init(void)
{
	wires[0] = wires[1] = (struct wire){ -1, -1 };
	memset(&stream, 0, sizeof(stream));
}

static inline void wires_limit(bool small)
{
	int bytes = 4 * KIB;

	if (small)
		setsockopt(wires[0].card, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* A stream must stay one of frames, whatever the guest does. */
static inline void check_byte(uint8_t byte)
{
	if (stream.left) {
		stream.left--;
		return;
	}
	stream.length = stream.length << 8 | byte;
	if (++stream.nlength < PASST_LENGTH_BYTES)
		return;
	assert(stream.length >= PASST_FRAME_MIN && stream.length <= PASST_FRAME_MAX);
	stream.left = stream.length;
	stream.length = stream.nlength = 0;
}

/* What the card has sent */
static inline void wires_receive(void)
{
	static uint8_t bytes[64 * KIB];
	ssize_t n;

	for (unsigned i = 0; i < PAIRS_MAX; i++)
		while (wires[i].peer >= 0 &&
		       (n = recv(wires[i].peer, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
			for (ssize_t k = 0; stream.passt && k < n; k++)
				check_byte(bytes[k]);
}

/* A packet from a tap; some bytes of passt's stream */
static inline void wires_send(const uint8_t *bytes, size_t n)
{
	if (wires[0].peer >= 0 && n)
		(void)!send(wires[0].peer, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void wire_open(struct wire *w, int type)
{
	int ends[2];

	if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends))
		abort();
	*w = (struct wire){ ends[0], ends[1] };
}

static void wire_close(struct wire *w)
{
	close(w->card);
	close(w->peer);
	*w = (struct wire){ -1, -1 };
}

int tap_open(struct tap **t, const struct tap_config *c, struct err *e)
{
	(void)e;
	for (unsigned i = 0; i < c->npairs; i++)
		wire_open(&wires[i], SOCK_SEQPACKET);
	*t = (struct tap *)wires;
	return 0;
}

void tap_close(struct tap *t)
{
	(void)t;
	for (unsigned i = 0; i < PAIRS_MAX; i++)
		if (wires[i].card >= 0)
			wire_close(&wires[i]);
}

int tap_check_fd(int fd, const char *what, struct err *e)
{
	(void)fd;
	(void)what;
	(void)e;
	return 0;
}

const char *tap_name(const struct tap *t)
{
	(void)t;
	return "tap";
}

int tap_fd(const struct tap *t, unsigned pair)
{
	(void)t;
	return wires[pair].card;
}

uint64_t tap_offloads(const struct tap *t)
{
	(void)t;
	return UINT64_MAX;
}

int tap_set_offloads(struct tap *t, uint64_t features)
{
	(void)t;
	return features & BIT(VIRTIO_NET_F_GUEST_CSUM) ? 0 : -EINVAL;
}

int tap_attach_pair(struct tap *t, unsigned pair, bool attached)
{
	(void)t;
	assert(pair < PAIRS_MAX);
	return attached ? 0 : -EINVAL;
}

int tap_link_fd(const struct tap *t)
{
	(void)t;
	return wires[0].peer;
}

enum tap_link tap_link(const struct tap *t)
{
	(void)t;
	return TAP_UP;
}

int tap_count(const struct tap *t, struct tap_counts *counts)
{
	(void)t;
	(void)counts;
	return -ENOTSUP;
}

int tap_parse_mac(const char *text, uint8_t mac[6])
{
	(void)text;
	(void)mac;
	return 0;
}

int passt_start(struct passt **p, const struct passt_config *c, struct err *e)
{
	(void)c;
	(void)e;
	wire_open(&wires[0], SOCK_STREAM);
	stream.passt = true;
	*p = (struct passt *)wires;
	return 0;
}

void passt_stop(struct passt *p)
{
	(void)p;
	wire_close(&wires[0]);
}

int passt_fd(const struct passt *p)
{
	(void)p;
	return wires[0].card;
}

void passt_last_words(struct passt *p, char *text, size_t size)
{
	(void)p;
	assert(size);
	*text = '\0';
}

#endif
