/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain main() for a fuzz target: runs it once on each file named, and on every file of each
 * directory named, so that a corpus is a regression test where there is no libFuzzer.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay_file(const char *path)
{
	CLEANUP(file) FILE *f = fopen(path, "re");
	CLEANUP(free) uint8_t *data = NULL;
	struct stat st;

	if (!f || fstat(fileno(f), &st)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	/* Exactly as many bytes as there are, so that a sanitizer sees a read past them. */
	data = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!data || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
		fprintf(stderr, "%s: cannot be read\n", path);
		return 1;
	}
	LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	return 0;
}

static int replay_directory(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	int failed = 0;

	if (!d) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	while ((entry = readdir(d))) {
		CLEANUP(free) char *file = NULL;

		if (entry->d_name[0] == '.' || asprintf(&file, "%s/%s", path, entry->d_name) < 0)
			continue;
		failed |= replay_file(file);
	}
	closedir(d);
	return failed;
}

int main(int argc, char **argv)
{
	struct stat st;
	int failed = 0;

	log_set_level(LOG_ERROR);
	for (int i = 1; i < argc; i++) {
		if (!stat(argv[i], &st) && S_ISDIR(st.st_mode))
			failed |= replay_directory(argv[i]);
		else
			failed |= replay_file(argv[i]);
	}
	return failed;
}
