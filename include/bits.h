/* SPDX-License-Identifier: Apache-2.0 */
/* Small arithmetic and little-endian access that every layer needs. */
#ifndef BITS_H
#define BITS_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BIT(n) (UINT64_C(1) << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

enum { KIB = 1 << 10, MIB = 1 << 20, GIB = 1 << 30 };

static inline bool is_power_of_two(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* align: a power of two. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

/* All ones in the low size bytes; size: 1 to 8. */
static inline uint64_t ones(unsigned size)
{
	return ~UINT64_C(0) >> (64 - 8 * size);
}

/* Little-endian numbers of 1 to 8 bytes at any alignment. */
static inline uint64_t get_le(const void *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return le64toh(v);
}

static inline void put_le(void *p, unsigned size, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, size);
}

#endif
