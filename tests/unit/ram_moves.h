/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a move of guest memory, over connections that last or are cut. */
#ifndef RAM_MOVES_H
#define RAM_MOVES_H

#include "ram_rig.h"

static const uint64_t uncut[4] = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };

static inline void ok(int r, const struct err *e)
{
	ck_assert_msg(r == 0, "%s", e->text);
}

static inline void begin(struct ram_rig *rig)
{
	struct err e = { "" };

	ok(ram_connect(rig, uncut, &e), &e);
	ok(ram_sender_start(rig->sender, &e), &e);
}

static inline struct ram_round go_round(struct ram_rig *rig)
{
	struct ram_round round;
	struct err e = { "" };

	ok(ram_sender_round(rig->sender, &round, &e), &e);
	ck_assert_uint_eq(ram_sender_pending(rig->sender), 0);
	ck_assert_uint_eq(ram_sender_progress(rig->sender)->remaining, 0);
	return round;
}

static inline struct ram_round finish(struct ram_rig *rig)
{
	struct ram_round round;
	struct err e = { "" };

	ok(ram_sender_finish(rig->sender, &round, &e), &e);
	ram_disconnect(rig, 0);
	ram_assert_same(rig);
	return round;
}

/* Each connection is cut at a byte of its own, again and again; in between the VM writes on. */
struct cuts {
	struct ram_rig *rig;
	unsigned seed, cut;
	bool others; /* each time as many as it happens */
};

static inline void reconnect(struct cuts *c)
{
	struct err e;
	uint64_t bytes[4];
	int r;

	do {
		ram_disconnect(c->rig, -ENOTCONN);
		if (c->others)
			ram_resize(c->rig, 1 + (unsigned)rand_r(&c->seed) % 4);
		for (int i = 0; i < 4; i++)
			bytes[i] = 1 + (uint64_t)rand_r(&c->seed) % (1 << (8 + c->cut));
		c->cut += rand_r(&c->seed) % 2;
		r = ram_connect(c->rig, bytes, &e);
		ck_assert_msg(r == 0 || r == -ENOTCONN, "%s", e.text);
	} while (r);
}

static inline void until_done(struct cuts *c,
			      int (*step)(struct ram_sender *, struct ram_round *, struct err *))
{
	struct ram_round round;
	struct err e;
	int r;

	while ((r = step(c->rig->sender, &round, &e)) == -ENOTCONN)
		reconnect(c);
	ok(r, &e);
}

#endif
