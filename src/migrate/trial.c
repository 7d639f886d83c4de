/* SPDX-License-Identifier: Apache-2.0 */
#include "trial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bits.h"
#include "cleanup.h"
#include "loop.h"
#include "section.h"

enum {
	PART_BYTES = 256 << 10, /* of random bytes, which nothing on the way makes fewer */
	PARTS_MAX = 128, /* 32 MiB */
	PATIENCE_MS = 30000, /* of both sides: until what is under way has come */
};

#define LIMIT_NS UINT64_C(1000000000) /* then fewer have to do */

static int send_part(struct channel *ch, void *bytes, size_t len, struct err *e)
{
	struct iovec iov[2] = { [1] = { bytes, len } };

	return section_write(ch, SECTION_TRIAL, iov, 2, e);
}

/* An empty part is the last one; the answer says that all have come. */
int trial_send(struct channel *ch, uint64_t *rate, struct err *e)
{
	CLEANUP(free) uint8_t *bytes = malloc(PART_BYTES);
	uint64_t began, passed = 0, sent = 0;
	struct section answer;
	int r = 0;

	if (!bytes)
		return err_set(e, -ENOMEM, "out of memory");
	if (getrandom(bytes, PART_BYTES, 0) < 0)
		memset(bytes, 0, PART_BYTES);
	began = loop_now_ns();
	for (int i = 0; !r && i < PARTS_MAX && passed < LIMIT_NS; i++) {
		r = send_part(ch, bytes, PART_BYTES, e);
		sent += PART_BYTES;
		passed = loop_now_ns() - began;
	}
	if (!r)
		r = send_part(ch, bytes, 0, e);
	ch->silence_ms = PATIENCE_MS;
	if (!r)
		r = section_begin(&answer, ch, e);
	if (!r)
		r = section_end(&answer, e);
	passed = MAX(loop_now_ns() - began, 1);
	if (!r)
		*rate = (uint64_t)((double)sent * 1e9 / (double)passed);
	return r;
}

int trial_receive(struct channel *ch, struct err *e)
{
	CLEANUP(free) uint8_t *bytes = malloc(PART_BYTES);
	uint64_t began = loop_now_ns();
	struct section s;
	size_t len;
	int r;

	if (!bytes)
		return err_set(e, -ENOMEM, "out of memory");
	for (unsigned n = 0;; n++) {
		r = section_begin(&s, ch, e);
		if (r)
			return r;
		len = s.left;
		if (s.type != SECTION_TRIAL || len > PART_BYTES || n > PARTS_MAX ||
		    loop_now_ns() - began > PATIENCE_MS * UINT64_C(1000000))
			return err_set(e, -EBADMSG, "the trial of the connection makes no sense");
		r = section_read(&s, bytes, len, e);
		if (!r)
			r = section_end(&s, e);
		if (r || !len)
			return r ? r : send_part(ch, bytes, 0, e);
	}
}
