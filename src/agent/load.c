/* SPDX-License-Identifier: Apache-2.0 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "cleanup.h"
#include "planner/snapshot.h"

static int load_file(struct snapshot *s, const char *path, struct err *e)
{
	CLEANUP(file) FILE *f = fopen(path, "re");
	int r;

	if (!f)
		return err_set(e, -errno, "%.200s: %s", path, strerror(errno));
	r = snapshot_read(s, f, e);
	return r ? err_prefix(e, r, "%.200s", path) : 0;
}

static int load_text(struct snapshot *s, char *text, struct err *e)
{
	CLEANUP(file) FILE *f = fmemopen(text, strlen(text), "r");
	int r = f ? snapshot_read(s, f, e) : err_set(e, -EPROTO, "there is none");

	return r ? err_prefix(e, r, "the snapshot of the agent") : 0;
}

int load_snapshot(struct snapshot *s, const char *path, struct err *e)
{
	CLEANUP(free) char *text = NULL;
	struct client c;
	int r;

	*s = (struct snapshot){ 0 };
	if (path)
		return load_file(s, path, e);
	r = ask_open(&c, e);
	r = r ? r : client_get_text(&c, "/api/v1/snapshot", &text, e);
	client_close(&c);
	return r ? r : load_text(s, text, e);
}
