/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with a network card on a tap, in a network of the test's own, and the tap's host. */
#ifndef NET_TAP_H
#define NET_TAP_H

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net_guest.h"
#include "own_network.h"

#define TAP "net0"

enum { MTU = 9000, LONGEST = MTU + 14 };

static int host = -1; /* a packet socket: the other end of the wire */

static inline void host_open(void)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(ETHERTYPE),
				       .sll_ifindex = (int)if_nametoindex(TAP) };
	struct timeval limit = { .tv_sec = WAIT_MS / 1000 };
	int bytes = 4 * MIB;

	host = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE));
	ck_assert_int_ge(host, 0);
	ck_assert_int_eq(bind(host, (struct sockaddr *)&address, sizeof(address)), 0);
	setsockopt(host, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(host, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/* Nothing came but what was expected. */
static inline void host_close(void)
{
	uint8_t byte;

	ck_assert_int_eq(recv(host, &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(host);
}

static inline void host_send(uint32_t number, size_t len)
{
	CLEANUP(free) uint8_t *frame = malloc(len);

	make_frame(frame, number, len);
	ck_assert_int_eq(send(host, frame, len, 0), (ssize_t)len);
}

static inline void host_receive(uint32_t number, size_t len)
{
	CLEANUP(free) uint8_t *frame = malloc(LONGEST + 1);

	ck_assert_int_eq(recv(host, frame, LONGEST + 1, 0), (ssize_t)len);
	check_frame(frame, number, len);
}

static inline void tap_power_on(struct guest *g, const char *options, uint64_t without)
{
	char text[256];

	ck_assert(own_network());
	snprintf(text, sizeof(text), "{\"tap\": \"" TAP "\", \"mtu\": %u%s}", MTU, options);
	power_on(g, text, without);
	host_open();
}

static inline void tap_power_off(struct guest *g)
{
	host_close();
	power_off(g);
}

#endif
