/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/wait.h>

#include "check_main.h"
#include "handover_rig.h"
#include "log.h"

static const struct handover_id id = { "2f6d2bb2-0f7c-4a52-9b0a-5d8a1a6a3c11", 7 };

static struct handover handover_of(struct actor *a)
{
	bool source = a->side == SOURCE;

	return (struct handover){
		.ops = &rig_ops,
		.ctx = a,
		.id = id,
		.arbiter = a->w->arbiter == ARBITER_LEASE ? ARBITER_LEASE : ARBITER_NONE,
		.ch = &a->ch,
		.connected = a->ch.fd >= 0,
		.reconnect = source ? connect_to_dest : accept_source,
		.reconnect_arg = a,
	};
}

static bool has_locks(const struct actor *a)
{
	for (unsigned i = 0; i < a->w->disks; i++)
		if (a->w->lock[place(a, i)] != a->side)
			return false;
	return true;
}

static bool records_are(const struct actor *a, enum handover_record record)
{
	for (unsigned i = 0; i < a->w->disks; i++)
		if (a->w->record[place(a, i)] != record)
			return false;
	return true;
}

static void run_source(struct actor *a, enum handover_record record)
{
	struct world *w = step(a);

	CLAIM(w, !w->dest_runs);
	CLAIM(w, !w->dest_ran && !w->accepted);
	CLAIM(w, has_locks(a) && records_are(a, record));
	CLAIM(w, w->journal[0].state == JOURNAL_RUNNING);
	w->source_runs = w->source_went_on = true;
	w->parked = false;
	leave(w);
	/* Here its host may die as well. */
	leave(step(a));
}

static void run_dest(struct actor *a)
{
	struct world *w = step(a);

	CLAIM(w, !w->source_runs && !w->source_went_on);
	CLAIM(w, w->accepted && w->synced);
	CLAIM(w, has_locks(a) && records_are(a, RECORD_ACCEPTED));
	w->dest_runs = w->dest_ran = true;
	leave(w);
}

static void finished(struct actor *a)
{
	enter(a->w);
	check_alive(a);
	hang_up(&a->ch);
	a->over = true;
	leave(a->w);
}

static int offer(struct actor *a, struct handover_source *s, struct err *e)
{
	int r = handover_source_offer(s, e);

	for (int tries = 0; r == -ENOTCONN && a->w->stubborn && tries < 10; tries++) {
		s->h.connected = !connect_to_dest(a, &a->ch, e);
		if (s->h.connected)
			r = handover_source_offer(s, e);
	}
	return r;
}

static void park(struct actor *a)
{
	struct world *w = step(a);

	w->parked = true;
	w->source_runs = false;
	leave(w);
}

static void *source_main(void *arg)
{
	struct actor *a = arg;
	struct world *w = a->w;
	struct handover_source *s = &w->handover;
	struct err e;
	int r = offer(a, s, &e);

	if (!r) {
		park(a);
		r = handover_source_seal(s, &e);
	}
	if (!r)
		r = handover_source_commit(s, &e);
	if (r < 0) {
		while (handover_source_take_back(s, &e))
			;
		run_source(a, RECORD_RUNNING);
		handover_source_cancelled(s, "the test says so");
	} else if (r == HANDOVER_RUN) {
		run_source(a, RECORD_RUNNING);
	}
	a->outcome = r < 0 ? HANDOVER_RUN : (enum handover_outcome)r;
	finished(a);
	return NULL;
}

static void *source_again_main(void *arg)
{
	struct journal_entry last;
	struct actor *a = arg;
	struct err e;
	int r;

	ck_assert_int_eq(journal_last_entry(a, &last, &e), 0);
	do
		r = last.state == JOURNAL_GIVEN ? HANDOVER_GIVEN : start_cold(a, &last);
	while (!r);
	if (r == HANDOVER_RUN)
		run_source(a, RECORD_OTHER);
	a->outcome = (enum handover_outcome)r;
	finished(a);
	return NULL;
}

static void answer(struct actor *a)
{
	struct err e;

	while (!a->w->stop)
		if (!accept_source(a, &a->ch, &e))
			while (!handover_answer(&rig_ops, a, &a->ch, &e))
				;
	finished(a);
}

/* Until the source says SEAL. */
static int receive(struct actor *a, struct handover_destination *d, struct err *e)
{
	struct section s;
	int r;

	do {
		r = section_begin(&s, &a->ch, e);
		if (!r)
			r = handover_destination_serve(d, &s, e);
		while (r == -ENOTCONN) {
			r = accept_source(a, &a->ch, e);
			d->h.connected = !r;
			if (r == -EAGAIN)
				r = -ENOTCONN;
		}
	} while (!r);
	if (r == -ECANCELED)
		handover_destination_refuse(d, "the test calls it off");
	return r;
}

static void *dest_main(void *arg)
{
	struct actor *a = arg;
	struct world *w = a->w;
	struct handover_destination d = { .h = handover_of(a) };
	enum handover_outcome outcome = HANDOVER_REFUSED;
	struct err e;

	if (!handover_destination_expect(&d, &e)) {
		enter(w);
		w->expects = true;
		leave(w);
		if (receive(a, &d, &e) == 1) {
			enter(w);
			check_alive(a);
			w->whole = w->was_whole = true;
			leave(w);
			handover_destination_ready(&d);
			outcome = handover_destination_await_token(&d, &e);
		}
	}
	if (outcome == HANDOVER_RUN) {
		run_dest(a);
		handover_destination_accepted(&d);
	}
	enter(w);
	check_alive(a);
	a->outcome = outcome;
	leave(w);
	answer(a);
	return NULL;
}

/* A host that has accepted starts the VM again, cold, before it answers. */
static void *dest_again_main(void *arg)
{
	struct actor *a = arg;
	struct world *w = a->w;
	struct err e;

	if (w->accepted) {
		while (take_locks(a, &e))
			;
		write_first(a, &id, RECORD_ACCEPTED, &e);
		write_others(a, &id, RECORD_ACCEPTED, &e);
		run_dest(a);
	}
	a->outcome = HANDOVER_LOST;
	answer(a);
	return NULL;
}

static void start(struct world *w, struct actor *a, enum side side, void *(*run)(void *), int fd)
{
	*a = (struct actor){ .w = w, .side = side, .cancel_fd = eventfd(0, EFD_NONBLOCK) };
	a->ch = (struct channel){ .fd = fd, .cancel_fd = a->cancel_fd };
	if (side == SOURCE)
		w->handover = (struct handover_source){ .h = handover_of(a), .resolve_fd = -1 };
	if (side == SOURCE)
		w->handover.resolve_fd = eventfd(0, EFD_NONBLOCK);
	*(side == SOURCE ? &w->at_source : &w->at_dest) = a;
	ck_assert_int_eq(pthread_create(&a->thread, NULL, run, a), 0);
}

static void world_new(struct world *w)
{
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	pthread_mutex_init(&w->mutex, NULL);
	w->mailbox = -1;
	w->source_runs = true;
	w->journal[0] = (struct journal_entry){ .state = JOURNAL_RUNNING, .generation = 7 };
	memcpy(w->journal[0].session, id.session, sizeof(id.session));
	w->written[0] = true;
	for (unsigned i = 0; i < w->disks; i++) {
		w->lock[i] = SOURCE;
		w->record[i] = RECORD_RUNNING;
	}
}

static void close_actor(struct actor *a)
{
	if (!a->w)
		return;
	hang_up(&a->ch);
	close(a->cancel_fd);
	a->w = NULL;
}

/* Who died is buried, and started again where hosts come back. */
static void bury(struct world *w)
{
	struct actor *s = w->at_source, *d = w->at_dest;

	if (s && s->dead) {
		pthread_join(s->thread, NULL);
		close_actor(s);
		close(w->handover.resolve_fd);
		enter(w);
		w->at_source = NULL;
		leave(w);
		if (w->come_back)
			start(w, &w->source_again, SOURCE, source_again_main, -1);
	}
	if (d && d->dead) {
		pthread_join(d->thread, NULL);
		close_actor(d);
		enter(w);
		w->at_dest = NULL;
		/* What it had not accepted yet ends with it. */
		if (w->mailbox >= 0)
			close(w->mailbox);
		w->mailbox = -1;
		leave(w);
		if (w->come_back)
			start(w, &w->dest_again, DEST, dest_again_main, -1);
	}
}

/* Undecided with a host that never comes back: the one case that needs a person. */
static void resolve(struct world *w)
{
	uint64_t one = 1;

	if (!w->at_source || !w->handover.undecided || w->at_dest || w->arbiter != ARBITER_NONE)
		return;
	w->discarded = w->accepted;
	w->handover.resolve = w->accepted ? RESOLVE_DISCARD : RESOLVE_RUN;
	ck_assert_int_eq(write(w->handover.resolve_fd, &one, sizeof(one)), sizeof(one));
}

static bool is_settled(struct world *w)
{
	bool settled;

	enter(w);
	settled = (!w->at_source || (w->at_source->over && !w->at_source->dead)) &&
		  (!w->at_dest || (w->at_dest->outcome && !w->at_dest->dead));
	w->settled = settled;
	leave(w);
	return settled;
}

static bool is_called_off(const struct world *w)
{
	for (unsigned i = 0; i < ARRAY_SIZE(w->fault); i++)
		if (w->fault[i].kind == CANCEL && w->fault[i].side == DEST)
			return true;
	return false;
}

/* Exactly one has it, or it is as the table "cut or crash" says. */
static void judge(struct world *w)
{
	const struct actor *s = w->at_source;
	bool lost = w->at_dest == &w->dest && w->dest.outcome == HANDOVER_LOST;
	bool gone_there = (!w->at_dest || lost) && w->accepted &&
			  (!s || s->outcome == HANDOVER_GIVEN);
	/* A last whole copy that has the lock runs, unless it was called off, or could not write
	 * and gave way to a source that was there. */
	bool must_run = w->arbiter == ARBITER_LOCK && w->whole && w->record[0] == RECORD_OFFERED &&
			!is_called_off(w) && !w->refused && !lost;
	bool gone_here = !s && !w->accepted && !must_run;

	CLAIM(w, !w->source_runs || !w->dest_runs);
	CLAIM(w, w->source_runs || w->dest_runs || gone_there || gone_here);
	CLAIM(w, !s || w->source_runs == (s->outcome == HANDOVER_RUN));
	CLAIM(w, !s || s->outcome != HANDOVER_GIVEN || w->accepted || w->discarded);
	CLAIM(w, !w->called_off || w->source_runs || s != &w->source);
	CLAIM(w, w->token_sent || w->source_runs || s != &w->source || w->accepted);
	CLAIM(w, !w->handover.undecided || !s);
}

static void end(struct world *w)
{
	bool wires = true;

	w->stop = true;
	while (w->at_dest && !w->at_dest->over && !w->at_dest->dead)
		usleep(50);
	if (w->at_source)
		pthread_join(w->at_source->thread, NULL);
	if (w->at_source)
		close(w->handover.resolve_fd);
	if (w->at_dest)
		pthread_join(w->at_dest->thread, NULL);
	close_actor(&w->source);
	close_actor(&w->dest);
	close_actor(&w->source_again);
	close_actor(&w->dest_again);
	if (w->mailbox >= 0)
		close(w->mailbox);
	while (wires) {
		enter(w);
		wires = w->wires;
		leave(w);
		usleep(10);
	}
	pthread_mutex_destroy(&w->mutex);
}

/* One hand-over, whatever befalls it. */
static void play(struct world *w)
{
	int source_fd, dest_fd;

	world_new(w);
	enter(w);
	connect_both(w, &source_fd, &dest_fd);
	leave(w);
	start(w, &w->dest, DEST, dest_main, dest_fd);
	while (!w->expects && !w->dest.dead && !w->dest.outcome)
		usleep(10);
	if (w->expects)
		start(w, &w->source, SOURCE, source_main, source_fd);
	else
		close(source_fd);
	for (int turns = 0; !is_settled(w); turns++) {
		CLAIM(w, turns < 40000);
		bury(w);
		if (turns % 20 == 19)
			resolve(w);
		usleep(100);
	}
	judge(w);
	end(w);
}

/* The outcome of a hand-over without a fault. */
static void expect_given(struct world *w)
{
	CLAIM(w, w->dest_runs && w->source.outcome == HANDOVER_GIVEN);
	CLAIM(w, w->journal[0].state == JOURNAL_GIVEN);
	CLAIM(w, w->journal[1].state == JOURNAL_ACCEPTED);
	CLAIM(w, w->messages == 6);
}

enum { PAIRS = 3 * 2 * 2 * 2 };

/* The i-th pair of hosts: arbiter, disks, and what they do about faults. */
static struct world pair(int i)
{
	return (struct world){ .arbiter = (enum arbiter)(i / 8),
			       .disks = 1 + (unsigned)(i & 1),
			       .come_back = i & 2,
			       .stubborn = i & 4 };
}

START_TEST(test_good_path)
{
	struct world w = pair(_i);

	play(&w);
	expect_given(&w);
}
END_TEST

/* All kinds of faults; each is struck at every message or step that there is. */
static const struct fault faults[] = {
	{ .kind = CUT, .message = true },
	{ .kind = CUT, .message = true, .delivered = true },
	{ .kind = CRASH, .side = SOURCE },
	{ .kind = CRASH, .side = DEST },
	{ .kind = CRASH, .side = SOURCE, .message = true },
	{ .kind = CRASH, .side = SOURCE, .message = true, .delivered = true },
	{ .kind = CRASH, .side = DEST, .message = true },
	{ .kind = CRASH, .side = DEST, .message = true, .delivered = true },
	{ .kind = CANCEL, .side = SOURCE },
	{ .kind = CANCEL, .side = SOURCE, .message = true, .delivered = true },
	{ .kind = CANCEL, .side = DEST },
	{ .kind = CANCEL, .side = DEST, .message = true, .delivered = true },
	{ .kind = FULL, .side = SOURCE },
	{ .kind = FULL, .side = DEST },
};

/* True: the last fault that was asked for came to pass. */
static bool play_with(int i, const struct fault *first, const struct fault *second)
{
	struct world w = pair(i);

	w.fault[0] = *first;
	if (second)
		w.fault[1] = *second;
	play(&w);
	return w.fault[second ? 1 : 0].happened;
}

START_TEST(test_each_fault)
{
	for (unsigned k = 0; k < ARRAY_SIZE(faults); k++) {
		struct fault f = faults[k];
		int played = 0;

		for (f.at = 1; play_with(_i, &f, NULL); f.at++)
			played++;
		ck_assert_int_ge(played, f.message ? 6 : 5);
	}
}
END_TEST

/* A destination that cannot write refuses, or waits until it can: no copy is lost.  Nobody knows
 * whether a lease was given that did not answer. */
START_TEST(test_destination_full)
{
	struct fault f = { .kind = FULL, .side = DEST };
	bool happened = true;

	for (f.at = 1; happened; f.at++) {
		struct world w = pair(_i);

		w.fault[0] = f;
		play(&w);
		happened = w.fault[0].happened;
		CLAIM(&w, w.arbiter == ARBITER_LEASE || w.dest.outcome != HANDOVER_LOST);
		CLAIM(&w, w.dest_runs || w.source_runs);
	}
	ck_assert_int_ge(f.at, 5);
}
END_TEST

enum { CHILDREN = 8, FIRSTS = 4 /* the first of the table */ };

/* The number of hand-overs. */
static int play_two(int i, struct fault a, struct fault b)
{
	bool first = true;
	int played = 0;

	for (a.at = 1; first; a.at++) {
		b.at = 1;
		while (play_with(i, &a, &b))
			b.at++;
		played += b.at;
		first = play_with(i, &a, NULL);
	}
	return played;
}

static void play_share(int i, unsigned share)
{
	int played = 0;

	for (unsigned n = share; n < FIRSTS * ARRAY_SIZE(faults); n += CHILDREN)
		played += play_two(i, faults[n % FIRSTS], faults[n / FIRSTS]);
	ck_assert_int_ge(played, 500 / CHILDREN);
	_exit(0);
}

/* A cut, or a crash between two steps, and whatever else befalls the same hand-over.  Most of the
 * time of one is waiting: so a few are played at once, in processes of their own. */
START_TEST(test_two_faults)
{
	const int stubborn = _i / 4 * 8 + 4 + _i % 4;
	pid_t child[CHILDREN];
	int status;

	for (unsigned i = 0; i < CHILDREN; i++) {
		child[i] = fork();
		ck_assert_int_ge(child[i], 0);
		if (!child[i])
			play_share(stubborn, i);
	}
	for (unsigned i = 0; i < CHILDREN; i++) {
		ck_assert_int_eq(waitpid(child[i], &status, 0), child[i]);
		ck_assert_int_eq(status, 0);
	}
}
END_TEST

static Suite *handover_suite(void)
{
	Suite *suite = suite_create("handover");
	TCase *one = tcase_create("one"), *two = tcase_create("two");

	tcase_set_timeout(one, 120);
	tcase_add_loop_test(one, test_good_path, 0, PAIRS);
	tcase_add_loop_test(one, test_each_fault, 0, PAIRS);
	tcase_add_loop_test(one, test_destination_full, 0, PAIRS);
	suite_add_tcase(suite, one);
	tcase_set_timeout(two, 120);
	tcase_add_loop_test(two, test_two_faults, 0, PAIRS / 2);
	suite_add_tcase(suite, two);
	return suite;
}

CHECK_MAIN(handover_suite)
