/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bits.h"
#include "cleanup.h"
#include "guest_mem.h"
#include "section.h"
#include "state_codec.h"
#include "stream.h"
#include "vm.h"

/* A device of this VM and the state that the stream has for it. */
struct incoming {
	struct device *dev;
	void *state;
	bool seen;
};

struct loader {
	struct vm *vm;
	struct err *e;
	struct section in;
	uint64_t sections, page_bytes;
	bool have_memory;
	struct incoming *incoming; /* in order of vm->devices */
	size_t ndevices;
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
	for (unsigned i = 0; i < m->nregions; i++)
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

static struct incoming *find_device(struct loader *l, const char *id)
{
	for (size_t i = 0; i < l->ndevices; i++)
		if (!strcmp(l->incoming[i].dev->id, id))
			return &l->incoming[i];
	return NULL;
}

static int decode_state(struct loader *l, struct incoming *in, const struct state_view *record)
{
	const struct state_desc *desc = in->dev->class->state;

	if (!desc)
		return record->len ? err_set(l->e, -EBADMSG, "%s: unexpected state", in->dev->id)
				   : 0;
	in->state = malloc(desc->size);
	if (!in->state)
		return err_set(l->e, -ENOMEM, "%s: out of memory for its state", in->dev->id);
	memcpy(in->state, device_state(in->dev), desc->size);
	return state_load(desc, in->state, in->dev->id, record->data, record->len, l->e);
}

static int decode_device(struct loader *l, struct state_view v)
{
	char kind[STATE_NAME_MAX + 1], id[STATE_NAME_MAX + 1];
	struct incoming *in;

	if (!state_view_take_name(&v, kind) || !state_view_take_name(&v, id))
		return err_set(l->e, -EBADMSG, "the stream is damaged: a device has no name");
	in = find_device(l, id);
	if (!in)
		return err_set(l->e, -EBADMSG,
			       "the stream has a device \"%s\" (%s) that this VM lacks; build it "
			       "from the configuration that was saved",
			       id, kind);
	if (strcmp(in->dev->class->kind, kind))
		return err_set(l->e, -EBADMSG, "%s: is a %s in the stream and a %s here", id, kind,
			       in->dev->class->kind);
	if (in->seen)
		return err_set(l->e, -EBADMSG, "%s: comes twice in the stream", id);
	in->seen = true;
	return decode_state(l, in, &v);
}

static int load_device(struct loader *l)
{
	CLEANUP(free) uint8_t *payload = NULL;
	size_t len = l->in.left;
	int r;

	if (len > SECTION_RECORD_MAX)
		return err_set(l->e, -EBADMSG, "the stream is damaged: a device is too big");
	payload = malloc(len + 1);
	if (!payload)
		return err_set(l->e, -ENOMEM, "out of memory for the state of a device");
	r = section_read(&l->in, payload, len, l->e);
	if (!r)
		r = section_end(&l->in, l->e);
	return r ? r : decode_device(l, (struct state_view){ payload, len });
}

static int load_end(struct loader *l)
{
	uint8_t end[16];
	int r = section_read(&l->in, end, sizeof(end), l->e);

	if (r)
		return r;
	if (!l->have_memory || get_le(end, 8) != l->sections || get_le(end + 8, 8) != l->page_bytes)
		return err_set(l->e, -EBADMSG, "the stream is damaged: sections are missing");
	for (size_t i = 0; i < l->ndevices; i++)
		if (!l->incoming[i].seen)
			return err_set(l->e, -EBADMSG,
				       "the stream lacks the device \"%s\"; build the VM from the "
				       "configuration that was saved",
				       l->incoming[i].dev->id);
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

static int load_sections(struct loader *l, int fd)
{
	int r;

	do {
		r = section_begin(&l->in, fd, l->e);
		if (!r)
			r = load_section(l);
		if (!r)
			r = section_end(&l->in, l->e);
		l->sections++;
	} while (!r && l->in.type != SECTION_END);
	return r;
}

static int install(struct loader *l)
{
	int r = 0;

	for (size_t i = 0; i < l->ndevices; i++) {
		struct device *dev = l->incoming[i].dev;

		if (l->incoming[i].state)
			memcpy(device_state(dev), l->incoming[i].state, dev->class->state->size);
	}
	for (size_t i = 0; !r && i < l->ndevices; i++)
		r = device_loaded(l->incoming[i].dev, l->e);
	return r;
}

static int list_devices(struct loader *l)
{
	struct device *dev;
	size_t n = 0;

	list_for_each (dev, &l->vm->devices, node)
		n++;
	l->incoming = calloc(n + 1, sizeof(*l->incoming));
	if (!l->incoming)
		return err_set(l->e, -ENOMEM, "out of memory");
	list_for_each (dev, &l->vm->devices, node) {
		assert(dev->phase == DEVICE_STOPPED);
		l->incoming[l->ndevices++].dev = dev;
	}
	return 0;
}

int stream_load(struct vm *vm, int fd, struct err *e)
{
	struct loader l = { .vm = vm, .e = e };
	int r = list_devices(&l);

	if (!r)
		r = section_read_magic(fd, e);
	if (!r)
		r = load_sections(&l, fd);
	if (!r)
		r = install(&l);
	for (size_t i = 0; i < l.ndevices; i++)
		free(l.incoming[i].state);
	free(l.incoming);
	return r;
}
