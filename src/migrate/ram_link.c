/* SPDX-License-Identifier: Apache-2.0 */
#include "ram_link.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "bits.h"
#include "loop.h"
#include "page.h"
#include "ram_pack.h"

#define NS_PER_MS UINT64_C(1000000)

static gpa_t run_gpa(const struct ram_runs *runs, unsigned i)
{
	return get_le(runs->table + SECTION_RAM_HEAD_BYTES + i * SECTION_RUN_BYTES, 8);
}

static uint64_t run_bytes(const struct ram_runs *runs, unsigned i)
{
	return get_le(runs->table + SECTION_RAM_HEAD_BYTES + i * SECTION_RUN_BYTES + 8, 8);
}

static size_t table_bytes(const struct ram_runs *runs)
{
	return SECTION_RAM_HEAD_BYTES + runs->n * SECTION_RUN_BYTES;
}

void ram_runs_add(struct ram_runs *runs, gpa_t gpa)
{
	uint8_t *run;

	if (!runs->n || gpa != runs->end) {
		put_le(runs->table, 4, ++runs->n);
		run = runs->table + table_bytes(runs) - SECTION_RUN_BYTES;
		put_le(run, 8, gpa);
		put_le(run + 8, 8, 0);
	}
	run = runs->table + table_bytes(runs) - SECTION_RUN_BYTES;
	put_le(run + 8, 8, get_le(run + 8, 8) + GUEST_PAGE_BYTES);
	runs->bytes += GUEST_PAGE_BYTES;
	runs->end = gpa + GUEST_PAGE_BYTES;
}

static void clear(struct ram_runs *runs)
{
	runs->n = 0;
	runs->bytes = 0;
	put_le(runs->table + 4, 4, 0);
}

static void set_pending(struct ram_source *s, const struct ram_runs *runs)
{
	for (unsigned i = 0; i < runs->n; i++) {
		gpa_t gpa = run_gpa(runs, i);
		struct guest_mem_region *r = guest_mem_region_of(s->mem, gpa, run_bytes(runs, i));
		uint64_t page = (gpa - r->base) / GUEST_PAGE_BYTES;
		uint64_t end = page + run_bytes(runs, i) / GUEST_PAGE_BYTES;

		for (; page < end; page++)
			s->bits[r - s->mem->region].pending[page / 64] |= BIT(page % 64);
	}
}

/* Between least and what was sent, or the receiver lies. */
static int read_ack(struct ram_link *l, uint64_t least, uint64_t *count, struct err *e)
{
	uint8_t payload[8];
	struct section in;
	int r = section_begin(&in, l->ch, e);

	if (!r && in.type != SECTION_ACK)
		return err_set(e, -EBADMSG,
			       "the destination answers with a section of type %" PRIu32
			       " where it should acknowledge memory",
			       in.type);
	if (!r)
		r = section_read(&in, payload, sizeof(payload), e);
	if (!r)
		r = section_end(&in, e);
	if (r)
		return r;
	*count = get_le(payload, 8);
	if (*count < least || *count > l->sent)
		return err_set(e, -EBADMSG,
			       "the destination acknowledges %" PRIu64 " sections of %" PRIu64,
			       *count, l->sent);
	return 0;
}

/* What is gathered, or went after so many sections. */
static void take_back(struct ram_link *l, uint64_t count)
{
	struct ram_runs *const gathered[] = { &l->pages, &l->zeros, &l->copies, &l->diffs };
	struct ram_source *s = l->source;

	for (uint64_t i = count; i < l->sent; i++) {
		const struct ram_runs *runs = &l->ring[i % RAM_RING];

		set_pending(s, runs);
		atomic_fetch_add(&s->progress.resent_pages, runs->bytes / GUEST_PAGE_BYTES);
	}
	for (size_t i = 0; i < ARRAY_SIZE(gathered); i++) {
		set_pending(s, gathered[i]);
		clear(gathered[i]);
	}
	ram_pack_restart(l->pack);
	l->sent = l->acked = count;
}

void ram_link_abandon(struct ram_link *l)
{
	take_back(l, l->acked);
}

int ram_link_attach(struct ram_link *l, struct channel *ch, struct err *e)
{
	uint64_t count;
	int r;

	l->ch = ch;
	r = read_ack(l, l->acked, &count, e);
	if (!r)
		take_back(l, count);
	return r;
}

/* Until the limit lets the next section pass, or is another, or the round ends. */
static int wait_turn(struct ram_link *l, uint64_t bytes, struct err *e)
{
	enum { LOOK_MS = 20 };
	struct limiter *limiter = &l->source->limiter;
	struct pollfd cancel = { .fd = l->ch->cancel_fd, .events = POLLIN };
	unsigned changes = atomic_load(&limiter->changes);
	uint64_t now_ns = loop_now_ns(), then_ns;

	then_ns = now_ns + limiter_charge(limiter, &l->taker, bytes, now_ns);
	while (now_ns < MIN(then_ns, l->source->end_ns) &&
	       changes == atomic_load(&limiter->changes)) {
		uint64_t ms = (then_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;

		if (poll(&cancel, 1, (int)MIN(ms, LOOK_MS)) > 0)
			return err_set(e, -ECANCELED, "it was called off");
		now_ns = loop_now_ns();
	}
	return 0;
}

/* Before it is written: what is in the ring is sent again if the connection is lost. */
static int put_in_ring(struct ram_link *l, const struct ram_runs *runs, struct err *e)
{
	struct ram_runs *slot;
	int r = 0;

	if (l->sent - l->acked == RAM_RING)
		r = read_ack(l, l->acked + 1, &l->acked, e);
	if (r)
		return r;
	slot = &l->ring[l->sent++ % RAM_RING];
	slot->n = runs->n;
	slot->bytes = runs->bytes;
	memcpy(slot->table, runs->table, table_bytes(runs));
	return 0;
}

/* What was handed over. */
static void count_sent(struct ram_progress *p, enum section_type type, uint64_t pages,
		       uint64_t bytes)
{
	atomic_fetch_add(&p->bytes, bytes);
	switch (type) {
	case SECTION_ZEROS:
		atomic_fetch_add(&p->zero_pages, pages);
		break;
	case SECTION_DIFF:
		atomic_fetch_add(&p->diff_pages, pages);
		atomic_fetch_add(&p->diff_bytes, bytes);
		break;
	case SECTION_LZ4:
	case SECTION_ZSTD:
		atomic_fetch_add(&p->compressed_pages, pages);
		atomic_fetch_add(&p->compressed_bytes, bytes);
		atomic_fetch_add(&p->pages, pages);
		break;
	default:
		atomic_fetch_add(&p->pages, pages);
	}
}

/* iov[0] and iov[1] are left for its head and runs, which are empty then. */
static int send_section(struct ram_link *l, enum section_type type, struct ram_runs *runs,
			struct iovec *iov, int niov, bool hurry, struct err *e)
{
	uint64_t bytes = table_bytes(runs), began_ns = loop_now_ns();
	int r = put_in_ring(l, runs, e);

	if (r)
		return r;
	iov[1] = (struct iovec){ runs->table, table_bytes(runs) };
	for (int i = 2; i < niov; i++)
		bytes += iov[i].iov_len;
	r = type == SECTION_PAGES ? section_write_pages(l->ch, type, iov, niov, e)
				  : section_write(l->ch, type, iov, niov, e);
	if (r)
		return r;
	count_sent(&l->source->progress, type, runs->bytes / GUEST_PAGE_BYTES, bytes);
	clear(runs);
	r = hurry ? 0 : wait_turn(l, bytes, e);
	ram_pack_measure(l->pack, type, bytes, loop_now_ns() - began_ns);
	return r;
}

int ram_link_send(struct ram_link *l, enum section_type type, struct ram_runs *runs,
		  const void *body, size_t len, bool hurry, struct err *e)
{
	struct iovec iov[3] = { [2] = { (void *)(uintptr_t)body, len } };

	return runs->n ? send_section(l, type, runs, iov, 3, hurry, e) : 0;
}

/* From where the pages are. */
static int flush(struct ram_link *l, enum section_type type, struct ram_runs *runs, bool hurry,
		 struct err *e)
{
	struct iovec iov[2 + SECTION_RUNS_MAX];
	int niov = 2;

	if (!runs->n)
		return 0;
	/* The guest may have unplugged some meanwhile. */
	for (unsigned i = 0; type == SECTION_PAGES && i < runs->n; i++, niov++) {
		gpa_t gpa = run_gpa(runs, i);
		struct guest_mem_region *r = guest_mem_region_of(l->source->mem, gpa,
								 run_bytes(runs, i));

		iov[niov] = (struct iovec){ r->host + (gpa - r->base), run_bytes(runs, i) };
	}
	return send_section(l, type, runs, iov, niov, hurry, e);
}

static int gather(struct ram_link *l, gpa_t gpa, bool zero, bool first_time, bool hurry,
		  struct err *e)
{
	struct ram_runs *runs = zero ? &l->zeros : &l->pages;
	int r = 0;

	if (ram_pack_takes(l->pack, gpa, zero))
		return ram_pack_page(l->pack, gpa, first_time, hurry, e);
	if (ram_runs_is_full(runs, gpa))
		r = flush(l, zero ? SECTION_ZEROS : SECTION_PAGES, runs, hurry, e);
	if (r)
		return r;
	if (first_time)
		put_le(runs->table + 4, 4, SECTION_FIRST_TIME);
	ram_runs_add(runs, gpa);
	return 0;
}

int ram_link_page(struct ram_link *l, struct guest_mem_region *region, uint64_t page, bool hole,
		  bool hurry, struct err *e)
{
	struct ram_bits *bits = &l->source->bits[region - l->source->mem->region];
	gpa_t gpa = region->base + page * GUEST_PAGE_BYTES;
	bool zero = hole || page_is_zero(region->host + page * GUEST_PAGE_BYTES);
	bool first_time = !(bits->filled[page / 64] & BIT(page % 64));
	int r = 0;

	/* What was never sent is zero over there from the beginning. */
	if (!zero || !first_time)
		r = gather(l, gpa, zero, first_time, hurry, e);
	if (r)
		return r;
	if (!zero)
		bits->filled[page / 64] |= BIT(page % 64);
	bits->pending[page / 64] &= ~BIT(page % 64);
	return 0;
}

int ram_link_flush(struct ram_link *l, bool hurry, struct err *e)
{
	int r = flush(l, SECTION_PAGES, &l->pages, hurry, e);

	if (!r)
		r = flush(l, SECTION_ZEROS, &l->zeros, hurry, e);
	return r ? r : ram_pack_flush(l->pack, hurry, e);
}

int ram_link_done(struct ram_link *l, struct err *e)
{
	static const struct ram_runs none;
	uint8_t payload[8];
	struct iovec iov[2] = { [1] = { payload, sizeof(payload) } };
	int r;

	put_le(payload, 8, l->sent);
	r = put_in_ring(l, &none, e);
	if (!r)
		r = section_write(l->ch, SECTION_DONE, iov, 2, e);
	while (!r && l->acked != l->sent)
		r = read_ack(l, l->acked + 1, &l->acked, e);
	return r;
}
