/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends fewer bytes than the pages of one ram_link have, when that is worth the time: of pages that
 * are written again and again the difference to what was sent before, and others compressed.
 *
 * A guest writes to its pages meanwhile. So each is copied first, and what is sent and what is kept
 * to make the next difference against is made from this copy: the same bytes.
 *
 * Why a difference meets the base that it was made from, whatever happens:
 * - A page always travels on the same connection, and a round sends it at most once; at its end
 *   everything gathered is flushed. So sections about one page are on one connection in the order
 *   of the rounds, and one thread applies them in that order.
 * - The cache holds nothing but what went over this very connection: a new one begins with an empty
 *   cache. A base that got lost with the connection before is never used, and neither is one of
 *   which only a part arrived.
 * - A page that is sent in another way, as zeros or from where it is, is forgotten.
 * - The receiver has all of a DIFF section, and its checksum, before it applies any of it.
 *
 * Whether it is worth it is measured: what the link takes for a page in its usual form, and what
 * copying and comparing, or compressing, takes. One thread at a time, the link's.
 */
#ifndef RAM_PACK_H
#define RAM_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "guest_mem.h"
#include "section.h"

struct ram_link;
struct ram_pack;

/* NULL is a pack that never takes anything. */
int ram_pack_new(struct ram_pack **, struct ram_link *, unsigned connection, struct err *);
void ram_pack_free(struct ram_pack *);
/* On a new connection. */
void ram_pack_restart(struct ram_pack *);

/* Is this page, which is about to be sent, the pack's to send? */
bool ram_pack_takes(struct ram_pack *, gpa_t, bool zero);
int ram_pack_page(struct ram_pack *, gpa_t, bool first_time, bool hurry, struct err *);
int ram_pack_flush(struct ram_pack *, bool hurry, struct err *);

/* How long the link took for a section. */
void ram_pack_measure(struct ram_pack *, enum section_type, uint64_t bytes, uint64_t ns);

#endif
