/* SPDX-License-Identifier: Apache-2.0 */
#include "crc32c.h"

#include <string.h>

static const uint32_t polynomial = 0x82f63b78; /* bit 31 is x^0 */

/* Bit by bit: for processors older than SSE 4.2. */
static uint32_t crc_slow(uint32_t crc, const uint8_t *p, size_t len)
{
	while (len--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
	}
	return crc;
}

enum { LANE_BYTES = 4096 };

/* What LANE_BYTES of zeros make of a checksum: it times x^(8 * LANE_BYTES). */
static uint32_t skip_lane(uint32_t crc)
{
	uint32_t factor = 0x35d73a62, product = 0;

	for (int bit = 0; bit < 32; bit++) {
		product ^= factor >> 31 ? crc : 0;
		factor <<= 1;
		crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
	}
	return product;
}

__attribute__((target("sse4.2"))) static inline uint64_t crc_word(uint64_t crc, const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return __builtin_ia32_crc32di(crc, word);
}

/* Three lanes side by side: the instruction takes three cycles, and one may start in each. */
__attribute__((target("sse4.2"))) static uint32_t crc_lanes(uint32_t crc, const uint8_t *p)
{
	uint64_t a = crc, b = 0, c = 0;

	for (const uint8_t *end = p + LANE_BYTES; p < end; p += sizeof(a)) {
		a = crc_word(a, p);
		b = crc_word(b, p + LANE_BYTES);
		c = crc_word(c, p + 2 * LANE_BYTES);
	}
	return skip_lane(skip_lane((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t crc_fast(uint32_t crc, const uint8_t *p,
							   size_t len)
{
	uint64_t wide;

	for (; len >= 3 * LANE_BYTES; len -= 3 * LANE_BYTES, p += 3 * LANE_BYTES)
		crc = crc_lanes(crc, p);
	wide = crc;
	for (; len >= sizeof(wide); len -= sizeof(wide), p += sizeof(wide))
		wide = crc_word(wide, p);
	crc = (uint32_t)wide;
	while (len--)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	crc = ~crc;
	crc = __builtin_cpu_supports("sse4.2") ? crc_fast(crc, data, len)
					       : crc_slow(crc, data, len);
	return ~crc;
}
