/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt, a program that connects a guest to the network with the rights of an ordinary user: it
 * answers as router, DHCP server and resolver, and turns the guest's connections into sockets of
 * its own (passt(1)), which cannot follow the VM to another host.  Started here as a child with one
 * end of a stream socket, over which Ethernet frames go, each after its length in 32 bits, big
 * endian.  It ends when the other end is closed.
 */
#ifndef PASST_H
#define PASST_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

extern const struct broker_service passt_start_service, passt_stop_service; /* broker.h */

enum { PASST_FRAME_MIN = 14, PASST_FRAME_MAX = 65535, PASST_LENGTH_BYTES = 4 };

struct passt;

struct passt_config {
	/* "[udp:][ADDRESS/]PORT[:PORT],...": ports of the host, and of the guest where they differ;
	 * NULL: none */
	const char *forward;
	uint16_t mtu; /* told to the guest by DHCP; 0: passt's */
	uint8_t mac[6]; /* the guest's */
};

/* Until it is ready, or has failed: then the sentence holds its own. */
int passt_start(struct passt **, const struct passt_config *, struct err *);
void passt_stop(struct passt *); /* NULL is fine */

int passt_fd(const struct passt *); /* blocking: use MSG_DONTWAIT */
/* Its last words, "" if there were none.  Once it has closed the socket. */
void passt_last_words(struct passt *, char *text, size_t size);

#endif
