/* SPDX-License-Identifier: Apache-2.0 */
#include "page_diff.h"

#include <immintrin.h>
#include <string.h>

#include "bits.h"

enum {
	WORDS = GUEST_PAGE_BYTES / 64,
	COUNT_MAX = 2, /* bytes of a number */
	GAP_MIN = COUNT_MAX + 1, /* fewer unchanged bytes go along with what is around them */
};

/* A bit for each byte: does it differ? */
__attribute__((target("avx2"))) static void compare_avx2(const __m256i *a, const __m256i *b,
							 uint64_t *differs)
{
	for (unsigned w = 0; w < WORDS; w++, a += 2, b += 2) {
		uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a[0], b[0]));
		uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a[1], b[1]));

		differs[w] = ~((uint64_t)high << 32 | low);
	}
}

static void compare_sse2(const __m128i *a, const __m128i *b, uint64_t *differs)
{
	for (unsigned w = 0; w < WORDS; w++) {
		uint64_t same = 0;

		for (unsigned i = 0; i < 4; i++, a++, b++)
			same |= (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(*a, *b)) << 16 * i;
		differs[w] = ~same;
	}
}

/* The next bit that is set, or with flip ~0 clear; GUEST_PAGE_BYTES: there is none. */
static unsigned next_bit(const uint64_t *bits, unsigned at, uint64_t flip)
{
	for (; at < GUEST_PAGE_BYTES; at = at / 64 * 64 + 64) {
		uint64_t word = (bits[at / 64] ^ flip) >> at % 64;

		if (word)
			return at + (unsigned)__builtin_ctzll(word);
	}
	return GUEST_PAGE_BYTES;
}

/* Where the run that begins there ends; *next: where the one after it begins. */
static unsigned run_end(const uint64_t *differs, unsigned from, unsigned *next)
{
	unsigned end;

	do {
		end = next_bit(differs, from, ~UINT64_C(0));
		from = *next = next_bit(differs, end, 0);
	} while (from < GUEST_PAGE_BYTES && from - end < GAP_MIN);
	return end;
}

static uint8_t *put_count(uint8_t *out, unsigned count)
{
	if (count >= 0x80)
		*out++ = (uint8_t)(count | 0x80);
	*out++ = (uint8_t)(count < 0x80 ? count : count >> 7);
	return out;
}

bool page_diff_make(const void *base, const void *page, uint8_t out[PAGE_DIFF_MAX], size_t *len)
{
	uint64_t differs[WORDS];
	uint8_t *to = out;
	unsigned at = 0, from, next;

	if (__builtin_cpu_supports("avx2"))
		compare_avx2(base, page, differs);
	else
		compare_sse2(base, page, differs);
	for (from = next_bit(differs, 0, 0); from < GUEST_PAGE_BYTES; from = next) {
		unsigned end = run_end(differs, from, &next);

		if ((size_t)(to - out) + 2 * COUNT_MAX + (end - from) > PAGE_DIFF_MAX)
			return false;
		to = put_count(put_count(to, from - at), end - from);
		memcpy(to, (const uint8_t *)page + from, end - from);
		to += end - from;
		at = end;
	}
	*len = (size_t)(to - out);
	return true;
}

static bool take_count(const uint8_t **p, const uint8_t *end, unsigned *count)
{
	if (*p == end)
		return false;
	*count = *(*p)++;
	if (*count < 0x80)
		return true;
	if (*p == end || **p >= 0x80)
		return false;
	*count = (*count & 0x7f) | (unsigned)*(*p)++ << 7;
	return true;
}

/* page NULL: only look whether it could be. */
static bool walk(uint8_t *page, const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;
	unsigned at = 0, same, changed;

	while (p < end) {
		if (!take_count(&p, end, &same) || !take_count(&p, end, &changed) || !changed ||
		    same > GUEST_PAGE_BYTES - at || changed > GUEST_PAGE_BYTES - at - same ||
		    changed > end - p)
			return false;
		if (page)
			memcpy(page + at + same, p, changed);
		at += same + changed;
		p += changed;
	}
	return true;
}

bool page_diff_apply(void *page, const uint8_t *diff, size_t len)
{
	return walk(NULL, diff, len) && walk(page, diff, len);
}
