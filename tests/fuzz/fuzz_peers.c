/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another agent: its hello, and then questions, each on a line, down to what answers them.  What is
 * kept of it is shown and planned with, as it would be.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "../unit/agent_rig.h"
#include "cleanup.h"
#include "planner/planner.h"
#include "planner/snapshot.h"
#include "questions.h"
#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_all(struct agent *a)
{
	json_auto_t *status = state_status(a);
	CLEANUP(free) char *text = NULL;
	CLEANUP(file) FILE *lines = NULL;
	struct snapshot snapshot = { 0 };
	struct plan plan;
	struct err e;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!status || !f)
		abort();
	state_snapshot(a, f);
	fclose(f);
	lines = fmemopen(text, len, "r");
	/* Whatever one of them says, there is a snapshot of the others. */
	if (!lines || snapshot_read(&snapshot, lines, &e))
		abort();
	if (plan_make(&plan, &snapshot, &e))
		abort();
	plan_free(&plan);
	snapshot_free(&snapshot);
}

static void converse(struct agent *a, struct wire *w)
{
	json_t *message = NULL;
	struct hello hello;
	struct peer *p;
	struct err e;
	int r = wire_read(w, 0, &message, &e);

	r = r ? r : hello_read(message, &hello, &e);
	r = r ? r : hello_meet(a, &hello, &p, &e);
	json_decref(message);
	while (!r && !wire_read(w, 0, &message, &e)) {
		json_t *answer = questions_answer(a, hello.id, message);

		if (!answer || json_object_size(answer) != 1)
			abort();
		json_decref(answer);
		json_decref(message);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire w = { .ch = channel_of(memfd_create("peer", MFD_CLOEXEC)) };
	struct agent_rig rig;

	if (pwrite(w.ch.fd, data, size, 0) != (ssize_t)size)
		abort();
	agent_rig_new(&rig);
	converse(&rig.agent, &w);
	look_at_all(&rig.agent);
	agent_rig_free(&rig);
	wire_close(&w);
	return 0;
}
