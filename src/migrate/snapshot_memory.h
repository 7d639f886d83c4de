/* SPDX-License-Identifier: Apache-2.0 */
/* RAM to and from the file of a snapshot, with a checksum for each extent. */
#ifndef SNAPSHOT_MEMORY_H
#define SNAPSHOT_MEMORY_H

#include <stdatomic.h>

#include "manifest.h"

/* The file is empty; fills in the extents. */
int snapshot_memory_write(int fd, const struct guest_mem *, struct manifest *,
			  const atomic_bool *cancel, struct err *);
/* The memory is fresh, and laid out as the manifest says.  -EBADMSG: damaged. */
int snapshot_memory_read(int fd, struct guest_mem *, const struct manifest *, struct err *);

#endif
