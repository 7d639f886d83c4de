/* SPDX-License-Identifier: Apache-2.0 */
#include "ram_pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bits.h"
#include "compress_choice.h"
#include "encodings.h"
#include "page_cache.h"
#include "page_diff.h"
#include "ram_link.h"

enum {
	DIFF_HEAD_BYTES = 2, /* the length of a difference */
	FIRST_ROUND = 2, /* in which pages are that are written again */
	REST_ROUNDS = 8, /* without differences, after they were not worth it */
	VERDICT_PAGES = 256,
	TIMED_EVERY = 16, /* pages: looking at the clock takes time, too */
	SPEED_BYTES = 8 * MIB, /* that say how fast the link is, or so long */
	SPEED_NS = 20000000,
};

struct ram_pack {
	struct ram_link *link;
	unsigned connection;
	uint64_t round; /* that is under way */

	uint64_t speed_bytes, speed_ns; /* since that was last looked at */
	uint64_t page_ns; /* what the link takes for a whole page; 0: it is not known */

	struct compress_choice choice;
	void *context[PAGE_CODECS]; /* of those that the destination reads */
	unsigned limits; /* that were set when the choice was */

	/* Differences */
	bool on;
	uint64_t since; /* the round in which the cache began to fill */
	uint64_t again; /* no sooner than in that round */
	struct {
		uint64_t pages, hits, bytes;
		uint64_t timed_ns, worst_ns;
	} diff; /* of this round */
	size_t len; /* of what is gathered in diffs */

	/* As vectors want them */
	uint8_t copies[SECTION_PACKED_MAX] __attribute__((aligned(64)));
	uint8_t diffs[SECTION_PACKED_MAX], compressed[SECTION_PACKED_MAX];
};

void ram_pack_free(struct ram_pack *p)
{
	for (unsigned i = 0; p && i < PAGE_CODECS; i++)
		if (p->context[i])
			page_codecs[i].free_compressor(p->context[i]);
	free(p);
}

int ram_pack_new(struct ram_pack **out, struct ram_link *link, unsigned connection, struct err *e)
{
	struct ram_pack *p = aligned_alloc(_Alignof(struct ram_pack), sizeof(*p));

	if (!p)
		return err_set(e, -ENOMEM, "out of memory for a migration");
	memset(p, 0, offsetof(struct ram_pack, copies));
	p->link = link;
	p->connection = connection;
	compress_choice_set(&p->choice, MIGRATION_COMPRESS_AUTO, link->source->encodings);
	for (unsigned i = 0; i < PAGE_CODECS; i++) {
		if (!(link->source->encodings & page_codecs[i].encoding))
			continue;
		p->context[i] = page_codecs[i].new_compressor();
		if (!p->context[i]) {
			ram_pack_free(p);
			return err_set(e, -ENOMEM, "out of memory for a migration");
		}
	}
	*out = p;
	return 0;
}

/* Of this thread alone: others may have the processor meanwhile. */
static uint64_t spent_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void stop_diffs(struct ram_pack *p, uint64_t again)
{
	if (p->link->source->cache)
		page_cache_clear(p->link->source->cache, p->connection);
	p->on = false;
	p->again = again;
}

void ram_pack_restart(struct ram_pack *p)
{
	if (!p)
		return;
	stop_diffs(p, 0);
	p->len = 0;
	p->speed_bytes = p->speed_ns = 0;
}

static void publish(struct ram_pack *p)
{
	struct ram_progress *to = &p->link->source->progress;

	atomic_store(&to->codec, (p->choice.codec + 1) % (PAGE_CODECS + 1));
	atomic_store(&to->why, p->choice.why);
}

/* What is smaller leaves the link idle, and nothing is to be seen then. */
static bool shows_speed(const struct ram_pack *p, enum section_type type)
{
	return !p->on && (type == SECTION_PAGES ||
			  (p->choice.wanted != MIGRATION_COMPRESS_AUTO && type != SECTION_ZEROS));
}

void ram_pack_measure(struct ram_pack *p, enum section_type type, uint64_t bytes, uint64_t ns)
{
	if (!p || !shows_speed(p, type))
		return;
	p->speed_bytes += bytes;
	p->speed_ns += ns;
	if (p->speed_bytes < SPEED_BYTES && p->speed_ns < SPEED_NS)
		return;
	p->page_ns = p->speed_ns * GUEST_PAGE_BYTES / p->speed_bytes;
	compress_choice_link(&p->choice, p->speed_bytes / GUEST_PAGE_BYTES, p->page_ns);
	p->speed_bytes = p->speed_ns = 0;
	publish(p);
}

/* What was spent against what the link would have taken. */
static void judge(struct ram_pack *p)
{
	/* One may have met a fault, or an interrupt. */
	uint64_t lost_ns = (p->diff.timed_ns - p->diff.worst_ns) * TIMED_EVERY;
	uint64_t whole_ns = compress_choice_ns(&p->choice, p->page_ns);
	uint64_t gained_ns = p->diff.hits * whole_ns;

	lost_ns += p->diff.bytes * p->page_ns / GUEST_PAGE_BYTES;
	/* While the cache fills nothing can be gained; what comes then costs as much again,
	 * and more than is seen here. */
	if (p->round == p->since)
		gained_ns = p->diff.pages * whole_ns / 4;
	if (lost_ns >= gained_ns)
		stop_diffs(p, p->round + REST_ROUNDS);
}

static void begin_round(struct ram_pack *p, uint64_t round)
{
	if (p->on && p->round > p->since && p->diff.pages >= VERDICT_PAGES)
		judge(p);
	p->round = round;
	memset(&p->diff, 0, sizeof(p->diff));
	if (p->on || !p->link->source->cache || !p->page_ns || round < FIRST_ROUND ||
	    round < p->again)
		return;
	p->on = true;
	p->since = round;
}

/* Anew, when something else is wanted or the link is another. */
static void look_at_wishes(struct ram_pack *p)
{
	struct ram_source *s = p->link->source;
	unsigned wanted = atomic_load_explicit(&s->compress, memory_order_relaxed);
	unsigned limits = atomic_load_explicit(&s->limiter.changes, memory_order_relaxed);

	if (wanted == p->choice.wanted && limits == p->limits)
		return;
	compress_choice_set(&p->choice, wanted, s->encodings);
	p->limits = limits;
	p->speed_bytes = p->speed_ns = 0;
	publish(p);
}

bool ram_pack_takes(struct ram_pack *p, gpa_t gpa, bool zero)
{
	uint64_t round;

	if (!p)
		return false;
	round = atomic_load_explicit(&p->link->source->progress.round, memory_order_relaxed);
	if (round != p->round)
		begin_round(p, round);
	look_at_wishes(p);
	if (zero && p->on)
		page_cache_forget(p->link->source->cache, gpa);
	return !zero && (p->on || p->choice.codec < PAGE_CODECS);
}

static void note_time(struct ram_pack *p, uint64_t ns)
{
	p->diff.timed_ns += ns;
	p->diff.worst_ns = MAX(p->diff.worst_ns, ns);
}

/* The copy becomes a difference and true, or perhaps the base of the next one. */
static bool make_diff(struct ram_pack *p, gpa_t gpa, const void *copy)
{
	struct page_cache *cache = p->link->source->cache;
	const uint8_t *base = page_cache_find(cache, gpa);
	uint8_t *out = p->diffs + p->len, *slot;
	size_t n = 0;
	bool made = base && page_diff_make(base, copy, out + DIFF_HEAD_BYTES, &n);

	slot = page_cache_put(cache, gpa, p->round);
	if (slot)
		memcpy(slot, copy, GUEST_PAGE_BYTES);
	if (!made)
		return false;
	put_le(out, DIFF_HEAD_BYTES, n);
	p->len += DIFF_HEAD_BYTES + n;
	p->diff.hits++;
	p->diff.bytes += DIFF_HEAD_BYTES + n;
	return true;
}

static int flush_diffs(struct ram_pack *p, bool hurry, struct err *e)
{
	size_t len = p->len;

	p->len = 0;
	return ram_link_send(p->link, SECTION_DIFF, &p->link->diffs, p->diffs, len, hurry, e);
}

/* The length; 0: they are hardly fewer bytes. */
static size_t compress(struct ram_pack *p, unsigned codec, size_t len)
{
	uint64_t began_ns = spent_ns();
	size_t n = page_codecs[codec].compress(p->context[codec], p->copies, len, p->compressed,
					       len / 8 * 7);

	compress_choice_note(&p->choice, len / GUEST_PAGE_BYTES, spent_ns() - began_ns, n ? n : len,
			     p->page_ns);
	publish(p);
	return n;
}

/* When the guest waits no limit holds, and what was chosen because of one is not right. */
static unsigned codec_now(const struct ram_pack *p, bool hurry)
{
	return hurry && p->choice.wanted == MIGRATION_COMPRESS_AUTO &&
			       limiter_is_on(&p->link->source->limiter)
		       ? PAGE_CODECS
		       : p->choice.codec;
}

static int flush_copies(struct ram_pack *p, bool hurry, struct err *e)
{
	struct ram_runs *runs = &p->link->copies;
	unsigned codec = codec_now(p, hurry);
	size_t n = runs->n && codec < PAGE_CODECS ? compress(p, codec, runs->bytes) : 0;

	return n ? ram_link_send(p->link, page_codecs[codec].type, runs, p->compressed, n, hurry, e)
		 : ram_link_send(p->link, SECTION_PAGES, runs, p->copies, runs->bytes, hurry, e);
}

int ram_pack_flush(struct ram_pack *p, bool hurry, struct err *e)
{
	int r = p ? flush_diffs(p, hurry, e) : 0;

	return r || !p ? r : flush_copies(p, hurry, e);
}

static int make_room(struct ram_pack *p, gpa_t gpa, bool hurry, struct err *e)
{
	int r = 0;

	if (p->len + DIFF_HEAD_BYTES + PAGE_DIFF_MAX > sizeof(p->diffs) ||
	    ram_runs_is_full(&p->link->diffs, gpa))
		r = flush_diffs(p, hurry, e);
	if (!r &&
	    (p->link->copies.bytes == sizeof(p->copies) || ram_runs_is_full(&p->link->copies, gpa)))
		r = flush_copies(p, hurry, e);
	return r;
}

/* The guest may write to it meanwhile, or unplug it; then it is sent again. */
static void copy_page(struct guest_mem *m, gpa_t gpa, uint8_t *copy)
{
	const struct guest_mem_region *r = guest_mem_region_of(m, gpa, GUEST_PAGE_BYTES);

	memcpy(copy, r->host + (gpa - r->base), GUEST_PAGE_BYTES);
}

int ram_pack_page(struct ram_pack *p, gpa_t gpa, bool first_time, bool hurry, struct err *e)
{
	struct ram_runs *copies = &p->link->copies;
	int r = make_room(p, gpa, hurry, e);
	uint8_t *copy = p->copies + copies->bytes;
	uint64_t began_ns = p->diff.pages % TIMED_EVERY ? 0 : spent_ns();

	if (r)
		return r;
	copy_page(p->link->source->mem, gpa, copy);
	if (p->on && make_diff(p, gpa, copy)) {
		ram_runs_add(&p->link->diffs, gpa);
	} else {
		if (first_time)
			put_le(copies->table + 4, 4, SECTION_FIRST_TIME);
		ram_runs_add(copies, gpa);
	}
	if (began_ns)
		note_time(p, spent_ns() - began_ns);
	if (++p->diff.pages == VERDICT_PAGES && p->on && p->round == p->since && !hurry)
		judge(p);
	return 0;
}
