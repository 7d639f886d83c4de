/* SPDX-License-Identifier: Apache-2.0 */
/* A state directory of the test's own, two levels below one that is there. */
#ifndef STATE_DIR_H
#define STATE_DIR_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char state_parent[64], state_above[80], state_dir[96];

static inline void state_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(state_parent, sizeof(state_parent), "%.32s/godwit-state-XXXXXX",
		 tmp ? tmp : "/var/tmp");
	ck_assert_ptr_nonnull(mkdtemp(state_parent));
	snprintf(state_above, sizeof(state_above), "%s/lib", state_parent);
	snprintf(state_dir, sizeof(state_dir), "%s/godwit", state_above);
	ck_assert_int_eq(setenv("GODWIT_STATE_DIR", state_dir, 1), 0);
}

static inline void state_path(char path[512], const char *name)
{
	snprintf(path, 512, "%s/%s", state_dir, name);
}

static inline void state_write(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	state_path(path, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static inline void state_teardown(void)
{
	DIR *dir = opendir(state_dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0); /* which "." and ".." survive */
	if (dir)
		closedir(dir);
	rmdir(state_dir);
	rmdir(state_above);
	rmdir(state_parent);
}

#endif
