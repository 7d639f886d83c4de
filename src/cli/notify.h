/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service manager is told of this process, as sd_notify(3) has it: one datagram to the
 * socket that NOTIFY_SOCKET names, whenever another sentence is true.  The guest is READY when its
 * driver has activated the first virtio device: then its kernel runs.  On main; waits for nobody.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include "events.h"
#include "loop.h"

struct notify;

/* Takes NOTIFY_SOCKET out of the environment, so that no helper answers for this process; before
 * any thread is made.  *out is NULL if nobody asks, which is fine for all of the below. */
int notify_new(struct notify **out, struct loop *, struct events *, struct err *);
void notify_free(struct notify *);

/* Ready without a VM: the control socket listens. */
void notify_listening(struct notify *);
/* The guest has this long to power off. */
void notify_stopping(struct notify *, uint64_t timeout_s);
/* The last word; why: what failed, or NULL. */
void notify_over(struct notify *, const char *why);

#endif
