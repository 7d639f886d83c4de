/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port of the guest with more than one listener: between a front end, such as the UART, and
 * its character device.  What the guest writes goes to the character device, as ever, and is
 * kept, the last 64 KiB of it, for consoles that attach at a Unix socket: each gets what is
 * kept, from the start of a line, and then all that follows.  One of them types; what it sends
 * goes to the guest beside what comes from the character device.
 *
 * No console can hold up the guest: one that does not read in time loses bytes, and a note in
 * square brackets tells it so.  Runs on the main loop, under the lock of the loop's owner.
 *
 * On the socket a console sends one line, "godwit-console 1 " and
 *     type   to type, if no other does, else once those before it have left
 *     take   to type at once
 *     watch  never to type
 * and gets one: "ok type", "ok watch" (another types, or so it was asked), or "error SENTENCE"
 * and the end.  From there on bytes are the guest's and for the guest, but for the notes; what
 * comes from one that does not type is dropped.  End of input gives up typing, and nothing else.
 * The end of the VM is the end of the connection.
 */
#ifndef HUB_H
#define HUB_H

#include "chardev.h"

enum { HUB_RING_BYTES = 64 * 1024, HUB_CONSOLES = 16 };

struct hub;

/* The socket is RUN_DIR/NAME.sock; run_dir NULL: none, and nobody attaches. */
int hub_new(struct hub **, const struct chardev_config *, const char *run_dir, const char *name,
	    struct loop *, const struct chardev_events *, struct err *);
void hub_free(struct hub *); /* removes the socket; NULL is fine */

/* These are the character device's, see there. */
size_t hub_write(struct hub *, const uint8_t *, size_t len);
void hub_more(struct hub *);
const struct chardev *hub_chardev(const struct hub *); /* for its size and path */

#endif
