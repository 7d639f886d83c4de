/* SPDX-License-Identifier: Apache-2.0 */
#include "ram_receive.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bits.h"
#include "guest_mem.h"
#include "migration.h"
#include "ram_unpack.h"
#include "section.h"

struct ram_receiver {
	struct guest_mem *mem;
	unsigned nconnections;
	struct {
		uint64_t applied; /* sections */
		struct ram_unpack *unpack;
	} connection[MIGRATION_STREAMS_MAX]; /* its thread's */
};

int ram_receiver_resize(struct ram_receiver *r, unsigned n, struct err *e)
{
	assert(n && n <= MIGRATION_STREAMS_MAX);
	while (r->nconnections > n)
		ram_unpack_free(r->connection[--r->nconnections].unpack);
	for (; r->nconnections < n; r->nconnections++) {
		int error = ram_unpack_new(&r->connection[r->nconnections].unpack, e);

		if (error)
			return error;
	}
	for (unsigned i = 0; i < n; i++)
		r->connection[i].applied = 0;
	return 0;
}

int ram_receiver_new(struct ram_receiver **out, struct guest_mem *mem, unsigned nconnections,
		     struct err *e)
{
	struct ram_receiver *r = calloc(1, sizeof(*r));
	int error;

	if (!r)
		return err_set(e, -ENOMEM, "out of memory for a migration");
	r->mem = mem;
	error = ram_receiver_resize(r, nconnections, e);
	if (error)
		ram_receiver_free(r);
	else
		*out = r;
	return error;
}

void ram_receiver_free(struct ram_receiver *r)
{
	for (unsigned i = 0; r && i < r->nconnections; i++)
		ram_unpack_free(r->connection[i].unpack);
	free(r);
}

static int send_ack(struct channel *ch, uint64_t applied, struct err *e)
{
	uint8_t payload[8];
	struct iovec iov[2] = { [1] = { payload, sizeof(payload) } };

	put_le(payload, 8, applied);
	return section_write(ch, SECTION_ACK, iov, 2, e);
}

/* Turn the table of runs into host addresses; *bytes: of all their pages. */
static int find_runs(struct guest_mem *m, const uint8_t *table, uint64_t nruns, struct iovec *iov,
		     uint64_t *bytes, struct err *e)
{
	*bytes = 0;
	for (uint64_t i = 0; i < nruns; i++) {
		gpa_t gpa = get_le(table + i * SECTION_RUN_BYTES, 8);
		uint64_t len = get_le(table + i * SECTION_RUN_BYTES + 8, 8);
		void *host = guest_mem_at(m, gpa, len);

		if (!host || !len || gpa % GUEST_PAGE_BYTES || len % GUEST_PAGE_BYTES)
			return err_set(e, -EBADMSG,
				       "the stream is damaged: no pages of this VM are at "
				       "%#" PRIx64,
				       gpa);
		if (len > SECTION_PAGES_MAX - *bytes)
			return err_set(e, -EBADMSG,
				       "the stream is damaged: a section has no sense");
		iov[i] = (struct iovec){ host, len };
		*bytes += len;
	}
	return 0;
}

/* The runs of a section. */
struct runs {
	uint8_t table[SECTION_RUNS_MAX * SECTION_RUN_BYTES];
	struct iovec iov[SECTION_RUNS_MAX];
	int n;
	uint64_t bytes;
};

/* The flags of a section, or an error. */
static int read_runs(struct section *in, struct guest_mem *m, struct runs *runs, struct err *e)
{
	uint8_t head[SECTION_RAM_HEAD_BYTES];
	uint64_t nruns, flags;
	int r = section_read(in, head, sizeof(head), e);

	if (r)
		return r;
	nruns = get_le(head, 4);
	flags = get_le(head + 4, 4);
	if (nruns > SECTION_RUNS_MAX || flags & ~(uint64_t)SECTION_FIRST_TIME)
		return err_set(e, -EBADMSG, "the stream is damaged: a section has no sense");
	runs->n = (int)nruns;
	r = section_read(in, runs->table, nruns * SECTION_RUN_BYTES, e);
	if (!r)
		r = find_runs(m, runs->table, nruns, runs->iov, &runs->bytes, e);
	return r ? r : (int)flags;
}

/* All at once costs less than a fault for each page; without it they come by faults. */
static void populate(const struct iovec *iov, int niov)
{
	for (int i = 0; i < niov; i++)
		madvise(iov[i].iov_base, iov[i].iov_len, MADV_POPULATE_WRITE);
}

static int receive_pages(struct section *in, struct guest_mem *m, struct err *e)
{
	struct runs runs;
	int r, flags = read_runs(in, m, &runs, e);

	if (flags < 0)
		return flags;
	if (in->left != runs.bytes)
		return err_set(e, -EBADMSG, "the stream is damaged: a section has no sense");
	r = section_check(in, e);
	if (!r && flags & SECTION_FIRST_TIME)
		populate(runs.iov, runs.n);
	return r ? r : section_read_pages(in, runs.iov, runs.n, e);
}

/*
 * Zero pages are only sent of what had been filled.  Much at once is more likely given up than
 * about to be written, and costs nothing from here on; less would only break up a large page.
 */
static void zero_run(struct guest_mem *m, gpa_t gpa, const struct iovec *run)
{
	enum { GIVE_BACK_BYTES = 64 * KIB };

	if (run->iov_len < GIVE_BACK_BYTES || m->page_bytes != GUEST_PAGE_BYTES ||
	    guest_mem_discard(m, gpa, run->iov_len))
		memset(run->iov_base, 0, run->iov_len);
}

static int receive_zeros(struct section *in, struct guest_mem *m, struct err *e)
{
	struct runs runs;
	int r = read_runs(in, m, &runs, e);

	if (r >= 0)
		r = section_end(in, e);
	for (int i = 0; !r && i < runs.n; i++)
		zero_run(m, get_le(runs.table + i * SECTION_RUN_BYTES, 8), &runs.iov[i]);
	return r;
}

static int receive_packed(struct section *in, struct guest_mem *m, struct ram_unpack *u,
			  struct err *e)
{
	struct runs runs;
	int r = read_runs(in, m, &runs, e);

	return r < 0 ? r : ram_unpack_section(u, in, runs.iov, runs.n, e);
}

static int receive_done(struct section *in, uint64_t applied, struct err *e)
{
	uint8_t payload[8];
	int r = section_read(in, payload, sizeof(payload), e);

	if (!r && get_le(payload, 8) != applied)
		return err_set(e, -EBADMSG, "the stream is damaged: sections are missing");
	return r;
}

static int receive_section(struct ram_receiver *receiver, unsigned i, struct section *in,
			   struct err *e)
{
	switch (in->type) {
	case SECTION_PAGES:
		return receive_pages(in, receiver->mem, e);
	case SECTION_ZEROS:
		return receive_zeros(in, receiver->mem, e);
	case SECTION_DIFF:
	case SECTION_LZ4:
	case SECTION_ZSTD:
		return receive_packed(in, receiver->mem, receiver->connection[i].unpack, e);
	case SECTION_DONE:
		return receive_done(in, receiver->connection[i].applied, e);
	default:
		return err_set(e, -EBADMSG,
			       "the stream has a section of type %" PRIu32
			       " among the guest's memory; use the version of godwit that wrote it",
			       in->type);
	}
}

int ram_receiver_run(struct ram_receiver *receiver, unsigned i, struct channel *ch, struct err *e)
{
	uint64_t *applied = &receiver->connection[i].applied;
	struct section in = { 0 };
	int r;

	assert(i < receiver->nconnections);
	r = send_ack(ch, *applied, e);
	while (!r && in.type != SECTION_DONE) {
		r = section_begin(&in, ch, e);
		if (!r)
			r = receive_section(receiver, i, &in, e);
		if (!r)
			r = section_end(&in, e);
		if (r)
			break;
		++*applied;
		if (in.type == SECTION_DONE || *applied % SECTION_ACK_EVERY == 0)
			r = send_ack(ch, *applied, e);
	}
	return r;
}
