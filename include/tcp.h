/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels over TCP.  An address is "tcp:HOST:PORT": HOST is a name, an IPv4 address or an IPv6
 * address in [ ], PORT a number.  A peer that dies or is cut off is noticed within ten seconds,
 * also while nothing is sent.
 *
 * Any thread but main: names are looked up in the network, and that may take its time.
 */
#ifndef TCP_H
#define TCP_H

#include <stdbool.h>
#include <stddef.h>

#include "channel.h"
#include "err.h"

extern const struct broker_service tcp_names, tcp_port; /* broker.h */

enum { TCP_HOST_MAX = 256, TCP_URL_MAX = TCP_HOST_MAX + 16 };

/* Port 0: any that is free.  bound: the address with the real port. */
int tcp_listen(const char *url, int *fd, char *bound, size_t size, struct err *);

/*
 * The caller sets cancel_fd and silence_ms of the channel, which limit the wait too.  -ENOTCONN:
 * refused, unreachable or too late, worth another try.  -ECANCELED: called off.  Anything else is
 * final.  On failure the channel's fd is as before.  peer: the numeric address of the other side.
 */
int tcp_accept(int listen_fd, struct channel *, char *peer, size_t size, struct err *);
int tcp_connect(const char *url, struct channel *, struct err *); /* to each of its addresses */

/* HOST alone, as a certificate has it. */
int tcp_host(const char *url, char host[TCP_HOST_MAX], struct err *);

/* Everything that the address stands for is this host itself, where no other can reach it. */
bool tcp_is_loopback(const char *url);

#endif
