/* SPDX-License-Identifier: Apache-2.0 */
#include "page_sample.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#include "bits.h"
#include "cleanup.h"
#include "crc32c.h"
#include "guest_mem.h"
#include "loop.h"
#include "page.h"

enum { PAGES_PER_GIB = 512, PAGES_MAX = 2048, WINDOWS = 8, SHORT_MIN_MS = 30, SHORT_MAX_MS = 1000 };

/* Who asks once an hour wants to know what is so now. */
#define STALE_NS (UINT64_C(300) * 1000000000)

struct page {
	const uint8_t *at;
	uint32_t crc;
	bool known; /* the crc is */
	bool zero;
	uint8_t written[PAGE_WINDOW_LONG + 1]; /* a bit for each window, the newest lowest */
};

struct page_sample {
	struct guest_mem *mem;
	uint64_t memory_bytes, looked_ns; /* 0: never */
	uint32_t zero_crc;
	uint64_t windows_ns[PAGE_WINDOW_LONG + 1][WINDOWS]; /* how long they were, newest first */
	unsigned short_ms; /* of the short windows that are known */
	unsigned next_short_ms;
	size_t n;
	struct page page[];
};

static void choose(struct page_sample *s)
{
	uint64_t pages = s->memory_bytes / GUEST_PAGE_BYTES;

	for (size_t i = 0; i < s->n; i++) {
		uint64_t n = 0;

		if (getrandom(&n, sizeof(n), 0) < 0)
			n = i * (pages / s->n);
		s->page[i].at = guest_mem_page(s->mem, n % pages);
	}
}

struct page_sample *page_sample_new(struct guest_mem *m)
{
	static const uint8_t zeros[GUEST_PAGE_BYTES];
	uint64_t bytes = guest_mem_bytes(m);
	size_t n = MIN(PAGES_PER_GIB * ((bytes + GIB - 1) / GIB), PAGES_MAX);
	struct page_sample *s = calloc(1, sizeof(*s) + n * sizeof(s->page[0]));

	if (!s)
		return NULL;
	s->mem = m;
	s->memory_bytes = bytes;
	s->n = n;
	s->short_ms = s->next_short_ms = SHORT_MAX_MS;
	s->zero_crc = crc32c(0, zeros, sizeof(zeros));
	choose(s);
	return s;
}

void page_sample_free(struct page_sample *s)
{
	free(s);
}

static bool is_full(const struct page_sample *s, const struct page *p)
{
	return p->crc != s->zero_crc || !page_is_zero(p->at);
}

/* Whether it was written since the last look.  What is given back becomes zero, but not by being
 * written; what is elsewhere was not written just now, and shows later what became of it. */
static bool look_at(const struct page_sample *s, struct page *p, int pagemap)
{
	enum guest_mem_page_is is = guest_mem_look_up(s->mem, p->at, pagemap);
	struct page before = *p;

	if (is == GUEST_MEM_AWAY)
		return false;
	p->crc = is == GUEST_MEM_HOLE ? s->zero_crc : crc32c(0, p->at, GUEST_PAGE_BYTES);
	p->zero = is == GUEST_MEM_HOLE || !is_full(s, p);
	p->known = true;
	return before.known && is == GUEST_MEM_HERE && p->crc != before.crc;
}

/* Windows of another length say other things of how much is written twice. */
static void forget_short(struct page_sample *s)
{
	s->short_ms = s->next_short_ms;
	memset(s->windows_ns[PAGE_WINDOW_SHORT], 0, sizeof(s->windows_ns[PAGE_WINDOW_SHORT]));
	for (size_t i = 0; i < s->n; i++)
		s->page[i].written[PAGE_WINDOW_SHORT] = 0;
}

bool page_sample_is_stale(const struct page_sample *s)
{
	return s->memory_bytes != guest_mem_bytes(s->mem) ||
	       (s->looked_ns && loop_now_ns() - s->looked_ns > STALE_NS);
}

struct writes {
	double pages, seconds; /* of all windows together */
	unsigned n;
};

static struct writes count_writes(const struct page_sample *s, enum page_window window)
{
	struct writes w = { 0 };

	for (; w.n < WINDOWS && s->windows_ns[window][w.n]; w.n++)
		w.seconds += (double)s->windows_ns[window][w.n] / 1e9;
	for (size_t i = 0; i < s->n; i++)
		w.pages += __builtin_popcount(s->page[i].written[window]);
	return w;
}

static double count_set(const struct page_sample *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->page[i].written[PAGE_WINDOW_SHORT] || s->page[i].written[PAGE_WINDOW_LONG];
	return (double)n;
}

/*
 * Pages a second.  Of a set of W pages that is written at rate d, W * (1 - exp(-d * t / W)) are
 * found to be written after t: the longer the window, the more is lost in it.  Where nearly all
 * are, nobody can tell how often.
 */
static double rate_of(const struct page_sample *s, double set)
{
	const double most = 0.95;
	struct writes soon = count_writes(s, PAGE_WINDOW_SHORT);
	struct writes later = count_writes(s, PAGE_WINDOW_LONG);
	double least = later.n ? later.pages / later.seconds : 0, part;

	if (!soon.pages)
		return least;
	if (!later.n)
		return soon.pages / soon.seconds;
	part = MIN(soon.pages / soon.n / set, most);
	return MAX(-log(1 - part) * set * soon.n / soon.seconds, least);
}

/* So long that about a half of what is written at all is found; by factors of two, and not at once,
 * for each change forgets what was known. */
static void choose_short(struct page_sample *s)
{
	double set = count_set(s), rate = rate_of(s, set);
	double seconds = (double)s->windows_ns[PAGE_WINDOW_SHORT][0] / 1e9;
	double times = set > 0 ? rate / set * seconds : 0; /* that each is written */

	if (times > 1.5)
		for (; times > 1 && s->next_short_ms / 2 >= SHORT_MIN_MS; times /= 2)
			s->next_short_ms /= 2;
	else if (times < 0.4)
		s->next_short_ms = MIN(s->short_ms * 2, SHORT_MAX_MS);
}

void page_sample_look(struct page_sample *s, enum page_window window)
{
	CLEANUP(fd) int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t now_ns = loop_now_ns(), *ns = s->windows_ns[window];
	const bool is_first = !s->looked_ns;

	if (window == PAGE_WINDOW_SHORT && s->next_short_ms != s->short_ms)
		forget_short(s);
	for (size_t i = 0; i < s->n; i++) {
		uint8_t *written = &s->page[i].written[window];
		bool is_written = look_at(s, &s->page[i], pagemap);

		if (!is_first)
			*written = (uint8_t)(*written << 1 | is_written);
	}
	for (unsigned i = WINDOWS - 1; i && !is_first; i--)
		ns[i] = ns[i - 1];
	if (!is_first)
		ns[0] = MAX(now_ns - s->looked_ns, 1);
	s->looked_ns = now_ns;
	if (window == PAGE_WINDOW_SHORT && !is_first)
		choose_short(s);
}

unsigned page_sample_short_ms(const struct page_sample *s)
{
	return s->next_short_ms;
}

void page_sample_find(const struct page_sample *s, struct memory_writes *out)
{
	double each = (double)s->memory_bytes / (double)s->n, set = count_set(s);
	size_t nzero = 0;

	for (size_t i = 0; i < s->n; i++)
		nzero += s->page[i].zero;
	out->bytes = (uint64_t)(each * (double)(s->n - nzero));
	out->rate = (uint64_t)(each * rate_of(s, set));
	/* One short window shows too little of it. */
	out->set = s->windows_ns[PAGE_WINDOW_LONG][0] ? (uint64_t)(each * set) : 0;
}
