/* SPDX-License-Identifier: Apache-2.0 */
/* What writer and reader of a snapshot's files share. */
#ifndef SNAPSHOT_FILE_H
#define SNAPSHOT_FILE_H

#include <stdint.h>

#include "err.h"

/* Length and checksum of the whole file; its position is then its beginning. */
int snapshot_file_sum(int fd, uint64_t *bytes, uint32_t *crc, struct err *);

#endif
