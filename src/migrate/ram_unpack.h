/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of ram_pack: pages that come in fewer bytes than they have, of a DIFF, LZ4 or ZSTD
 * section. The bytes of a section
 * are read as a whole and checked before any page is touched. Whoever sends may be hostile.
 *
 * The thread of the connection.
 */
#ifndef RAM_UNPACK_H
#define RAM_UNPACK_H

#include "err.h"
#include "section.h"

struct ram_unpack;

int ram_unpack_new(struct ram_unpack **, struct err *);
void ram_unpack_free(struct ram_unpack *);

/* What is behind the table of runs; iov is where those are. */
int ram_unpack_section(struct ram_unpack *, struct section *, const struct iovec *iov, int niov,
		       struct err *);

#endif
