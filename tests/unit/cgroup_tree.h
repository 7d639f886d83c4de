/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that stands for /, with a cgroup in it of which the process TREE_PID may be. */
#ifndef CGROUP_TREE_H
#define CGROUP_TREE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check_main.h"
#include "cleanup.h"

enum { TREE_PID = 77 };

static char tree[64];

static void tree_put(const char *name, const char *fmt, ...)
{
	CLEANUP(file) FILE *f = NULL;
	char path[512];
	va_list ap;

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	for (char *c = path + strlen(tree) + 1; (c = strchr(c, '/')); *c++ = '/') {
		*c = '\0';
		mkdir(path, 0755);
	}
	f = fopen(path, "we");
	ck_assert_msg(f != NULL, "%s", path);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
}

static inline void tree_has(const char *name, const char *wanted)
{
	CLEANUP(file) FILE *f = NULL;
	char path[512], text[64] = "";

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	f = fopen(path, "re");
	ck_assert_msg(f && fgets(text, sizeof(text), f), "%s", path);
	ck_assert_str_eq(text, wanted);
}

/* cgroup: as /proc/PID/cgroup has it; kind: of the mount at /cg. */
static inline void tree_new(const char *cgroup, const char *kind)
{
	strcpy(tree, "/tmp/test_cgroup.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(tree));
	tree_put("proc/77/cgroup", "%s", cgroup);
	tree_put("proc/self/mountinfo",
		 "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
		 "40 22 0:31 / /cg rw shared:9 - %s\n",
		 kind);
	tree_put("cg/vm/cgroup.procs", "77\n");
}

static void tree_remove(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r --one-file-system %s", tree);
	ck_assert_int_eq(system(command), 0);
}

#endif
