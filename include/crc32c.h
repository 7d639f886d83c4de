/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (RFC 3720, B.4) of bytes in parts: crc is 0 for the first, then what the last gave. */
#ifndef CRC32C_H
#define CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *, size_t len);

#endif
