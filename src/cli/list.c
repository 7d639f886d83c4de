/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit list": the VMs of this user that run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cli.h"
#include "client.h"
#include "rundir.h"

enum { ANSWER_LIMIT_MS = 1000 }; /* one that hangs does not hide the others */

/* One that has a name, and whose VM is still to come; NULL: it is none. */
static json_t *waiting(struct client *c)
{
	json_auto_t *progress = NULL;
	struct err e;

	return client_get(c, "vm.migration-progress", &progress, &e)
		       ? NULL
		       : json_pack("{s:s}", "state", "Waiting");
}

static void add_vm(void *arg, const char *name, int dir, pid_t pid)
{
	json_t *list = arg, *info = NULL, *config, *vm;
	struct client c;
	struct err e;

	(void)dir;
	if (!client_open(&c, name, &e)) {
		client_set_limit(&c, ANSWER_LIMIT_MS);
		if (client_get(&c, "vm.info", &info, &e))
			info = waiting(&c);
	}
	client_close(&c);
	config = json_object_get(info, "config");
	vm = json_pack("{s:s, s:i, s:O?, s:O?, s:O?}", "name", name, "pid", (int)pid, "state",
		       json_object_get(info, "state"), "vcpus",
		       json_object_get(json_object_get(config, "cpus"), "boot_vcpus"), "memory",
		       json_object_get(info, "memory_actual_size"));
	json_array_append_new(list, vm);
	json_decref(info);
}

static const char *name_of(const json_t *list, size_t i)
{
	return json_string_value(json_object_get(json_array_get(list, i), "name"));
}

static void sort_by_name(json_t *list)
{
	for (size_t i = 1; i < json_array_size(list); i++) {
		size_t at = i;
		json_t *vm = json_incref(json_array_get(list, i));

		while (at && strcmp(name_of(list, at - 1), name_of(list, i)) > 0)
			at--;
		json_array_remove(list, i);
		json_array_insert_new(list, at, vm);
	}
}

static void print_table(const json_t *list)
{
	int width = 4;
	json_t *vm;
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		width = MAX(width, (int)strlen(name_of(list, i)));
	printf("%-*s  %-8s %5s %9s %8s\n", width, "NAME", "STATE", "VCPUS", "MEMORY", "PID");
	json_array_foreach(list, i, vm)
	{
		const char *state = json_string_value(json_object_get(vm, "state"));

		printf("%-*s  %-8s %5lld %5lld MiB %8lld\n", width, name_of(list, i),
		       state ? state : "?", json_integer_value(json_object_get(vm, "vcpus")),
		       json_integer_value(json_object_get(vm, "memory")) / (json_int_t)MIB,
		       json_integer_value(json_object_get(vm, "pid")));
	}
}

int list_run(const struct verb *v, const struct verb_args *args)
{
	json_t *list = json_array();

	(void)v;
	rundir_each(geteuid(), add_vm, list);
	sort_by_name(list);
	if (args->value[0]) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_table(list);
	}
	json_decref(list);
	return CLI_OK;
}
