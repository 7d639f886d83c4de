/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of toys: what comes back, and manifests that nobody should have written. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "devices.h"
#include "manifest.h"
#include "snapshot.h"
#include "toy_vm.h"

static const char uuid[] = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

static char dir[64];

static void make_dir(void)
{
	strcpy(dir, "/tmp/test_snapshot.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
	static const char *const names[] = { SNAPSHOT_CONFIG, SNAPSHOT_DEVICES, SNAPSHOT_MEMORY,
					     SNAPSHOT_STATE };
	char path[128];

	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else is left in it */
}

static int save(struct rig *rig, bool cancel, struct err *e)
{
	const atomic_bool given_up = cancel;
	json_t *disks = json_pack("[{s:s, s:s, s:i}]", "id", "d", "path", "p", "generation", 3);
	struct state_buf devices = { 0 };
	const struct snapshot_source from = { .uuid = uuid,
					      .config = "{\"name\": \"toy\"}",
					      .disks = disks,
					      .mem = rig->vm.mem,
					      .devices = &devices,
					      .cancel = &given_up };
	int r;

	ck_assert_int_eq(devices_save(&rig->vm, NULL, &devices, e), 0);
	r = snapshot_save(dir, &from, e);
	state_buf_free(&devices);
	json_decref(disks);
	return r;
}

static void write_pages(struct rig *rig)
{
	memset(page(rig, 3), 3, GUEST_PAGE_BYTES);
	memset(page(rig, 4), 4, 10);
	memset(page(rig, RAM_BYTES / GUEST_PAGE_BYTES - 1), 5, GUEST_PAGE_BYTES);
	rig->toy[1]->s.level = 42;
}

/* Saved from private or shared memory and loaded into the other. */
START_TEST(test_comes_back)
{
	struct rig a, b;
	struct snapshot s;
	struct err e;

	make_dir();
	rig_new(&a, _i);
	write_pages(&a);
	ck_assert_msg(save(&a, false, &e) == 0, "%s", e.text);
	ck_assert_int_eq(save(&a, false, &e), -EEXIST);
	rig_new(&b, !_i);
	ck_assert_msg(snapshot_open(&s, dir, &e) == 0, "%s", e.text);
	ck_assert_int_eq(snapshot_check_size(&s, RAM_BYTES, &e), 0);
	ck_assert_int_eq(snapshot_check_size(&s, RAM_BYTES + GUEST_PAGE_BYTES, &e), -EBADMSG);
	ck_assert_msg(snapshot_load_memory(&s, b.vm.mem, &e) == 0, "%s", e.text);
	ck_assert_msg(snapshot_load_devices(&s, &b.vm, &e) == 0, "%s", e.text);
	ck_assert(!memcmp(page(&a, 0), page(&b, 0), RAM_BYTES));
	ck_assert_uint_eq(b.toy[1]->s.level, 42);
	ck_assert_str_eq(json_string_value(json_object_get(s.config, "name")), "toy");
	ck_assert_int_eq(
		json_integer_value(json_object_get(json_array_get(s.disks, 0), "generation")), 3);
	snapshot_close(&s);
	rig_free(&a);
	rig_free(&b);
	remove_dir();
}
END_TEST

START_TEST(test_given_up)
{
	struct rig a;
	struct err e;

	make_dir();
	rig_new(&a, false);
	write_pages(&a);
	ck_assert_int_eq(save(&a, true, &e), -ECANCELED);
	ck_assert_int_eq(rmdir(dir), 0); /* it was there, and is empty */
	ck_assert_int_eq(save(&a, true, &e), -ECANCELED);
	ck_assert_int_eq(access(dir, F_OK), -1); /* it was not, and is not */
	rig_free(&a);
}
END_TEST

/* A memory of three extents, of which only the one in the middle is not zero. */
static json_t *manifest(void)
{
	return json_pack("{s:i, s:s, s:s, s:s, s:{s:{s:s, s:i, s:s}, s:{s:s, s:i, s:i, s:[nsn]}}, "
			 "s:[{s:i, s:i, s:i}], s:[]}",
			 "format", 1, "godwit", "0", "vm", uuid, "created", "now", "files",
			 "devices", "file", SNAPSHOT_DEVICES, "bytes", 7, "crc32c", "0123abcd",
			 "memory", "file", SNAPSHOT_MEMORY, "bytes", 3 * SNAPSHOT_EXTENT_BYTES,
			 "extent_bytes", SNAPSHOT_EXTENT_BYTES, "crc32c", "ffffffff", "regions",
			 "base", 0, "bytes", 3 * SNAPSHOT_EXTENT_BYTES, "offset", 0, "disks");
}

START_TEST(test_manifest_is_read)
{
	json_t *in = manifest();
	struct manifest *m;
	struct err e;

	ck_assert_msg(manifest_read(&m, in, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(m->nextents, 3);
	ck_assert(m->extent[0].zero && !m->extent[1].zero && m->extent[2].zero);
	ck_assert_uint_eq(m->extent[1].crc, 0xffffffff);
	ck_assert_uint_eq(m->devices_crc, 0x0123abcd);
	ck_assert_uint_eq(m->nregions, 1);
	manifest_free(m);
	json_decref(in);
}
END_TEST

/* Where in the manifest, as JSON in place of what is there; "": it is missing. */
static const struct {
	const char *path[4];
	const char *value;
} hostile[] = {
	{ { "format" }, "2" },
	{ { "format" }, "\"1\"" },
	{ { "format" }, "" },
	{ { "vm" }, "\"\"" },
	{ { "vm" }, "\"6ba7b810-9dad-41d1-80b4-00c04fd430c8x\"" },
	{ { "vm" }, "\"../../../../../../../../../../../etc\"" },
	{ { "files" }, "[]" },
	{ { "files" }, "" },
	{ { "files", "devices", "file" }, "\"../devices\"" },
	{ { "files", "devices", "bytes" }, "-1" },
	{ { "files", "devices", "bytes" }, "1.5" },
	{ { "files", "devices", "crc32c" }, "\"0123abc\"" },
	{ { "files", "devices", "crc32c" }, "\"-123abcd\"" },
	{ { "files", "devices", "crc32c" }, "null" },
	{ { "files", "memory", "file" }, "\"/dev/mem\"" },
	{ { "files", "memory", "bytes" }, "0" },
	{ { "files", "memory", "bytes" }, "201326593" },
	{ { "files", "memory", "bytes" }, "9223372036854771712" },
	{ { "files", "memory", "bytes" }, "134217728" },
	{ { "files", "memory", "extent_bytes" }, "4096" },
	{ { "files", "memory", "extent_bytes" }, "0" },
	{ { "files", "memory", "crc32c" }, "[]" },
	{ { "files", "memory", "crc32c" }, "[null, null, null, null]" },
	{ { "files", "memory", "crc32c" }, "[null, null, 7]" },
	{ { "files", "memory", "crc32c" }, "{\"0\": null}" },
	{ { "regions" }, "[]" },
	{ { "regions" }, "{}" },
	{ { "regions" }, "[{\"base\": 0, \"bytes\": 4096}]" },
	{ { "regions" }, "[{\"base\": 0, \"bytes\": 4096, \"offset\": 201326593}]" },
	{ { "regions" }, "[{\"base\": 0, \"bytes\": 201326592, \"offset\": 4096}]" },
	{ { "regions" }, "[{\"base\": -1, \"bytes\": 4096, \"offset\": 0}]" },
	{ { "regions" }, "[[], [], []]" },
	{ { "disks" }, "" },
	{ { "disks" }, "{}" },
	{ { "disks" }, "[7]" },
	{ { "disks" }, "[{\"id\": \"d\"}]" },
	{ { "disks" }, "[{\"id\": \"d\", \"path\": \"p\", \"generation\": \"3\"}]" },
};

START_TEST(test_manifest_is_refused)
{
	json_t *in = manifest(), *at = in;
	const char *const *key = hostile[_i].path;
	struct manifest *m = NULL;
	struct err e = { "" };

	for (; key[1]; key++)
		at = json_object_get(at, *key);
	ck_assert(json_object_get(at, *key));
	json_object_del(at, *key);
	if (*hostile[_i].value)
		json_object_set_new(at, *key, json_loads(hostile[_i].value, JSON_DECODE_ANY, NULL));
	ck_assert_int_eq(manifest_read(&m, in, &e), -EBADMSG);
	ck_assert_ptr_null(m);
	ck_assert_uint_gt(strlen(e.text), 20);
	json_decref(in);
}
END_TEST

/* Laid out as the manifest says, or not loaded. */
START_TEST(test_other_memory_is_refused)
{
	json_t *in = manifest();
	struct manifest *m;
	struct rig rig;
	struct err e;

	empty_new(&rig, false, 3 * (uint64_t)SNAPSHOT_EXTENT_BYTES);
	ck_assert_int_eq(manifest_read(&m, in, &e), 0);
	ck_assert_int_eq(manifest_check_memory(m, rig.vm.mem, &e), 0);
	m->region[0].offset = GUEST_PAGE_BYTES;
	ck_assert_int_eq(manifest_check_memory(m, rig.vm.mem, &e), -EBADMSG);
	manifest_free(m);
	json_decref(in);
	rig_free(&rig);
}
END_TEST

static Suite *snapshot_suite(void)
{
	Suite *s = suite_create("snapshot");
	TCase *t = tcase_create("snapshot");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_comes_back, 0, 2);
	tcase_add_test(t, test_given_up);
	tcase_add_test(t, test_manifest_is_read);
	tcase_add_loop_test(t, test_manifest_is_refused, 0,
			    (int)(sizeof(hostile) / sizeof(*hostile)));
	tcase_add_test(t, test_other_memory_is_refused);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(snapshot_suite)
