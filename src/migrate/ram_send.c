/* SPDX-License-Identifier: Apache-2.0 */
#include "ram_send.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "compress_choice.h"
#include "dirty_log.h"
#include "encodings.h"
#include "loop.h"
#include "page.h"
#include "page_cache.h"
#include "ram_link.h"
#include "ram_pack.h"
#include "thread.h"
#include "vm.h"

/* What a connection takes in turn, and what is cleared in the log at once. */
enum { PIECE_BYTES = 2 * MIB, PIECE_PAGES = PIECE_BYTES / GUEST_PAGE_BYTES };

struct ram_worker {
	struct ram_sender *sender;
	unsigned index;
	struct ram_link *link;
	pthread_t thread;
	struct err e;
};

struct ram_sender {
	struct vm *vm;
	struct dirty_log *log; /* NULL: off */
	struct ram_source source;
	struct ram_worker worker[MIGRATION_STREAMS_MAX];
	unsigned nworkers;

	bool hints; /* are taken in the first round */

	/* Of the round that is under way */
	bool last; /* the VM is stopped */
	atomic_bool early; /* it ends, or has ended, before all is sent */
	struct ram_round before; /* counts and time, when it began */
	struct ram_worker *_Atomic failed; /* the first that did */
	int error; /* its */
};

static uint64_t nwords(const struct guest_mem_region *r)
{
	return align_up(guest_mem_region_pages(r), 64) / 64;
}

static uint64_t count(const uint64_t *words, uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t w = 0; w < n; w++)
		sum += (uint64_t)__builtin_popcountll(words[w]);
	return sum;
}

int ram_sender_new(struct ram_sender **out, struct vm *vm, struct err *e)
{
	struct ram_sender *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, -ENOMEM, "out of memory for a migration");
	s->vm = vm;
	s->source.mem = vm->mem;
	s->source.end_ns = UINT64_MAX;
	for (unsigned i = 0; i < vm->mem->nregions; i++) {
		struct ram_bits *bits = &s->source.bits[i];
		uint64_t words = nwords(&vm->mem->region[i]);

		bits->pending = calloc(words, sizeof(uint64_t));
		bits->filled = calloc(words, sizeof(uint64_t));
		if (!bits->pending || !bits->filled) {
			ram_sender_free(s);
			return err_set(e, -ENOMEM, "out of memory for a migration");
		}
	}
	*out = s;
	return 0;
}

static void free_links(struct ram_sender *s)
{
	while (s->nworkers) {
		struct ram_link *link = s->worker[--s->nworkers].link;

		ram_pack_free(link->pack);
		free(link);
	}
	page_cache_free(TAKE(s->source.cache));
}

void ram_sender_free(struct ram_sender *s)
{
	if (!s)
		return;
	ram_sender_stop(s);
	for (unsigned i = 0; i < GUEST_MEM_REGIONS; i++) {
		free(s->source.bits[i].pending);
		free(s->source.bits[i].filled);
	}
	free_links(s);
	free(s);
}

void ram_sender_allow(struct ram_sender *s, unsigned encodings)
{
	s->source.encodings = encodings;
	if (!(encodings & (ENCODING_LZ4 | ENCODING_ZSTD)))
		atomic_store(&s->source.progress.why, COMPRESS_NOT_READ);
}

static int make_links(struct ram_sender *s, unsigned n, struct err *e)
{
	int r = 0;

	if (s->source.encodings & ENCODING_DIFF && !s->source.cache)
		s->source.cache = page_cache_new(guest_mem_bytes(s->vm->mem), n);
	for (; !r && s->nworkers < n; s->nworkers++) {
		struct ram_link *link = calloc(1, sizeof(*link));

		if (!link)
			return err_set(e, -ENOMEM, "out of memory for a migration");
		link->source = &s->source;
		s->worker[s->nworkers] =
			(struct ram_worker){ .sender = s, .index = s->nworkers, .link = link };
		if (s->source.encodings)
			r = ram_pack_new(&link->pack, link, s->nworkers, e);
	}
	return r;
}

int ram_sender_attach(struct ram_sender *s, struct channel *const data[], unsigned n, struct err *e)
{
	int r;

	assert(n && n <= MIGRATION_STREAMS_MAX);
	if (s->nworkers != n) {
		for (unsigned i = 0; i < s->nworkers; i++)
			ram_link_abandon(s->worker[i].link);
		free_links(s);
	}
	r = make_links(s, n, e);
	for (unsigned i = 0; !r && i < n; i++)
		r = ram_link_attach(s->worker[i].link, data[i], e);
	return r;
}

/*
 * A log that begins with every bit set would bring back what was never touched: those bits are
 * cleared before that is looked up for good.
 */
static int start_region(struct ram_sender *s, unsigned i, struct err *e)
{
	const struct guest_mem_region *region = &s->vm->mem->region[i];
	uint64_t pages = guest_mem_region_pages(region), *untouched = s->source.bits[i].filled;
	uint64_t *pending = s->source.bits[i].pending;
	int r;

	page_find_data(s->vm->mem, region, pending);
	for (uint64_t w = 0; w < nwords(region); w++)
		untouched[w] = ~pending[w];
	if (pages % 64)
		untouched[pages / 64] &= BIT(pages % 64) - 1;
	r = dirty_log_clear(s->log, i, 0, pages, untouched, e);
	memset(untouched, 0, nwords(region) * sizeof(*untouched));
	page_find_data(s->vm->mem, region, pending);
	return r;
}

int ram_sender_start(struct ram_sender *s, struct err *e)
{
	int r = dirty_log_start(&s->log, s->vm, e);

	for (unsigned i = 0; !r && i < s->vm->mem->nregions; i++)
		r = start_region(s, i, e);
	return r;
}

/* What is written from here on must be in the log, also where a hint comes before the page's turn:
 * so the log is cleared of all pages now, and where one is left out not again. */
int ram_sender_expect_hints(struct ram_sender *s, struct err *e)
{
	struct guest_mem *mem = s->vm->mem;
	int r = guest_mem_hints_start(mem, e);

	s->hints = !r;
	for (unsigned i = 0; !r && i < mem->nregions; i++)
		r = dirty_log_clear(s->log, i, 0, guest_mem_region_pages(&mem->region[i]),
				    s->source.bits[i].pending, e);
	return r;
}

void ram_sender_end_hints(struct ram_sender *s)
{
	if (s->hints)
		guest_mem_hints_stop(s->vm->mem);
	s->hints = false;
}

void ram_sender_stop(struct ram_sender *s)
{
	ram_sender_end_hints(s);
	dirty_log_stop(s->log);
	s->log = NULL;
}

static bool ends_early(struct ram_sender *s)
{
	if (!s->last && loop_now_ns() >= s->source.end_ns)
		s->early = true;
	return s->early;
}

/* To read what is not there would make it be there: so it is with shared memory. */
static void find_holes(const struct guest_mem *mem, const struct guest_mem_region *m,
		       uint64_t first, uint64_t npages, uint64_t holes[PIECE_PAGES / 64])
{
	uint64_t at = first * GUEST_PAGE_BYTES, end = at + npages * GUEST_PAGE_BYTES, to;

	memset(holes, mem->fd < 0 ? 0 : 0xff, PIECE_PAGES / 8);
	for (; mem->fd >= 0 && page_next_data(mem, m, &at, &to) && at < end; at = to)
		for (uint64_t page = at / GUEST_PAGE_BYTES - first;
		     page < MIN(to, end) / GUEST_PAGE_BYTES - first; page++)
			holes[page / 64] &= ~BIT(page % 64);
}

static int send_word(struct ram_worker *w, struct guest_mem_region *m, uint64_t first,
		     const uint64_t *pending, uint64_t holes, struct err *e)
{
	int r = 0;

	while (!r && *pending) {
		unsigned bit = (unsigned)__builtin_ctzll(*pending);

		r = ram_link_page(w->link, m, first + bit, holes & BIT(bit), w->sender->last, e);
	}
	return r;
}

/* How many of its pages need not be sent.  If one was written since, the log has that still. */
static uint64_t leave_out(struct ram_sender *s, const struct guest_mem_region *m, uint64_t first,
			  uint64_t words, uint64_t *pending)
{
	uint64_t sum = 0;

	for (uint64_t w = 0; s->hints && w < words; w++) {
		uint64_t out = pending[w] & guest_mem_hinted(m, first + w * 64);

		pending[w] &= ~out;
		sum += (uint64_t)__builtin_popcountll(out);
	}
	atomic_fetch_add(&s->source.progress.hinted_pages, sum);
	atomic_fetch_sub(&s->source.progress.remaining, sum);
	return sum;
}

static int send_piece(struct ram_worker *w, unsigned region, uint64_t first, struct err *e)
{
	struct ram_sender *s = w->sender;
	struct guest_mem_region *m = &s->vm->mem->region[region];
	uint64_t *pending = s->source.bits[region].pending + first / 64;
	uint64_t npages = MIN(PIECE_PAGES, guest_mem_region_pages(m) - first);
	uint64_t words = align_up(npages, 64) / 64, todo = count(pending, words);
	uint64_t holes[PIECE_PAGES / 64];
	int r = 0;

	if (!todo || ends_early(s))
		return 0;
	todo -= leave_out(s, m, first, words, pending);
	/* Nothing writes any more when the VM is stopped. */
	if (!s->last)
		r = dirty_log_clear(s->log, region, first, npages, pending, e);
	find_holes(s->vm->mem, m, first, npages, holes);
	for (uint64_t i = 0; !r && i < words; i++)
		r = send_word(w, m, first + i * 64, &pending[i], holes[i], e);
	if (!r)
		atomic_fetch_sub(&s->source.progress.remaining, todo);
	return r;
}

static int send_pending(struct ram_worker *w, struct err *e)
{
	struct ram_sender *s = w->sender;
	struct guest_mem *mem = s->vm->mem;
	int r = 0;

	for (unsigned i = 0; i < mem->nregions; i++)
		for (uint64_t at = 0; !r && !s->failed && at < mem->region[i].size_bytes;
		     at += PIECE_BYTES)
			if ((mem->region[i].base + at) / PIECE_BYTES % s->nworkers == w->index)
				r = send_piece(w, i, at / GUEST_PAGE_BYTES, e);
	if (!r && !s->failed)
		r = ram_link_flush(w->link, s->last, e);
	if (!r && !s->failed && s->last)
		r = ram_link_done(w->link, e);
	return r;
}

static void *work(void *arg)
{
	struct ram_worker *w = arg, *none = NULL;
	int r = send_pending(w, &w->e);

	if (r && atomic_compare_exchange_strong(&w->sender->failed, &none, w))
		w->sender->error = r;
	return NULL;
}

/* The caller's thread is the first connection's. */
static int work_all(struct ram_sender *s, struct err *e)
{
	struct ram_worker *none = NULL;
	unsigned started;
	char name[24];
	int r = 0;

	s->failed = NULL;
	s->early = false;
	for (started = 1; started < s->nworkers; started++) {
		snprintf(name, sizeof(name), "_migrate%u", started);
		r = thread_new(&s->worker[started].thread, name, SANDBOX_MIGRATION, 0, work,
			       &s->worker[started]);
		if (r)
			break;
	}
	if (!r)
		work(&s->worker[0]);
	else if (atomic_compare_exchange_strong(&s->failed, &none, &s->worker[0]))
		s->error = err_set(&s->worker[0].e, r, "cannot start a thread: %s", strerror(-r));
	while (--started)
		pthread_join(s->worker[started].thread, NULL);
	if (s->failed) {
		*e = s->failed->e;
		return s->error;
	}
	return s->early ? err_set(e, -ETIME, "its time is up") : 0;
}

int ram_sender_harvest(struct ram_sender *s, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; !r && i < s->vm->mem->nregions; i++)
		r = dirty_log_harvest(s->log, i, s->source.bits[i].pending, e);
	return r;
}

static void begin_round(struct ram_sender *s)
{
	struct ram_progress *p = &s->source.progress;

	atomic_fetch_add(&p->round, 1);
	s->before = (struct ram_round){ .pending = ram_sender_pending(s),
					.bytes = p->bytes,
					.pages = p->pages,
					.zero_pages = p->zero_pages,
					.diff_pages = p->diff_pages,
					.hinted_pages = p->hinted_pages,
					.duration_ns = loop_now_ns() };
}

static int send_round(struct ram_sender *s, struct ram_round *round, struct err *e)
{
	struct ram_progress *p = &s->source.progress;
	const struct ram_round *before = &s->before;
	/* With hints: what is harvested would be in no log any more. */
	int r = s->hints ? 0 : ram_sender_harvest(s, e);

	if (r)
		return r;
	if (!s->early)
		begin_round(s);
	atomic_store(&p->remaining, ram_sender_pending(s));
	r = work_all(s, e);
	*round = (struct ram_round){ .pending = before->pending -
						(p->hinted_pages - before->hinted_pages),
				     .hinted_pages = p->hinted_pages - before->hinted_pages,
				     .bytes = p->bytes - before->bytes,
				     .pages = p->pages - before->pages,
				     .zero_pages = p->zero_pages - before->zero_pages,
				     .diff_pages = p->diff_pages - before->diff_pages,
				     .duration_ns = loop_now_ns() - before->duration_ns };
	return r;
}

int ram_sender_round(struct ram_sender *s, struct ram_round *round, struct err *e)
{
	s->last = false;
	return send_round(s, round, e);
}

int ram_sender_finish(struct ram_sender *s, struct ram_round *round, struct err *e)
{
	s->last = true;
	s->early = false;
	return send_round(s, round, e);
}

int ram_sender_settle(struct ram_sender *s, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; !r && i < s->nworkers; i++)
		r = ram_link_done(s->worker[i].link, e);
	return r;
}

uint64_t ram_sender_pending(const struct ram_sender *s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->vm->mem->nregions; i++)
		sum += count(s->source.bits[i].pending, nwords(&s->vm->mem->region[i]));
	return sum;
}

/* A twentieth of a second's bytes may go at once. */
void ram_sender_set_bandwidth(struct ram_sender *s, uint64_t bytes_per_second)
{
	enum { BURSTS = 20, BURST_MS = 1000 / BURSTS };
	struct limiter_config c = { 0 };

	if (bytes_per_second)
		c.bandwidth = (struct limiter_bucket_config){
			.size = MAX(bytes_per_second / BURSTS, 1), .refill_time = BURST_MS
		};
	limiter_set(&s->source.limiter, &c, loop_now_ns());
}

void ram_sender_set_end(struct ram_sender *s, uint64_t at_ns)
{
	atomic_store(&s->source.end_ns, at_ns);
}

void ram_sender_set_compress(struct ram_sender *s, enum migration_compress compress)
{
	atomic_store(&s->source.compress, compress);
}

const struct ram_progress *ram_sender_progress(const struct ram_sender *s)
{
	return &s->source.progress;
}
