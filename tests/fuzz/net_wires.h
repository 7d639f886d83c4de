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
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "passt.h"
#include "tap.h"

enum { PAIRS_MAX = 2 };

static struct wire {
	int card, peer;
} wires[PAIRS_MAX];

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
