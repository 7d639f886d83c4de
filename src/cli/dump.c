/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit dump": what is in a stream or a snapshot, and where two of them differ. */
#include "dump.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "cli.h"
#include "stream.h"

/* As diff has them. */
enum { SAME, DIFFERENT, TROUBLE };

static int print(FILE *f, const char *path, struct err *e)
{
	CLEANUP(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: cannot open it: %s", path, strerror(errno));
	r = S_ISDIR(st.st_mode) ? dump_snapshot(f, fd, e) : stream_print(f, fd, e);
	return r ? err_prefix(e, r, "%s", path) : 0;
}

static int print_text(char **text, const char *path, struct err *e)
{
	size_t size;
	FILE *f = open_memstream(text, &size);
	int r;

	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	r = print(f, path, e);
	return fclose(f) && !r ? err_set(e, -ENOMEM, "out of memory") : r;
}

static int compare(char **path, struct err *e)
{
	CLEANUP(free) char *a = NULL, *b = NULL;
	int r = print_text(&a, path[0], e);

	if (!r)
		r = print_text(&b, path[1], e);
	if (r)
		return r;
	r = dump_compare(stdout, path[0], a, path[1], b);
	return r < 0 ? err_set(e, r, "out of memory") : r;
}

int dump_run(const struct verb *v, const struct verb_args *args)
{
	struct err e;
	int r = args->nrest == 2 ? compare(args->rest, &e) : print(stdout, args->rest[0], &e);

	(void)v;
	if (fflush(stdout) || ferror(stdout))
		r = err_set(&e, -EIO, "the dump cannot be written to standard output: %m");
	if (r >= 0)
		return r ? DIFFERENT : SAME;
	log_error("%s", e.text);
	return TROUBLE;
}
