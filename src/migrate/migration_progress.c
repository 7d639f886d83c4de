/* SPDX-License-Identifier: Apache-2.0 */
/* A migration as others see it: while it goes on, and how it went. */
#include "bits.h"
#include "check_estimate.h"
#include "compress_choice.h"
#include "guest_mem.h"
#include "loop.h"
#include "migration_internal.h"
#include "vcpu.h"

static const struct {
	const char *outgoing, *incoming; /* in records; NULL: that side has no such phase */
	const char *phase, *api_phase; /* in the control API, which has fewer */
} phases[MIGRATION_PHASES] = {
	[PHASE_CONNECT] = { "connect", "wait", "connect", "Starting" },
	[PHASE_HELLO] = { "hello", "hello", "connect", "Starting" },
	[PHASE_COPY] = { "first-pass", "receive", "copy", "MemoryPrecopy" },
	[PHASE_ROUNDS] = { "rounds", NULL, "copy", "MemoryPrecopy" },
	[PHASE_OFFER] = { "offer", NULL, "offer", "MemoryPrecopy" },
	[PHASE_STOP] = { "stop", "load", "stop", "Completing" },
	[PHASE_LAST_PAGES] = { "last-pages", NULL, "stop", "Completing" },
	[PHASE_DEVICES] = { "devices", NULL, "stop", "Completing" },
	[PHASE_SEAL] = { "seal", NULL, "stop", "Completing" },
	[PHASE_HAND_OVER] = { "hand-over", "await-token", "hand-over", "Completing" },
	[PHASE_TAKE_DISKS] = { NULL, "take-disks", "hand-over", "Completing" },
	[PHASE_ACCEPT] = { NULL, "accept", "hand-over", "Completing" },
	[PHASE_RUN] = { NULL, "run", "hand-over", "Completing" },
	[PHASE_END] = { "end", "end", "hand-over", "Completing" },
	[PHASE_OVER] = { NULL, NULL, "over", "Completing" },
};

const char *migration_phase_name(const struct migration *m, enum migration_phase phase)
{
	return m->incoming ? phases[phase].incoming : phases[phase].outgoing;
}

uint64_t migration_phase_ns(const struct migration *m, enum migration_phase phase)
{
	unsigned next = phase + 1;

	while (next < PHASE_OVER && !m->began_ns[next])
		next++;
	if (!m->began_ns[phase])
		return 0;
	return (m->began_ns[next] ? m->began_ns[next] : loop_now_ns()) - m->began_ns[phase];
}

static json_t *state_of(const struct migration *m)
{
	if (m->phase != PHASE_OVER)
		return json_pack("{s:{s:s, s:i}}", "Ongoing", "phase", phases[m->phase].api_phase,
				 "vcpu_throttle_percent", (int)migration_throttle(m));
	switch (m->end) {
	case MIGRATION_MOVED:
		return json_pack("{s:{}}", "Finished");
	case MIGRATION_CANCELLED:
		return json_pack("{s:{}}", "Cancelled");
	default:
		return json_pack("{s:{s:s, s:s}}", "Failed", "error_msg", m->why.text,
				 "error_msg_debug", m->why.text);
	}
}

static json_t *round_of(const struct ram_round *r)
{
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "us", (json_int_t)(r->duration_ns / 1000),
		"pages_written", (json_int_t)r->pending, "pages", (json_int_t)r->pages,
		"zero_pages", (json_int_t)r->zero_pages, "diff_pages", (json_int_t)r->diff_pages,
		"hinted_pages", (json_int_t)r->hinted_pages, "bytes", (json_int_t)r->bytes);
}

static json_t *rounds_of(const struct migration *m)
{
	unsigned first = m->nrounds > MIGRATION_ROUNDS_KEPT ? m->nrounds - MIGRATION_ROUNDS_KEPT
							    : 0;
	json_t *rounds = json_array();

	for (unsigned i = first; i < m->nrounds; i++) {
		const struct migration_round *r = &m->round[i % MIGRATION_ROUNDS_KEPT];
		json_t *round = round_of(&r->sent);

		json_object_set_new(round, "dirty_rate_pps",
				    json_integer((json_int_t)r->written_per_s));
		json_array_append_new(rounds, round);
	}
	return rounds;
}

static json_t *steps_of(const struct migration *m)
{
	unsigned first = m->nsteps > MIGRATION_STEPS_KEPT ? m->nsteps - MIGRATION_STEPS_KEPT : 0;
	json_t *steps = json_array();

	for (unsigned i = first; i < m->nsteps; i++) {
		const struct migration_step *s = &m->step[i % MIGRATION_STEPS_KEPT];

		json_array_append_new(
			steps, json_pack("{s:I, s:i}", "us",
					 (json_int_t)(s->at_ns - m->began_ns[PHASE_CONNECT]) / 1000,
					 "throttle_percent", (int)s->percent));
	}
	return steps;
}

static void take_arrival(struct migration *m, const struct vm_arrival *a)
{
	m->arrival = (struct vm_arrival){ .ran_ns = a->ran_ns,
					  .clock_known = a->clock_known,
					  .away_ns = a->away_ns,
					  .clock_step_ns = a->clock_step_ns,
					  .first_frame_ns = a->first_frame_ns,
					  .first_request_ns = a->first_request_ns };
	m->began_ns[PHASE_END] = MIN(a->ran_ns, m->began_ns[PHASE_OVER]);
	m->blackout_ns = (uint64_t)MAX(a->away_ns, 0);
}

void migration_look(struct migration *m, struct vm *vm)
{
	pthread_mutex_lock(&m->lock);
	if (!m->incoming)
		m->nvcpus = vcpu_throttled_ns(vm, m->throttled_ns, MIGRATION_VCPUS_TOLD);
	else if (vm->arrival.ran_ns && m->began_ns[PHASE_OVER])
		take_arrival(m, &vm->arrival);
	pthread_mutex_unlock(&m->lock);
}

static json_t *us(uint64_t ns)
{
	return json_integer((json_int_t)(ns / 1000));
}

static uint64_t throttled_ns(const struct migration *m, unsigned vcpu)
{
	return m->throttled_ns[vcpu] - m->throttled_before_ns[vcpu];
}

/* What each vCPU lost: by being held back, and in all, once that is known. */
static void add_time_lost(const struct migration *m, json_t *to)
{
	uint64_t stopped_ns = m->phase == PHASE_OVER ? m->blackout_ns : 0;
	json_t *throttled = json_array(), *lost = json_array();

	for (unsigned i = 0; i < m->nvcpus; i++) {
		json_array_append_new(throttled, us(throttled_ns(m, i)));
		json_array_append_new(lost, us(throttled_ns(m, i) + stopped_ns));
	}
	json_object_set_new(to, "throttled_us", throttled);
	json_object_set_new(to, "lost_us", lost);
}

/* How the guest goes on that came here, as far as that is known. */
static void add_arrival(const struct migration *m, json_t *to)
{
	const struct vm_arrival *a = &m->arrival;

	if (a->ran_ns && a->first_frame_ns)
		json_object_set_new(to, "first_packet_us", us(a->first_frame_ns - a->ran_ns));
	if (a->ran_ns && a->first_request_ns)
		json_object_set_new(to, "first_disk_us", us(a->first_request_ns - a->ran_ns));
	if (a->clock_known)
		json_object_set_new(to, "clock_step_ns", json_integer(a->clock_step_ns));
}

/* How long each phase took, of those that began. */
static json_t *phases_of(const struct migration *m)
{
	json_t *all = json_object();

	for (enum migration_phase i = 0; i < PHASE_OVER; i++)
		if (m->began_ns[i])
			json_object_set_new(all, migration_phase_name(m, i),
					    us(migration_phase_ns(m, i)));
	return all;
}

/* In bytes a second: of the fastest round, and before the first one is over of that. */
static uint64_t rate_of(const struct migration *m, uint64_t bytes)
{
	uint64_t took_us = migration_phase_ns(m, PHASE_COPY) / 1000;

	return m->nrounds || !took_us ? m->rate : bytes * 1000000 / took_us;
}

uint64_t migration_rate(struct migration *m)
{
	uint64_t rate;

	pthread_mutex_lock(&m->lock);
	rate = m->rate;
	pthread_mutex_unlock(&m->lock);
	return rate;
}

static json_t *memory_of(const struct migration *m)
{
	const struct ram_progress *p = m->ram ? ram_sender_progress(m->ram) : &m->counted;
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "memory_iteration",
		(json_int_t)p->round, "memory_transmission_bps", (json_int_t)rate_of(m, p->bytes),
		"memory_bytes_total", (json_int_t)m->memory_bytes, "memory_bytes_transmitted",
		(json_int_t)p->bytes, "memory_bytes_remaining_iteration",
		(json_int_t)(p->remaining * GUEST_PAGE_BYTES), "memory_pages_4k_transmitted",
		(json_int_t)p->pages, "memory_pages_4k_remaining_iteration",
		(json_int_t)p->remaining, "memory_pages_constant_count", (json_int_t)p->zero_pages,
		"memory_dirty_rate_pps",
		(json_int_t)m->round[migration_last_round(m)].written_per_s);
}

/*
 * Until the guest runs there: what is left of this round, and those behind it, at the pace of all
 * so far.  What the guest writes is not known before the first pass is over.
 */
static bool time_left(const struct migration *m, uint64_t *left_ns)
{
	const struct ram_progress *p = ram_sender_progress(m->ram);
	const struct migration_round *last = &m->round[migration_last_round(m)];
	const uint64_t now_ns = loop_now_ns();
	struct migration_goals goals = m->goals;
	double pace = (double)(p->pages + p->zero_pages + p->diff_pages) * 1e9 /
		      (double)(now_ns - m->began_ns[PHASE_COPY]);
	double full_speed = (double)last->written_per_s * 100 / (100 - last->percent);
	double writes = full_speed * (100 - migration_throttle(m)) / 100;
	/* What this round began with is what was written in the last one. */
	double round_s = (double)last->written_per_s * (double)last->sent.duration_ns / 1e9 / pace;
	struct check_estimate next = { .bytes = (uint64_t)(writes * round_s * GUEST_PAGE_BYTES),
				       .written = (uint64_t)(full_speed * GUEST_PAGE_BYTES),
				       .rate = (uint64_t)(pace * GUEST_PAGE_BYTES),
				       .percent = migration_throttle(m) };

	goals.bandwidth = 0; /* the pace has it */
	goals.deadline_s -= MIN((now_ns - m->began_ns[PHASE_CONNECT]) / 1000000000,
				goals.deadline_s);
	check_estimate(&next, &goals);
	*left_ns = (uint64_t)((double)p->remaining * 1e9 / pace) + next.duration_ns;
	return next.converges;
}

static void add_time_left(const struct migration *m, json_t *to)
{
	uint64_t left_ns;

	if (m->ram && m->phase >= PHASE_COPY && m->phase < PHASE_STOP &&
	    ram_sender_progress(m->ram)->pages && time_left(m, &left_ns))
		json_object_set_new(to, "left_us", us(left_ns));
}

/* Pages that went over as differences, and in how many bytes. */
static json_t *differences_of(const struct migration *m)
{
	const struct ram_progress *p = m->ram ? ram_sender_progress(m->ram) : &m->counted;

	return json_pack("{s:I, s:I}", "pages", (json_int_t)p->diff_pages, "bytes",
			 (json_int_t)p->diff_bytes);
}

static json_t *compression_of(const struct migration *m)
{
	static const char *const wanted[] = { "auto", "none", "lz4", "zstd" };
	static const char *const why[] = {
		[COMPRESS_NOT_KNOWN] = "measuring", [COMPRESS_ASKED] = "asked",
		[COMPRESS_NOT_READ] = "not-read",   [COMPRESS_FAST_LINK] = "fast-link",
		[COMPRESS_NO_GAIN] = "no-gain",     [COMPRESS_GAIN] = "gain",
	};
	const struct ram_progress *p = m->ram ? ram_sender_progress(m->ram) : &m->counted;
	unsigned codec = p->codec;

	return json_pack("{s:s, s:s, s:s, s:I, s:I}", "wanted", wanted[m->goals.compress], "used",
			 codec ? page_codecs[codec - 1].name : "none", "why", why[p->why], "pages",
			 (json_int_t)p->compressed_pages, "bytes", (json_int_t)p->compressed_bytes);
}

json_t *migration_progress(struct migration *m)
{
	json_t *json;

	pthread_mutex_lock(&m->lock);
	json = json_pack("{s:I, s:I, s:I, s:{s:{s:i, s:b}}, s:o, s:o}", "timestamp_begin_ms",
			 (json_int_t)(m->began_wall_us / 1000), "downtime_configured_ms",
			 (json_int_t)m->goals.blackout_ms, "downtime_estimated_ms",
			 (json_int_t)((m->blackout_ns + 999999) / 1000000), "transportation_mode",
			 "Tcp", "connections", (int)m->ndata, "tls", m->tls != NULL, "state",
			 state_of(m), "memory_transmission_info", memory_of(m));
	json_object_update_new(
		json,
		json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:i}", "phase",
			  phases[m->phase].phase, "incoming", m->incoming, "session", m->session,
			  "url", m->url, "peer", m->peer, "peer_identity", m->peer_identity,
			  "blackout_us", (json_int_t)(m->blackout_ns / 1000), "total_us",
			  (json_int_t)(((m->phase == PHASE_OVER ? m->began_ns[PHASE_OVER]
								: loop_now_ns()) -
					m->began_ns[PHASE_CONNECT]) /
				       1000),
			  "phases_us", phases_of(m), "rounds", rounds_of(m), "last_round",
			  round_of(&m->last), "reconnects", (int)m->reconnects));
	if (m->ended_wall_us)
		json_object_set_new(json, "timestamp_end_ms",
				    json_integer((json_int_t)(m->ended_wall_us / 1000)));
	json_object_set_new(json, "steps", steps_of(m));
	add_time_left(m, json);
	add_time_lost(m, json);
	add_arrival(m, json);
	json_object_set_new(json, "compression", compression_of(m));
	json_object_set_new(json, "differences", differences_of(m));
	json_object_set_new(json, "undecided", json_boolean(m->hand && m->hand->undecided));
	pthread_mutex_unlock(&m->lock);
	return json;
}
