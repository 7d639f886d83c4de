/* SPDX-License-Identifier: Apache-2.0 */
#include "bits.h"
#include "devices.h"
#include "guest_mem.h"
#include "page.h"
#include "section.h"
#include "stream.h"
#include "vm.h"

struct writer {
	struct channel ch;
	struct err *e;
	uint64_t sections, page_bytes;
	/* The RAM section that is being gathered; iov[0] and [1] are its header and table. */
	unsigned nruns;
	uint64_t gathered;
	gpa_t end; /* of the newest run */
	uint8_t table[SECTION_RAM_HEAD_BYTES + SECTION_RUN_BYTES * SECTION_RUNS_MAX];
	struct iovec iov[2 + SECTION_RUNS_MAX];
};

static int write_section(struct writer *w, enum section_type type, struct iovec *iov, int niov)
{
	w->sections++;
	return section_write(&w->ch, type, iov, niov, w->e);
}

static int write_bytes(struct writer *w, enum section_type type, const void *data, size_t len)
{
	struct iovec iov[2] = { [1] = { (void *)(uintptr_t)data, len } };

	return write_section(w, type, iov, 2);
}

static int write_layout(struct writer *w, const struct guest_mem *m)
{
	uint8_t layout[GUEST_MEM_REGIONS * SECTION_RUN_BYTES];

	for (unsigned i = 0; i < m->nregions; i++) {
		put_le(layout + i * SECTION_RUN_BYTES, 8, m->region[i].base);
		put_le(layout + i * SECTION_RUN_BYTES + 8, 8, m->region[i].size_bytes);
	}
	return write_bytes(w, SECTION_MEMORY, layout, m->nregions * SECTION_RUN_BYTES);
}

static int flush_runs(struct writer *w)
{
	int r;

	if (!w->nruns)
		return 0;
	put_le(w->table, 4, w->nruns);
	put_le(w->table + 4, 4, 0);
	for (unsigned i = 0; i < w->nruns; i++)
		put_le(w->table + SECTION_RAM_HEAD_BYTES + i * SECTION_RUN_BYTES + 8, 8,
		       w->iov[2 + i].iov_len);
	w->iov[1] = (struct iovec){ w->table,
				    SECTION_RAM_HEAD_BYTES + w->nruns * SECTION_RUN_BYTES };
	r = write_section(w, SECTION_RAM, w->iov, (int)w->nruns + 2);
	w->page_bytes += w->gathered;
	w->nruns = 0;
	w->gathered = 0;
	return r;
}

static int add_page(struct writer *w, gpa_t gpa, uint8_t *host)
{
	int r;

	if (w->gathered == SECTION_PAGES_MAX || (w->nruns == SECTION_RUNS_MAX && gpa != w->end)) {
		r = flush_runs(w);
		if (r)
			return r;
	}
	if (!w->nruns || gpa != w->end) {
		put_le(w->table + SECTION_RAM_HEAD_BYTES + w->nruns * SECTION_RUN_BYTES, 8, gpa);
		w->iov[2 + w->nruns++] = (struct iovec){ host, 0 };
	}
	w->iov[1 + w->nruns].iov_len += GUEST_PAGE_BYTES;
	w->gathered += GUEST_PAGE_BYTES;
	w->end = gpa + GUEST_PAGE_BYTES;
	return 0;
}

static int write_region(struct writer *w, const struct guest_mem *m,
			const struct guest_mem_region *r)
{
	uint64_t at = 0, to;
	int code;

	while (page_next_data(m, r, &at, &to)) {
		for (; at < to; at += GUEST_PAGE_BYTES) {
			if (page_is_zero(r->host + at))
				continue;
			code = add_page(w, r->base + at, r->host + at);
			if (code)
				return code;
		}
	}
	return 0;
}

static int write_ram(struct writer *w, const struct guest_mem *m)
{
	int r = 0;

	for (unsigned i = 0; !r && i < m->nregions; i++)
		r = write_region(w, m, &m->region[i]);
	return r ? r : flush_runs(w);
}

static int write_devices(struct writer *w, const struct state_buf *b)
{
	struct state_view v = { b->data, b->len };
	const uint8_t *payload;
	uint64_t len;
	int r;

	while (state_view_take_le(&v, 8, &len) && state_view_take(&v, len, &payload)) {
		r = write_bytes(w, SECTION_DEVICE, payload, len);
		if (r)
			return r;
	}
	return 0;
}

static int write_end(struct writer *w)
{
	uint8_t end[16];

	put_le(end, 8, w->sections);
	put_le(end + 8, 8, w->page_bytes);
	return write_bytes(w, SECTION_END, end, sizeof(end));
}

static int write_stream(int fd, const struct guest_mem *m, bool ram,
			const struct state_buf *devices, struct err *e)
{
	struct writer w = { .ch = channel_of(fd), .e = e };
	int r = section_write_magic(&w.ch, e);

	if (!r)
		r = write_layout(&w, m);
	if (!r && ram)
		r = write_ram(&w, m);
	if (!r)
		r = write_devices(&w, devices);
	return r ? r : write_end(&w);
}

int stream_save(struct vm *vm, int fd, struct err *e)
{
	struct state_buf devices = { 0 };
	int r = devices_save(vm, NULL, &devices, e);

	if (!r)
		r = write_stream(fd, vm->mem, true, &devices, e);
	state_buf_free(&devices);
	return r;
}

int stream_save_devices(const struct guest_mem *m, const struct state_buf *devices, int fd,
			struct err *e)
{
	return write_stream(fd, m, false, devices, e);
}
