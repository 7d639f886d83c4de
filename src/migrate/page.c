/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include <errno.h>
#include <immintrin.h>
#include <unistd.h>

#include "bits.h"

__attribute__((target("avx2"))) static bool is_zero_avx2(const __m256i *p, const __m256i *end)
{
	for (; p < end; p += 4) {
		__m256i any = _mm256_or_si256(_mm256_or_si256(p[0], p[1]),
					      _mm256_or_si256(p[2], p[3]));

		if (!_mm256_testz_si256(any, any))
			return false;
	}
	return true;
}

static bool is_zero_sse2(const __m128i *p, const __m128i *end)
{
	for (; p < end; p += 4) {
		__m128i any = _mm_or_si128(_mm_or_si128(p[0], p[1]), _mm_or_si128(p[2], p[3]));

		if (_mm_movemask_epi8(_mm_cmpeq_epi8(any, _mm_setzero_si128())) != 0xffff)
			return false;
	}
	return true;
}

bool page_is_zero(const void *page)
{
	const void *end = (const uint8_t *)page + GUEST_PAGE_BYTES;

	return __builtin_cpu_supports("avx2") ? is_zero_avx2(page, end) : is_zero_sse2(page, end);
}

/* Where blocks are unplugged there is nothing. */
static bool next_plugged(const struct guest_mem_region *r, uint64_t *from, uint64_t *to)
{
	while (*from < r->size_bytes && r->block_bytes && !guest_mem_is_plugged(r, *from, 1))
		*from = align_down(*from, r->block_bytes) + r->block_bytes;
	*to = r->size_bytes;
	if (*from >= r->size_bytes)
		return false;
	for (uint64_t at = *from; r->block_bytes && at < r->size_bytes; at += r->block_bytes)
		if (!guest_mem_is_plugged(r, at, 1)) {
			*to = align_down(at, r->block_bytes);
			break;
		}
	return true;
}

bool page_next_data(const struct guest_mem *m, const struct guest_mem_region *r, uint64_t *from,
		    uint64_t *to)
{
	off_t base = (off_t)r->fd_offset, data, hole;

	if (m->fd < 0)
		return next_plugged(r, from, to);
	*to = r->size_bytes;
	if (*from >= r->size_bytes)
		return false;
	data = lseek(m->fd, base + (off_t)*from, SEEK_DATA);
	if (data < 0)
		return errno != ENXIO;
	if ((uint64_t)(data - base) >= r->size_bytes)
		return false;
	*from = align_down((uint64_t)(data - base), GUEST_PAGE_BYTES);
	hole = lseek(m->fd, data, SEEK_HOLE);
	if (hole >= 0)
		*to = MIN(r->size_bytes, align_up((uint64_t)(hole - base), GUEST_PAGE_BYTES));
	return true;
}

static void set_bits(uint64_t *bits, uint64_t from, uint64_t to)
{
	for (; from < to && from % 64; from++)
		bits[from / 64] |= BIT(from % 64);
	for (; from + 64 <= to; from += 64)
		bits[from / 64] = ~UINT64_C(0);
	for (; from < to; from++)
		bits[from / 64] |= BIT(from % 64);
}

void page_find_data(const struct guest_mem *m, const struct guest_mem_region *r, uint64_t *bits)
{
	uint64_t at = 0, to;

	if (m->fd < 0) {
		guest_mem_find_touched(r, bits);
		return;
	}
	for (; page_next_data(m, r, &at, &to); at = to)
		set_bits(bits, at / GUEST_PAGE_BYTES, to / GUEST_PAGE_BYTES);
}
