/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of all devices of a VM as one buffer: for each a u64 length and a payload, which is
 * that of a stream's DEVICE section (stream.h).  On main, under the machine lock, while all devices
 * are STOPPED; the buffer may come from and go to any thread.
 *
 * Who sends states is trusted like a guest.
 */
#ifndef DEVICES_H
#define DEVICES_H

#include <jansson.h>

#include "state_codec.h"

struct vm;

enum { DEVICES_BYTES_MAX = 64 << 20 }; /* of the buffer */

/* What this program knows of each record that devices of the VM have: {NAME: VERSION, ...}. */
json_t *devices_versions(const struct vm *);

/* The versions of each record that it could write of the VM's devices as they are now, from the
 * oldest that holds all that is in use: {NAME: [OLDEST, NEWEST], ...}.  While the guest runs, what
 * becomes newer later is refused by devices_save() alone. */
json_t *devices_records(const struct vm *);
/* Whoever says either is trusted like a guest.  Append a sentence for each record that a reader
 * does not know, or not in a version that can be written; or that this side's VM cannot read. */
void devices_check_versions(const json_t *records, const json_t *versions, json_t *blockers);
void devices_check_records(const struct vm *, const json_t *records, json_t *blockers);

/* known: what devices_versions() says where it will be read, trusted like a guest; NULL: all that
 * is known here.  -EPROTONOSUPPORT: the reader lacks something that is in use.  On failure the
 * buffer is good for nothing. */
int devices_save(struct vm *, const json_t *known, struct state_buf *, struct err *);

/*
 * For a machine that was built from the same configuration and reset.  The devices' states change
 * only if all of them are accepted; -EBADMSG: refused.  If one cannot be brought into force, the VM
 * is good for nothing but to be freed.
 */
int devices_load(struct vm *, const void *, size_t len, struct err *);

#endif
