/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "bits.h"
#include "devices.h"
#include "guest_mem.h"
#include "section.h"
#include "state_codec.h"
#include "stream.h"
#include "vm.h"

struct loader {
	struct vm *vm;
	struct err *e;
	struct section in;
	uint64_t sections, page_bytes;
	bool ram; /* is in the stream, too */
	bool have_memory;
	struct state_buf devices;
};

/* Pages that the stream leaves out are zero, whatever was loaded here before. */
static void clear_region(const struct guest_mem *m, const struct guest_mem_region *r)
{
	int code;

	if (m->fd >= 0)
		code = fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)r->fd_offset, (off_t)r->size_bytes);
	else
		code = madvise(r->host, r->size_bytes, MADV_DONTNEED);
	/* Locked memory, and huge pages on older kernels, cannot be dropped. */
	if (code)
		memset(r->host, 0, r->size_bytes);
}

static int load_layout(struct loader *l)
{
	struct guest_mem *m = l->vm->mem;
	uint8_t layout[GUEST_MEM_REGIONS * SECTION_RUN_BYTES] = { 0 }, mine[sizeof(layout)];
	size_t len = m->nregions * SECTION_RUN_BYTES;
	int r;

	if (l->have_memory)
		return err_set(l->e, -EBADMSG, "the stream is damaged: it describes memory twice");
	for (unsigned i = 0; i < m->nregions; i++) {
		put_le(mine + i * SECTION_RUN_BYTES, 8, m->region[i].base);
		put_le(mine + i * SECTION_RUN_BYTES + 8, 8, m->region[i].size_bytes);
	}
	if (l->in.left == len) {
		r = section_read(&l->in, layout, len, l->e);
		if (r)
			return r;
	}
	if (l->in.left || memcmp(layout, mine, len))
		return err_set(l->e, -EBADMSG,
			       "the stream is of a VM with another amount of memory; build it "
			       "from the configuration that was saved");
	for (unsigned i = 0; l->ram && i < m->nregions; i++)
		clear_region(m, &m->region[i]);
	l->have_memory = true;
	return 0;
}

/* Turn the table of runs into host addresses. */
static int find_runs(struct loader *l, const uint8_t *table, uint64_t nruns, struct iovec *iov)
{
	struct guest_mem *m = l->vm->mem;
	uint64_t bytes = 0;

	for (uint64_t i = 0; i < nruns; i++) {
		gpa_t gpa = get_le(table + i * SECTION_RUN_BYTES, 8);
		uint64_t len = get_le(table + i * SECTION_RUN_BYTES + 8, 8);
		void *host = guest_mem_at(m, gpa, len);

		if (!host || !len || gpa % GUEST_PAGE_BYTES || len % GUEST_PAGE_BYTES ||
		    len > SECTION_PAGES_MAX)
			return err_set(l->e, -EBADMSG,
				       "the stream is damaged: no pages of this VM are at "
				       "%#" PRIx64,
				       gpa);
		iov[i] = (struct iovec){ host, len };
		bytes += len;
		guest_mem_mark_dirty(m, gpa, len);
	}
	if (bytes != l->in.left || bytes > SECTION_PAGES_MAX)
		return err_set(l->e, -EBADMSG, "the stream is damaged: a section has no sense");
	l->page_bytes += bytes;
	return 0;
}

static int load_pages(struct loader *l)
{
	uint8_t table[SECTION_RUNS_MAX * SECTION_RUN_BYTES], head[SECTION_RAM_HEAD_BYTES];
	struct iovec iov[SECTION_RUNS_MAX];
	uint64_t nruns;
	int r;

	if (!l->ram)
		return err_set(l->e, -EBADMSG,
			       "the stream is damaged: it has pages, whose place is another file");
	if (!l->have_memory)
		return err_set(l->e, -EBADMSG, "the stream is damaged: pages come too early");
	r = section_read(&l->in, head, sizeof(head), l->e);
	if (r)
		return r;
	nruns = get_le(head, 8);
	if (nruns > SECTION_RUNS_MAX)
		return err_set(l->e, -EBADMSG, "the stream is damaged: a section has no sense");
	r = section_read(&l->in, table, nruns * SECTION_RUN_BYTES, l->e);
	if (!r)
		r = find_runs(l, table, nruns, iov);
	return r ? r : section_readv(&l->in, iov, (int)nruns, l->e);
}

/* They are looked at when all are there. */
static int load_device(struct loader *l)
{
	struct state_buf *b = &l->devices;
	uint64_t len = l->in.left;
	uint8_t *payload;

	if (len > SECTION_RECORD_MAX || b->len + len > DEVICES_BYTES_MAX)
		return err_set(l->e, -EBADMSG, "the stream is damaged: a device is too big");
	state_buf_put_le(b, 8, len);
	payload = state_buf_grow(b, len);
	if (!payload)
		return err_set(l->e, -ENOMEM, "out of memory for the state of a device");
	return section_read(&l->in, payload, len, l->e);
}

static int load_end(struct loader *l)
{
	uint8_t end[16];
	int r = section_read(&l->in, end, sizeof(end), l->e);

	if (r)
		return r;
	if (!l->have_memory || get_le(end, 8) != l->sections || get_le(end + 8, 8) != l->page_bytes)
		return err_set(l->e, -EBADMSG, "the stream is damaged: sections are missing");
	return 0;
}

static int load_section(struct loader *l)
{
	switch (l->in.type) {
	case SECTION_MEMORY:
		return load_layout(l);
	case SECTION_RAM:
		return load_pages(l);
	case SECTION_DEVICE:
		return load_device(l);
	case SECTION_END:
		return load_end(l);
	default:
		return err_set(l->e, -EBADMSG,
			       "the stream has a section of unknown type %" PRIu32
			       "; use the version of godwit that wrote it",
			       l->in.type);
	}
}

static int load_sections(struct loader *l, struct channel *ch)
{
	int r;

	do {
		r = section_begin(&l->in, ch, l->e);
		if (!r)
			r = load_section(l);
		if (!r)
			r = section_end(&l->in, l->e);
		l->sections++;
	} while (!r && l->in.type != SECTION_END);
	return r;
}

static int load_stream(struct vm *vm, int fd, bool ram, struct err *e)
{
	struct channel ch = channel_of(fd);
	struct loader l = { .vm = vm, .e = e, .ram = ram };
	int r = section_read_magic(&ch, e);

	if (!r)
		r = load_sections(&l, &ch);
	if (!r)
		r = devices_load(vm, l.devices.data, l.devices.len, e);
	state_buf_free(&l.devices);
	return r == -ENOTCONN ? -EBADMSG : r;
}

int stream_load(struct vm *vm, int fd, struct err *e)
{
	return load_stream(vm, fd, true, e);
}

int stream_load_devices(struct vm *vm, int fd, struct err *e)
{
	return load_stream(vm, fd, false, e);
}
