/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface of the host (Linux, Documentation/networking/tuntap): what the guest's network
 * card is plugged into.  Opened once by the monitor, with one fd per pair of queues; each fd is
 * then used by one I/O thread.  A packet is one readv() or writev(), and begins with the header of
 * virtio 1.2, 5.1.6.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

extern const struct broker_service tap_service, tap_is_there_service; /* broker.h */

enum { TAP_PAIRS_MAX = 15, TAP_HEADER_BYTES = 12 };

/* virtio 1.3, 5.1.3: bits younger than some kernel headers */
enum { TAP_F_GUEST_USO4 = 54, TAP_F_GUEST_USO6 = 55, TAP_F_HOST_USO = 56 };

struct tap;

struct tap_config {
	const char *name; /* opened if it exists, else made; NULL: made, the kernel names it */
	const char *bridge; /* that it is put into, or NULL */
	const char *ip, *mask, *host_mac; /* of the host's side, or NULL */
	const uint8_t *guest_mac;
	uint16_t mtu; /* 0: as it is */
	unsigned npairs;
	/* npairs that somebody else opened and set up, then without all of the above; or NULL */
	const int *fd;
};

/* -EPERM: the sentence says what to do without rights.  Fds that were given stay the caller's, for
 * other taps later: this one has duplicates. */
int tap_open(struct tap **, const struct tap_config *, struct err *);
void tap_close(struct tap *); /* NULL is fine; an interface that was made here is gone then */

bool tap_is_there(const char *name); /* an interface of the host has that name */

/* Can a file that somebody else opened be one?  what: it, for the sentence if not (-EINVAL). */
int tap_check_fd(int fd, const char *what, struct err *);

const char *tap_name(const struct tap *);
int tap_fd(const struct tap *, unsigned pair); /* non-blocking */

/* What packets for the guest may leave undone: bits of virtio_net's GUEST_CSUM, GUEST_TSO4, ...,
 * of which the kernel may know fewer: tap_offloads() are those it knows. */
uint64_t tap_offloads(const struct tap *);
int tap_set_offloads(struct tap *, uint64_t features);

/* Whether packets come to this pair: the first does from the start, the others do not. */
int tap_attach_pair(struct tap *, unsigned pair, bool attached); /* any thread */

/* Ready when something changed; -1: not known of a tap that somebody else opened. */
int tap_link_fd(const struct tap *);
enum tap_link { TAP_REMOVED, TAP_DOWN, TAP_UP };
enum tap_link tap_link(const struct tap *); /* how the interface is now */

/* All that went through the interface since it was made, as the host sees it: rx is the guest's tx.
 * -ENOTSUP: of a tap that somebody else opened, whose network need not be the monitor's. */
struct tap_counts {
	uint64_t rx_bytes, rx_frames, tx_bytes, tx_frames;
};
int tap_count(const struct tap *, struct tap_counts *);

/* "52:54:00:12:34:56"; -EINVAL. */
int tap_parse_mac(const char *text, uint8_t mac[6]);

#endif
