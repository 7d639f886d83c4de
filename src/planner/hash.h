/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes that are the same everywhere and always: what is planned depends on them. */
#ifndef HASH_H
#define HASH_H

#include <stdint.h>

/* Spreads the bits of a number (the finaliser of SplitMix64); each input has its own output. */
static inline uint64_t hash_number(uint64_t v)
{
	v += UINT64_C(0x9e3779b97f4a7c15);
	v = (v ^ (v >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ (v >> 27)) * UINT64_C(0x94d049bb133111eb);
	return v ^ (v >> 31);
}

/* FNV-1a. */
static inline uint64_t hash_text(const char *text)
{
	uint64_t v = UINT64_C(0xcbf29ce484222325);

	while (*text)
		v = (v ^ (unsigned char)*text++) * UINT64_C(0x100000001b3);
	return v;
}

#endif
