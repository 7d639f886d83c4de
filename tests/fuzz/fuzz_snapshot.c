/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory that says it is a snapshot, opened, judged and loaded into a small VM. The input is a
 * list of changes to a good one, u8 kind, u16 length and payload each: a file's bytes, what is laid
 * over a JSON file, or bytes of the files that have checksums, which are made right.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "classes.h"
#include "cleanup.h"
#include "cpu_compat.h"
#include "crc32c.h"
#include "devices.h"
#include "log.h"
#include "manifest.h"
#include "snapshot.h"
#include "state_codec.h"
#include "vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM_BYTES = 64 << 10, FILES = 4, PATH_BYTES = 64 };

/* The first of each group are FILES, in the order of names[]. */
enum kind {
	WHOLE = 0, /* its bytes */
	MISSING = 4,
	LAID_OVER = 8, /* of config.json and state.json: a JSON object */
	CHECKED = 12, /* of devices: its bytes; of memory-ranges: u16 offset, bytes */
	KINDS = 16,
};
enum { CONFIG, STATE, DEVICES, MEMORY };
static const char *const names[FILES] = { SNAPSHOT_CONFIG, SNAPSHOT_STATE, SNAPSHOT_DEVICES,
					  SNAPSHOT_MEMORY };

static char root[] = "/dev/shm/fuzz_snapshot.XXXXXX", good_dir[PATH_BYTES], dir[PATH_BYTES];

struct fuzz {
	json_t *json[2]; /* of CONFIG and STATE */
	bool replaced[FILES]; /* as it is: nothing is made right */
};

static void require(bool what)
{
	if (!what)
		abort();
}

/* A good one */

static struct vm vm;

static void make_vm(void)
{
	static const struct device_class *const classes[] = { &cmos_class, &i8042_class,
							      &pvpanic_class };
	const struct guest_mem_config memory = { .size_bytes = RAM_BYTES };
	struct loop *loop;
	struct device *dev;
	struct err e;

	require(!loop_new(&loop, &e) && !vm_init(&vm, -1, loop, 0, &e));
	require(!guest_mem_new(&vm.mem, &memory, &e));
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		require(!device_new(&dev, classes[i], classes[i]->kind, &vm, NULL, &e));
}

static void remove_all(void)
{
	char command[PATH_BYTES];

	snprintf(command, sizeof(command), "rm -r %s", root);
	require(!system(command));
}

static void save_good(void)
{
	const atomic_bool cancel = false;
	json_auto_t *disks = json_pack("[{s:s, s:s, s:i}]", "id", "disk0", "path", "/web.img",
				       "generation", 3);
	json_auto_t *needs =
		json_pack("{s:{s:s, s:i, s:{}, s:i, s:i, s:b, s:b}, s:{s:i, s:b, s:i}, s:[s]}",
			  "cpu", "vendor", "AuthenticAMD", "phys_bits", 40, "features", "vcpus", 2,
			  "tsc_khz", 2000000, "x", 1, "y", 0, "memory", "bytes", 1 << 20, "shared",
			  0, "page", 4096, "msrs", "0x10");
	struct state_buf devices = { 0 };
	struct snapshot_source from = { .uuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
					.config = "{\"payload\": {\"kernel\": \"k\"}, \"memory\": "
						  "{\"size\": 65536}}",
					.disks = disks,
					.needs = needs,
					.mem = vm.mem,
					.devices = &devices,
					.cancel = &cancel };
	struct err e;

	require(!devices_save(&vm, NULL, &devices, &e));
	require(!guest_mem_write(vm.mem, 0x3000, "once upon a time", 16));
	require(!snapshot_save(good_dir, &from, &e));
	state_buf_free(&devices);
}

static void make_good(void)
{
	log_set_level(LOG_ERROR);
	require(mkdtemp(root) && !atexit(remove_all));
	snprintf(good_dir, sizeof(good_dir), "%s/good", root);
	snprintf(dir, sizeof(dir), "%s/changed", root);
	require(!mkdir(dir, 0700));
	make_vm();
	save_good();
}

/* The changes */

static void path_of(char *path, const char *in, unsigned file)
{
	require(snprintf(path, PATH_BYTES, "%s/%s", in, names[file]) < PATH_BYTES);
}

static int open_changed(unsigned file)
{
	char path[PATH_BYTES];
	int fd;

	path_of(path, dir, file);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	require(fd >= 0);
	return fd;
}

static void write_file(unsigned file, const void *data, size_t len)
{
	CLEANUP(fd) int fd = open_changed(file);

	require(!ftruncate(fd, 0) && write(fd, data, len) == (ssize_t)len);
}

static void copy_good(struct fuzz *f)
{
	static uint8_t bytes[RAM_BYTES];
	char path[PATH_BYTES];

	for (unsigned file = 0; file < FILES; file++) {
		CLEANUP(fd) int fd = -1;
		ssize_t n;

		path_of(path, good_dir, file);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));
		require(n >= 0);
		write_file(file, bytes, (size_t)n);
		if (file < ARRAY_SIZE(f->json))
			f->json[file] = json_loadb((const char *)bytes, (size_t)n, 0, NULL);
	}
}

static json_t *file_of(const struct fuzz *f, const char *name)
{
	return json_object_get(json_object_get(f->json[STATE], "files"), name);
}

static json_t *sum_of(const uint8_t *data, size_t len)
{
	char text[9];

	snprintf(text, sizeof(text), "%08x", crc32c(0, data, len));
	return json_string(text);
}

static void change_devices(const struct fuzz *f, const uint8_t *data, size_t len)
{
	json_t *devices = file_of(f, "devices");

	write_file(DEVICES, data, len);
	json_object_set_new(devices, "bytes", json_integer((json_int_t)len));
	json_object_set_new(devices, "crc32c", sum_of(data, len));
}

static void change_memory(const struct fuzz *f, const uint8_t *data, size_t len)
{
	static uint8_t all[RAM_BYTES];
	CLEANUP(fd) int fd = open_changed(MEMORY);
	off_t at = len < 2 ? 0 : (off_t)get_le(data, 2);

	if (len < 2 || pwrite(fd, data + 2, len - 2, at) < 0 || ftruncate(fd, RAM_BYTES))
		return;
	require(pread(fd, all, RAM_BYTES, 0) == RAM_BYTES);
	json_object_set_new(file_of(f, "memory"), "crc32c",
			    json_pack("[o]", sum_of(all, RAM_BYTES)));
}

static void lay_over(json_t *json, const uint8_t *data, size_t len)
{
	json_auto_t *change = json_loadb((const char *)data, len, 0, NULL);

	if (json_is_object(change))
		json_object_update_recursive(json, change);
}

static void change(struct fuzz *f, unsigned kind, const uint8_t *data, size_t len)
{
	unsigned file = kind % FILES;
	char path[PATH_BYTES];

	switch (kind - file) {
	case WHOLE:
		write_file(file, data, len);
		f->replaced[file] = true;
		break;
	case MISSING:
		path_of(path, dir, file);
		unlink(path);
		f->replaced[file] = true;
		break;
	case LAID_OVER:
		lay_over(f->json[file % ARRAY_SIZE(f->json)], data, len);
		break;
	default:
		if (file & 1)
			change_memory(f, data, len);
		else
			change_devices(f, data, len);
	}
}

static void write_json(const struct fuzz *f)
{
	for (unsigned file = 0; file < ARRAY_SIZE(f->json); file++) {
		CLEANUP(free) char *text = json_dumps(f->json[file], 0);

		require(text);
		if (!f->replaced[file])
			write_file(file, text, strlen(text));
	}
}

/* What is done with it */

static void judge(const struct snapshot *s)
{
	const struct cpu_compat_host host = { .phys_bits = 40, .max_vcpus = 8, .tsc_khz = 1 };
	json_auto_t *blockers = json_array();
	struct config c;
	struct err e;

	if (s->needs)
		require(!cpu_compat_check(s->needs, &host, blockers) == !json_array_size(blockers));
	if (config_relocate(s->config, NULL, &e) || config_load(&c, s->config, &e))
		return;
	snapshot_check_size(s, guest_mem_file_bytes(c.memory.size, c.memory.hotplug_size), &e);
	config_free(&c);
}

static void load(void)
{
	struct device *dev;
	struct snapshot s;
	struct err e;

	list_for_each (dev, &vm.devices, node)
		device_reset(dev);
	if (snapshot_open(&s, dir, &e)) {
		json_auto_t *sentence = json_string(e.text);

		require(sentence);
	} else {
		judge(&s);
		if (!snapshot_load_memory(&s, vm.mem, &e) && !snapshot_load_devices(&s, &vm, &e)) {
			struct state_buf again = { 0 };

			require(!devices_save(&vm, NULL, &again, &e));
			state_buf_free(&again);
		}
	}
	snapshot_close(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_view v = { data, size };
	struct fuzz f = { 0 };
	uint64_t kind, len;

	if (!vm.mem)
		make_good();
	copy_good(&f);
	while (state_view_take_le(&v, 1, &kind) && state_view_take_le(&v, 2, &len)) {
		len = MIN(len, v.len);
		state_view_take(&v, len, &data);
		change(&f, kind % KINDS, data, len);
	}
	write_json(&f);
	load();
	for (unsigned i = 0; i < ARRAY_SIZE(f.json); i++)
		json_decref(f.json[i]);
	return 0;
}
