/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of a migration: a file of each side with all that migration_progress() tells.  The
 * guest runs by then, here or there.  What it does for the first time where it came to is added as
 * soon as it has done it.
 */
#include "history.h"
#include "log.h"
#include "loop.h"
#include "migration_internal.h"

#define WAIT_NS UINT64_C(10000000000) /* for the guest to do something */

void migration_record(struct migration *m)
{
	const struct history_entry entry = { m->uuid, m->incoming, m->began_wall_us };
	json_auto_t *json = NULL;
	struct err e;

	if (!m->uuid[0]) /* nobody came */
		return;
	m->control.look(m->control.arg);
	json = migration_progress(m);
	if (history_write(&entry, json, &e))
		log_warn("the record of the migration is lost: %s", e.text);
}

/* Of what a record has when it is whole. */
static unsigned firsts(struct migration *m)
{
	unsigned n;

	pthread_mutex_lock(&m->lock);
	n = !!m->arrival.first_frame_ns + !!m->arrival.first_request_ns;
	pthread_mutex_unlock(&m->lock);
	return n;
}

bool migration_record_is_whole(struct migration *m)
{
	unsigned before = firsts(m), now;

	if (m->record_is_whole)
		return true;
	m->control.look(m->control.arg);
	now = firsts(m);
	if (now > before)
		migration_record(m);
	m->record_is_whole = now == 2 || loop_now_ns() - m->began_ns[PHASE_OVER] > WAIT_NS;
	return m->record_is_whole;
}
