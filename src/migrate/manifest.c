/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bits.h"
#include "cleanup.h"

enum { CRC_DIGITS = 8 };

static size_t count_extents(uint64_t bytes)
{
	return bytes / SNAPSHOT_EXTENT_BYTES + !!(bytes % SNAPSHOT_EXTENT_BYTES);
}

static int out_of_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory for a snapshot");
}

int manifest_new(struct manifest **out, const char *uuid, json_t *disks, json_t *needs,
		 const struct guest_mem *mem, struct err *e)
{
	struct manifest *m = calloc(1, sizeof(*m));

	if (!m)
		return out_of_memory(e);
	snprintf(m->uuid, sizeof(m->uuid), "%s", uuid);
	m->disks = json_incref(disks);
	m->needs = json_incref(needs);
	m->nregions = mem->nregions;
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct guest_mem_region *r = &mem->region[i];

		m->region[i] = (struct manifest_region){ r->base, r->size_bytes, r->fd_offset };
		m->memory_bytes = MAX(m->memory_bytes, r->fd_offset + r->size_bytes);
	}
	m->nextents = count_extents(m->memory_bytes);
	m->extent = calloc(m->nextents, sizeof(*m->extent));
	if (!m->extent) {
		manifest_free(m);
		return out_of_memory(e);
	}
	*out = m;
	return 0;
}

void manifest_free(struct manifest *m)
{
	if (!m)
		return;
	json_decref(m->disks);
	json_decref(m->needs);
	free(m->extent);
	free(m);
}

static json_t *write_crc(uint32_t crc)
{
	char text[CRC_DIGITS + 1];

	snprintf(text, sizeof(text), "%08x", crc);
	return json_string(text);
}

static json_t *write_extents(const struct manifest *m)
{
	json_t *extents = json_array();

	for (size_t i = 0; i < m->nextents; i++)
		json_array_append_new(extents, m->extent[i].zero ? json_null()
								 : write_crc(m->extent[i].crc));
	return extents;
}

static json_t *write_regions(const struct manifest *m)
{
	json_t *regions = json_array();

	for (unsigned i = 0; i < m->nregions; i++)
		json_array_append_new(regions, json_pack("{s:I, s:I, s:I}", "base",
							 (json_int_t)m->region[i].base, "bytes",
							 (json_int_t)m->region[i].bytes, "offset",
							 (json_int_t)m->region[i].offset));
	return regions;
}

json_t *manifest_write(const struct manifest *m)
{
	time_t now = time(NULL);
	char created[32];
	struct tm utc;

	strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
	return json_pack("{s:i, s:s, s:s, s:s, s:{s:{s:s, s:I, s:o}, s:{s:s, s:I, s:i, s:o}}, "
			 "s:o, s:O, s:O*}",
			 "format", SNAPSHOT_FORMAT, "godwit", GODWIT_VERSION, "vm", m->uuid,
			 "created", created, "files", "devices", "file", SNAPSHOT_DEVICES, "bytes",
			 (json_int_t)m->devices_bytes, "crc32c", write_crc(m->devices_crc),
			 "memory", "file", SNAPSHOT_MEMORY, "bytes", (json_int_t)m->memory_bytes,
			 "extent_bytes", SNAPSHOT_EXTENT_BYTES, "crc32c", write_extents(m),
			 "regions", write_regions(m), "disks", m->disks, "needs", m->needs);
}

static int damaged(struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, SNAPSHOT_STATE " is damaged: %s", what);
}

static bool read_number(const json_t *object, const char *key, uint64_t *n)
{
	const json_t *v = json_object_get(object, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*n = (uint64_t)json_integer_value(v);
	return true;
}

static bool read_crc(const json_t *v, uint32_t *crc)
{
	const char *text = json_string_value(v);

	if (!text || strlen(text) != CRC_DIGITS || strspn(text, "0123456789abcdef") != CRC_DIGITS)
		return false;
	*crc = (uint32_t)strtoul(text, NULL, 16);
	return true;
}

/* Files have one name each, so that none of another directory is read. */
static bool has_file(const json_t *object, const char *name)
{
	const char *file = json_string_value(json_object_get(object, "file"));

	return file && !strcmp(file, name);
}

static int read_extents(struct manifest *m, const json_t *in, struct err *e)
{
	const json_t *list = json_object_get(in, "crc32c"), *each;
	size_t i;

	m->nextents = count_extents(m->memory_bytes);
	if (!json_is_array(list) || json_array_size(list) != m->nextents)
		return damaged(e, "it has not one checksum for each extent of memory");
	m->extent = calloc(m->nextents, sizeof(*m->extent));
	if (!m->extent)
		return out_of_memory(e);
	json_array_foreach(list, i, each)
	{
		m->extent[i].zero = json_is_null(each);
		if (!m->extent[i].zero && !read_crc(each, &m->extent[i].crc))
			return damaged(e, "a checksum of memory is none");
	}
	return 0;
}

static int read_files(struct manifest *m, const json_t *in, struct err *e)
{
	const json_t *devices = json_object_get(in, "devices");
	const json_t *memory = json_object_get(in, "memory");
	uint64_t extent_bytes;

	if (!has_file(devices, SNAPSHOT_DEVICES) ||
	    !read_number(devices, "bytes", &m->devices_bytes) ||
	    !read_crc(json_object_get(devices, "crc32c"), &m->devices_crc))
		return damaged(e, "it does not describe the file \"" SNAPSHOT_DEVICES "\"");
	if (!has_file(memory, SNAPSHOT_MEMORY) || !read_number(memory, "bytes", &m->memory_bytes) ||
	    !m->memory_bytes || m->memory_bytes % GUEST_PAGE_BYTES ||
	    !read_number(memory, "extent_bytes", &extent_bytes) ||
	    extent_bytes != SNAPSHOT_EXTENT_BYTES)
		return damaged(e, "it does not describe the file \"" SNAPSHOT_MEMORY "\"");
	return read_extents(m, memory, e);
}

static int read_regions(struct manifest *m, const json_t *in, struct err *e)
{
	const json_t *each;
	size_t i;

	if (!json_array_size(in) || json_array_size(in) > GUEST_MEM_REGIONS)
		return damaged(e, "it has no regions of memory, or too many");
	json_array_foreach(in, i, each)
	{
		struct manifest_region *r = &m->region[i];

		if (!read_number(each, "base", &r->base) ||
		    !read_number(each, "bytes", &r->bytes) ||
		    !read_number(each, "offset", &r->offset) || r->offset > m->memory_bytes ||
		    r->bytes > m->memory_bytes - r->offset)
			return damaged(e, "a region is not within its memory");
		m->nregions++;
	}
	return 0;
}

static int read_disks(struct manifest *m, json_t *in, struct err *e)
{
	const json_t *each;
	size_t i;

	if (!json_is_array(in))
		return damaged(e, "it has no list of disks");
	json_array_foreach(in, i, each)
	{
		const json_t *generation = json_object_get(each, "generation");

		if (!json_is_string(json_object_get(each, "id")) ||
		    !json_is_string(json_object_get(each, "path")) ||
		    (generation && !json_is_integer(generation)))
			return damaged(e, "a disk has no id, no path, or a strange generation");
	}
	m->disks = json_incref(in);
	return 0;
}

static int read_needs(struct manifest *m, json_t *in, struct err *e)
{
	if (in && !json_is_object(in))
		return damaged(e, "what its guest needs is no object");
	m->needs = json_incref(in);
	return 0;
}

static int read_all(struct manifest *m, const json_t *in, struct err *e)
{
	const char *uuid = json_string_value(json_object_get(in, "vm"));
	uint64_t format;
	int r;

	if (!read_number(in, "format", &format))
		return damaged(e, "it names no format");
	if (format != SNAPSHOT_FORMAT)
		return err_set(e, -EBADMSG,
			       "the snapshot has format %llu and this godwit reads %d; use the "
			       "version that wrote it",
			       (unsigned long long)format, SNAPSHOT_FORMAT);
	if (!uuid || strlen(uuid) != sizeof(m->uuid) - 1 ||
	    strspn(uuid, "0123456789abcdef-") != sizeof(m->uuid) - 1)
		return damaged(e, "it names no VM");
	memcpy(m->uuid, uuid, sizeof(m->uuid));
	r = read_files(m, json_object_get(in, "files"), e);
	if (!r)
		r = read_regions(m, json_object_get(in, "regions"), e);
	if (!r)
		r = read_disks(m, json_object_get(in, "disks"), e);
	return r ? r : read_needs(m, json_object_get(in, "needs"), e);
}

int manifest_read(struct manifest **out, const json_t *in, struct err *e)
{
	struct manifest *m = calloc(1, sizeof(*m));
	int r = m ? read_all(m, in, e) : out_of_memory(e);

	if (r)
		manifest_free(m);
	else
		*out = m;
	return r;
}

int manifest_check_memory(const struct manifest *m, const struct guest_mem *mem, struct err *e)
{
	bool same = m->nregions == mem->nregions;

	for (unsigned i = 0; same && i < m->nregions; i++)
		same = m->region[i].base == mem->region[i].base &&
		       m->region[i].bytes == mem->region[i].size_bytes &&
		       m->region[i].offset == mem->region[i].fd_offset;
	return same ? 0
		    : err_set(e, -EBADMSG,
			      "the snapshot's memory is laid out in another way than this "
			      "version's; use the version that wrote it");
}
