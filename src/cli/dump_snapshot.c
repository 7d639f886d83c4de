/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of a snapshot as text: docs/migration-format.md says what is in it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "bits.h"
#include "cleanup.h"
#include "crc32c.h"
#include "dump.h"
#include "file.h"
#include "stream.h"

enum { JSON_BYTES_MAX = 1 << 20, PIECE_BYTES = 1 << 20 };

static int open_file(int dir, const char *name, struct err *e)
{
	int fd = name && !strchr(name, '/') ? openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
					    : (errno = EINVAL, -1);

	return fd < 0 ? err_set(e, -errno, "cannot open %.64s: %s", name ? name : "a file",
				strerror(errno))
		      : fd;
}

static int read_json(json_t **json, int dir, const char *name, struct err *e)
{
	CLEANUP(fd) int fd = open_file(dir, name, e);
	struct stat st;
	json_error_t why;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || st.st_size > JSON_BYTES_MAX)
		return err_set(e, -EBADMSG, "%s is too big", name);
	*json = json_loadfd(fd, JSON_REJECT_DUPLICATES, &why);
	return *json ? 0 : err_set(e, -EBADMSG, "%s: line %d: %s", name, why.line, why.text);
}

/* Names come from the file as well: a terminal gets nothing that it would obey. */
static void print_name(FILE *f, unsigned indent, const char *name)
{
	fprintf(f, "%*s", (int)indent * 2, "");
	for (; *name; name++)
		fputc((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name, f);
}

static void print_json(FILE *f, unsigned indent, const char *name, json_t *json)
{
	const char *key;
	json_t *child;
	size_t i;

	print_name(f, indent, name);
	if (json_is_array(json)) {
		fprintf(f, "[%zu]\n", json_array_size(json));
		json_array_foreach(json, i, child) print_json(f, indent + 1, "", child);
	} else if (json_is_object(json)) {
		fputs(*name ? "\n" : "{ }\n", f);
		json_object_foreach(json, key, child) print_json(f, indent + 1, key, child);
	} else {
		if (*name)
			fputc(' ', f);
		json_dumpf(json, f, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
		fputc('\n', f);
	}
}

/* A hole has no bytes; copies may have made zeros of it. */
static bool is_hole(int fd, uint64_t at, uint64_t end)
{
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);

	return data < 0 ? errno == ENXIO : (uint64_t)data >= end;
}

/* *zero: there is nothing else in it. */
static int sum(int fd, uint64_t at, uint64_t len, uint32_t *crc, bool *zero, struct err *e)
{
	CLEANUP(free) uint8_t *piece = malloc(PIECE_BYTES);
	ssize_t n;

	*crc = 0;
	*zero = true;
	if (!piece)
		return err_set(e, -ENOMEM, "out of memory");
	while (len) {
		n = file_read_at(fd, piece, MIN(len, (uint64_t)PIECE_BYTES), (off_t)at);
		if (n <= 0)
			return err_set(e, n ? -errno : -EBADMSG, "cannot read all of it: %s",
				       n ? strerror(errno) : "it is cut short");
		*crc = crc32c(*crc, piece, (size_t)n);
		*zero = *zero && !*piece && !memcmp(piece, piece + 1, (size_t)n - 1);
		at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* One part of a file against the manifest's word on it: eight hexadecimal digits, or null. */
static int verify(int fd, uint64_t at, uint64_t len, const json_t *expected, struct err *e)
{
	const char *want = json_string_value(expected);
	char got[9];
	uint32_t crc;
	bool zero;
	int r;

	if (json_is_null(expected) && is_hole(fd, at, at + len))
		return 0;
	r = sum(fd, at, len, &crc, &zero, e);
	if (r)
		return r;
	snprintf(got, sizeof(got), "%08" PRIx32, crc);
	if (json_is_null(expected) ? zero : want && !strcmp(want, got))
		return 0;
	return err_set(e, -EBADMSG,
		       "it is damaged: the %" PRIu64 " bytes at %" PRIu64 " have the checksum %s "
		       "and state.json says %.16s",
		       len, at, got, want ? want : "that they are a hole");
}

/* The file that the manifest describes, opened and of the right size. */
static int open_described(int dir, const json_t *file, uint64_t *bytes, struct err *e)
{
	const json_t *size = json_object_get(file, "bytes");
	CLEANUP(fd) int fd = open_file(dir, json_string_value(json_object_get(file, "file")), e);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !json_is_integer(size) ||
	    st.st_size != json_integer_value(size))
		return err_set(e, -EBADMSG, "it has %jd bytes and state.json says another number",
			       (intmax_t)st.st_size);
	*bytes = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

static int print_devices(FILE *f, int dir, const json_t *file, struct err *e)
{
	uint64_t bytes;
	CLEANUP(fd) int fd = open_described(dir, file, &bytes, e);
	int r;

	if (fd < 0)
		return fd;
	r = verify(fd, 0, bytes, json_object_get(file, "crc32c"), e);
	return r ? r : stream_print(f, fd, e);
}

static int print_memory(FILE *f, int dir, const json_t *file, struct err *e)
{
	json_int_t extent = json_integer_value(json_object_get(file, "extent_bytes"));
	const json_t *sums = json_object_get(file, "crc32c"), *one;
	size_t i, holes = 0, n = json_array_size(sums);
	uint64_t bytes, at;
	CLEANUP(fd) int fd = open_described(dir, file, &bytes, e);
	int r;

	if (fd < 0)
		return fd;
	if (extent <= 0 || n != bytes / (uint64_t)extent + (bytes % (uint64_t)extent != 0))
		return err_set(e, -EBADMSG, "state.json has not one checksum for each extent");
	json_array_foreach(sums, i, one)
	{
		at = i * (uint64_t)extent;
		r = verify(fd, at, MIN(bytes - at, (uint64_t)extent), one, e);
		if (r)
			return r;
		holes += json_is_null(one);
	}
	fprintf(f, "memory-ranges bytes %" PRIu64 " extents %zu of them holes %zu\n", bytes, n,
		holes);
	return 0;
}

int dump_snapshot(FILE *f, int dir, struct err *e)
{
	json_auto_t *config = NULL, *state = NULL;
	const json_t *files;
	int r = read_json(&config, dir, "config.json", e);

	if (!r)
		r = read_json(&state, dir, "state.json", e);
	if (r)
		return r;
	if (json_integer_value(json_object_get(state, "format")) != 1)
		return err_set(e, -EBADMSG,
			       "state.json has a format that this godwit does not read; use the "
			       "version that wrote it");
	print_json(f, 0, "config.json", config);
	print_json(f, 0, "state.json", state);
	files = json_object_get(state, "files");
	r = print_devices(f, dir, json_object_get(files, "devices"), e);
	if (r)
		return err_prefix(e, r, "devices");
	r = print_memory(f, dir, json_object_get(files, "memory"), e);
	if (r)
		return err_prefix(e, r, "memory-ranges");
	fputs("checksums right\n", f);
	return 0;
}
