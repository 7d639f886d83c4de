/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit info": what a VM is made of, for people on a page and for scripts as the API has it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cli.h"
#include "client.h"
#include "rundir.h"

enum { COLUMN = 10 };

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void print_text(const char *key, const char *value)
{
	if (value)
		printf("%-*s%s\n", COLUMN, key, value);
}

/* Where the device is in the guest, then what it is on the host. */
static void print_device_head(const json_t *info, const json_t *device)
{
	const char *id = text(device, "id");
	const char *bdf = text(json_object_get(json_object_get(info, "device_tree"), id),
			       "pci_bdf");

	printf("%-*s %-12s ", COLUMN - 1, id ? id : "", bdf ? bdf : "-");
}

static void print_disk(const json_t *disk)
{
	printf(" %s%s\n", text(disk, "path"),
	       json_is_true(json_object_get(disk, "readonly")) ? ", readonly" : "");
}

static void print_net(const json_t *net)
{
	const char *tap = text(net, "tap"), *bridge = text(net, "bridge"), *mac = text(net, "mac");
	const char *backend = text(net, "backend");

	printf(" %s", backend && !strcmp(backend, "Passt") ? "passt" : "tap");
	if (tap)
		printf(" %s", tap);
	if (bridge)
		printf(" in %s", bridge);
	if (mac)
		printf(", mac %s", mac);
	printf("\n");
}

static void print_devices(const json_t *info, const char *section,
			  void (*print)(const json_t *device))
{
	json_t *device;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(info, "config"), section), i, device)
	{
		print_device_head(info, device);
		print(device);
	}
}

/* A serial port or virtio console: its mode, and the file or socket that it is on. */
static void print_port(const json_t *config, const char *key)
{
	const json_t *port = json_object_get(config, key);
	const char *mode = text(port, "mode"), *place = text(port, "file");

	if (!place)
		place = text(port, "socket");
	if (mode && strcmp(mode, "Off"))
		printf("%-*s%s%s%s\n", COLUMN, key, mode, place ? " " : "", place ? place : "");
}

/* The sockets that are there, by what they are for. */
static void print_sockets(const char *name)
{
	static const char *const files[] = { RUNDIR_API_SOCKET, "serial.sock", "console.sock" };
	char dir[128], path[256];

	if (rundir_path(geteuid(), dir, sizeof(dir)))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s/%s", dir, name, files[i]);
		if (!access(path, F_OK))
			print_text("socket", path);
	}
}

static void print_size(const char *before, const json_t *object, const char *key, const char *what)
{
	const json_t *bytes = json_object_get(object, key);

	if (bytes)
		printf("%s%" JSON_INTEGER_FORMAT " MiB%s", before,
		       json_integer_value(bytes) / (json_int_t)MIB, what);
}

static void print_memory(const json_t *memory)
{
	const char *why = text(memory, "why");
	char first[COLUMN + 1];

	snprintf(first, sizeof(first), "%-*s", COLUMN, "memory");
	print_size(first, memory, "given", "");
	if (why)
		print_size(" of ", memory, "asked", "");
	print_size(", ", memory, "resident", " on the host");
	printf("%s%s\n", why ? "; " : "", why ? why : "");
}

static void print_balloon(const json_t *balloon)
{
	const json_t *stats = json_object_get(balloon, "stats");
	char first[COLUMN + 1];

	snprintf(first, sizeof(first), "%-*s", COLUMN, "balloon");
	print_size(first, balloon, "balloon_actual", "");
	print_size(" of ", balloon, "balloon_target", "");
	print_size(", ", balloon, "balloon_touched", " touched again\n");
	if (!json_object_size(stats))
		return;
	snprintf(first, sizeof(first), "%-*s", COLUMN, "in guest");
	print_size(first, stats, "total_memory", " total");
	print_size(", ", stats, "free_memory", " free");
	print_size(", ", stats, "available_memory", " available");
	print_size(", ", stats, "disk_caches", " caches");
	printf("\n");
}

static void print_cpus(const json_t *cpus)
{
	const json_t *limit = json_object_get(cpus, "limit");

	printf("%-*s%" JSON_INTEGER_FORMAT, COLUMN, "vcpus",
	       json_integer_value(json_object_get(cpus, "boot_vcpus")));
	if (limit)
		printf(", %g cores at most", json_number_value(limit));
	printf("\n");
}

static void print_io_error(const json_t *io)
{
	if (io)
		printf("%-*s%s: cannot %s at byte %" JSON_INTEGER_FORMAT ": %s\n", COLUMN, "",
		       text(io, "id"), text(io, "operation"),
		       json_integer_value(json_object_get(io, "offset")), text(io, "reason"));
}

static void print_page(const char *name, const json_t *info, const json_t *balloon)
{
	const json_t *config = json_object_get(info, "config");
	const json_t *payload = json_object_get(config, "payload");

	print_text("name", name);
	print_text("state", text(info, "state"));
	print_io_error(json_object_get(info, "io_error"));
	print_cpus(json_object_get(config, "cpus"));
	print_memory(json_object_get(info, "memory"));
	if (balloon)
		print_balloon(balloon);
	print_text("kernel", text(payload, "kernel"));
	print_text("initramfs", text(payload, "initramfs"));
	print_text("cmdline", text(payload, "cmdline"));
	print_devices(info, "disks", print_disk);
	print_devices(info, "net", print_net);
	print_port(config, "serial");
	print_port(config, "console");
	print_sockets(name);
}

static int print_info(struct client *c, const void *json, struct err *e)
{
	json_auto_t *info = NULL, *balloon = NULL;
	struct err ignored;
	int r = client_get(c, "vm.info", &info, e);

	if (r)
		return r;
	/* While the VM is handed over to another host there is no answer. */
	if (json_object_get(json_object_get(info, "device_tree"), "balloon"))
		client_get(c, "vm.balloon-stats", &balloon, &ignored);
	if (json) {
		if (balloon)
			json_object_set(info, "balloon", balloon);
		json_dumpf(info, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_page(c->name, info, balloon);
	}
	return 0;
}

int info_run(const struct verb *v, const struct verb_args *args)
{
	(void)v;
	return control_each(args, print_info, args->value[0]);
}
