/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "crc32c.h"
#include "file.h"

int snapshot_file_sum(int fd, uint64_t *bytes, uint32_t *crc, struct err *e)
{
	uint8_t piece[1 << 16];
	ssize_t n;

	*bytes = 0;
	*crc = 0;
	while ((n = file_read_at(fd, piece, sizeof(piece), (off_t)*bytes)) > 0) {
		*crc = crc32c(*crc, piece, (size_t)n);
		*bytes += (uint64_t)n;
	}
	if (n < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_set(e, -errno, "cannot be read: %s", strerror(errno));
	return 0;
}
