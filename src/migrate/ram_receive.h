/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving side of a live migration's memory: pages go from the connection straight to where
 * they belong. What nobody sends is not touched.
 *
 * The caller has one thread for each connection. Whoever sends may be hostile: it can fill the
 * memory as it likes, and nothing else; if a run fails for good, the memory is good for nothing.
 */
#ifndef RAM_RECEIVE_H
#define RAM_RECEIVE_H

#include "channel.h"
#include "err.h"

struct guest_mem;
struct ram_receiver;

/* The memory is fresh: all zero. */
int ram_receiver_new(struct ram_receiver **, struct guest_mem *, unsigned nconnections,
		     struct err *);
void ram_receiver_free(struct ram_receiver *);

/* No connection runs: there are so many from now on, and on each the first one comes. */
int ram_receiver_resize(struct ram_receiver *, unsigned nconnections, struct err *);

/*
 * Receive connection i until its sender is done: 0, and all of it is in memory. -ENOTCONN: the
 * connection is lost; run it again with a new one, also if it was done, should the sender come
 * back. No two at a time for the same i.
 */
int ram_receiver_run(struct ram_receiver *, unsigned i, struct channel *, struct err *);

#endif
