/* SPDX-License-Identifier: Apache-2.0 */
/* A migration as others see it: while it goes on, and how it went. */
#include "bits.h"
#include "guest_mem.h"
#include "loop.h"
#include "migration_internal.h"
#include "vcpu.h"

static const char *const phases[MIGRATION_PHASES] = {
	[PHASE_CONNECT] = "connect", [PHASE_COPY] = "copy",           [PHASE_OFFER] = "offer",
	[PHASE_STOP] = "stop",       [PHASE_HAND_OVER] = "hand-over", [PHASE_OVER] = "over",
};

/* The words of the control API for them. */
static const char *const api_phases[MIGRATION_PHASES] = {
	[PHASE_CONNECT] = "Starting",     [PHASE_COPY] = "MemoryPrecopy",
	[PHASE_OFFER] = "MemoryPrecopy",  [PHASE_STOP] = "Completing",
	[PHASE_HAND_OVER] = "Completing", [PHASE_OVER] = "Completing",
};

static json_t *state_of(const struct migration *m)
{
	if (m->phase != PHASE_OVER)
		return json_pack("{s:{s:s, s:i}}", "Ongoing", "phase", api_phases[m->phase],
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
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "us", (json_int_t)(r->duration_ns / 1000),
			 "pages_written", (json_int_t)r->pending, "pages", (json_int_t)r->pages,
			 "zero_pages", (json_int_t)r->zero_pages, "bytes", (json_int_t)r->bytes);
}

static json_t *rounds_of(const struct migration *m)
{
	unsigned first = m->nrounds > MIGRATION_ROUNDS_KEPT ? m->nrounds - MIGRATION_ROUNDS_KEPT
							    : 0;
	json_t *rounds = json_array();

	for (unsigned i = first; i < m->nrounds; i++)
		json_array_append_new(rounds, round_of(&m->round[i % MIGRATION_ROUNDS_KEPT]));
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

void migration_take_throttled(struct migration *m, struct vm *vm)
{
	m->nvcpus = vcpu_throttled_ns(vm, m->throttled_ns, MIGRATION_VCPUS_TOLD);
}

static json_t *throttled_of(const struct migration *m)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < m->nvcpus; i++)
		json_array_append_new(all, json_integer((json_int_t)(m->throttled_ns[i] -
								     m->throttled_before_ns[i]) /
							1000));
	return all;
}

/* How long each phase took, of those that began. */
static json_t *phases_of(const struct migration *m)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < PHASE_OVER; i++) {
		unsigned next = i + 1;

		while (next < PHASE_OVER && !m->began_ns[next])
			next++;
		if (m->began_ns[i])
			json_object_set_new(
				all, phases[i],
				json_integer((json_int_t)((m->began_ns[next] ? m->began_ns[next]
									     : loop_now_ns()) -
							  m->began_ns[i]) /
					     1000));
	}
	return all;
}

static json_t *memory_of(const struct migration *m)
{
	const struct ram_progress *p = m->ram ? ram_sender_progress(m->ram) : &m->counted;

	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "memory_iteration",
		(json_int_t)p->round, "memory_transmission_bps", (json_int_t)m->rate,
		"memory_bytes_total", (json_int_t)m->memory_bytes, "memory_bytes_transmitted",
		(json_int_t)p->bytes, "memory_bytes_remaining_iteration",
		(json_int_t)(p->remaining * GUEST_PAGE_BYTES), "memory_pages_4k_transmitted",
		(json_int_t)p->pages, "memory_pages_4k_remaining_iteration",
		(json_int_t)p->remaining, "memory_pages_constant_count", (json_int_t)p->zero_pages,
		"memory_dirty_rate_pps", (json_int_t)m->written_per_s);
}

json_t *migration_progress(struct migration *m)
{
	json_t *json;

	pthread_mutex_lock(&m->lock);
	json = json_pack("{s:I, s:I, s:I, s:{s:{s:i, s:b}}, s:o, s:o}", "timestamp_begin_ms",
			 (json_int_t)m->began_wall_ms, "downtime_configured_ms",
			 (json_int_t)m->goals.blackout_ms, "downtime_estimated_ms",
			 (json_int_t)((m->blackout_ns + 999999) / 1000000), "transportation_mode",
			 "Tcp", "connections", (int)m->ndata, "tls", m->tls != NULL, "state",
			 state_of(m), "memory_transmission_info", memory_of(m));
	json_object_update_new(
		json,
		json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:i}", "phase",
			  phases[m->phase], "incoming", m->incoming, "session", m->session, "url",
			  m->url, "peer", m->peer, "peer_identity", m->peer_identity, "blackout_us",
			  (json_int_t)(m->blackout_ns / 1000), "total_us",
			  (json_int_t)(((m->phase == PHASE_OVER ? m->began_ns[PHASE_OVER]
								: loop_now_ns()) -
					m->began_ns[PHASE_CONNECT]) /
				       1000),
			  "phases_us", phases_of(m), "rounds", rounds_of(m), "last_round",
			  round_of(&m->last), "reconnects", (int)m->reconnects));
	json_object_update_new(json, json_pack("{s:o, s:o}", "steps", steps_of(m), "throttled_us",
					       throttled_of(m)));
	json_object_set_new(json, "undecided", json_boolean(m->hand && m->hand->undecided));
	pthread_mutex_unlock(&m->lock);
	return json;
}
