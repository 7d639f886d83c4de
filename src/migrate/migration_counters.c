/* SPDX-License-Identifier: Apache-2.0 */
/* The last migration as numbers. */
#include <string.h>

#include "loop.h"
#include "migration_internal.h"

struct migration_counters {
	_Atomic uint64_t ongoing, finished, cancelled, failed, incoming;
	_Atomic uint64_t duration_ns, blackout_ns;
	_Atomic uint64_t phase_connect_ns, phase_wait_ns, phase_hello_ns, phase_first_pass_ns;
	_Atomic uint64_t phase_receive_ns, phase_rounds_ns, phase_offer_ns, phase_stop_ns;
	_Atomic uint64_t phase_load_ns, phase_last_pages_ns, phase_devices_ns, phase_seal_ns;
	_Atomic uint64_t phase_hand_over_ns, phase_await_token_ns, phase_take_disks_ns;
	_Atomic uint64_t phase_accept_ns, phase_run_ns, phase_end_ns;
	_Atomic uint64_t rounds, pages, zero_pages, resent_pages, hinted_pages, sent_bytes,
		reconnects;
	_Atomic uint64_t throttle_percent, throttled_ns;
	_Atomic uint64_t first_packet_ns, first_disk_ns, clock_step_ns;
};

#define GAUGE(m, family, ...)                                                                      \
	COUNTER_GAUGE_OF(struct migration_counters, m, .metric = "godwit_migration_" family,       \
			 __VA_ARGS__)
#define SECONDS(m, family, ...)                                                                    \
	GAUGE(m, family "_seconds", .unit = COUNTER_NANOSECONDS, __VA_ARGS__)
#define IS(m)                                                                                      \
	GAUGE(m, "state", .label = "state", .label_value = #m,                                     \
	      .help = "1 for the one that the last migration is in.")
#define PHASE(m, word)                                                                             \
	SECONDS(phase_##m##_ns, "phase", .label = "phase", .label_value = (word),                  \
		.help = "How long each phase of it took; 0: this side has none.")
#define PAGES(m, word)                                                                             \
	GAUGE(m, "sent_pages", .label = "how", .label_value = (word),                              \
	      .help = "Pages that were sent, and those of them that had to be sent again.")

static const struct counter counters[] = {
	IS(ongoing),
	IS(finished),
	IS(cancelled),
	IS(failed),
	GAUGE(incoming, "incoming", .help = "1: the VM came here."),
	SECONDS(duration_ns, "duration", .help = "How long the migration took in all."),
	SECONDS(blackout_ns, "blackout",
		.help = "How long the guest stood still; before that, what is expected."),
	PHASE(connect, "connect"),
	PHASE(wait, "wait"),
	PHASE(hello, "hello"),
	PHASE(first_pass, "first-pass"),
	PHASE(receive, "receive"),
	PHASE(rounds, "rounds"),
	PHASE(offer, "offer"),
	PHASE(stop, "stop"),
	PHASE(load, "load"),
	PHASE(last_pages, "last-pages"),
	PHASE(devices, "devices"),
	PHASE(seal, "seal"),
	PHASE(hand_over, "hand-over"),
	PHASE(await_token, "await-token"),
	PHASE(take_disks, "take-disks"),
	PHASE(accept, "accept"),
	PHASE(run, "run"),
	PHASE(end, "end"),
	GAUGE(rounds, "rounds", .help = "Rounds with the guest running."),
	PAGES(pages, "whole"),
	PAGES(zero_pages, "zero"),
	PAGES(resent_pages, "again"),
	GAUGE(hinted_pages, "hinted_pages",
	      .help = "Pages that were left out, as the guest need not keep them."),
	GAUGE(sent_bytes, "sent_bytes", .unit = COUNTER_BYTES, .help = "Bytes of memory sent."),
	GAUGE(reconnects, "reconnects", .help = "Times that all connections came back."),
	GAUGE(throttle_percent, "throttle_percent", .help = "How much vCPUs are slowed down."),
	SECONDS(throttled_ns, "throttled", .help = "Time that its vCPUs lost by that, together."),
	SECONDS(first_packet_ns, "first_packet",
		.help = "From when it ran here to the guest's first packet; 0: not known."),
	SECONDS(first_disk_ns, "first_disk_request",
		.help = "From when it ran here to its first disk request's end; 0: not known."),
	GAUGE(clock_step_ns, "clock_step_seconds", .unit = COUNTER_SIGNED_NANOSECONDS,
	      .help = "What its clock went on more here than the hosts' clocks did."),
};
const struct counter_table migration_counter_table = COUNTER_TABLE(struct migration_counters,
								   counters, .is_machine = true);

static void set_phase(struct migration_counters *c, const char *name, uint64_t ns)
{
	for (size_t i = 0; i < migration_counter_table.n; i++) {
		const struct counter *row = &counters[i];

		if (row->label_value && !strcmp(row->label_value, name) &&
		    !strcmp(row->label, "phase"))
			counter_set((void *)((char *)c + row->offset), ns);
	}
}

static void set_times(struct migration_counters *c, const struct migration *m)
{
	uint64_t until_ns = m->phase == PHASE_OVER ? m->began_ns[PHASE_OVER] : loop_now_ns();

	c->duration_ns = until_ns - m->began_ns[PHASE_CONNECT];
	c->blackout_ns = m->blackout_ns;
	for (enum migration_phase i = 0; i < PHASE_OVER; i++)
		if (migration_phase_name(m, i))
			set_phase(c, migration_phase_name(m, i), migration_phase_ns(m, i));
}

static void set_state(struct migration_counters *c, const struct migration *m)
{
	_Atomic uint64_t *const ends[] = { [MIGRATION_MOVED] = &c->finished,
					   [MIGRATION_CANCELLED] = &c->cancelled,
					   [MIGRATION_FAILED] = &c->failed };

	*(m->phase == PHASE_OVER ? ends[m->end] : &c->ongoing) = 1;
	c->incoming = m->incoming;
}

static void set_memory(struct migration_counters *c, const struct migration *m)
{
	const struct ram_progress *p = m->ram ? ram_sender_progress(m->ram) : &m->counted;

	c->rounds = m->nrounds;
	c->pages = p->pages;
	c->zero_pages = p->zero_pages;
	c->resent_pages = p->resent_pages;
	c->hinted_pages = p->hinted_pages;
	c->sent_bytes = p->bytes;
	c->reconnects = m->reconnects;
}

static void set_guest(struct migration_counters *c, const struct migration *m)
{
	const struct vm_arrival *a = &m->arrival;

	c->throttle_percent = migration_throttle(m);
	for (unsigned i = 0; i < m->nvcpus; i++)
		c->throttled_ns += m->throttled_ns[i] - m->throttled_before_ns[i];
	if (a->first_frame_ns)
		c->first_packet_ns = a->first_frame_ns - a->ran_ns;
	if (a->first_request_ns)
		c->first_disk_ns = a->first_request_ns - a->ran_ns;
	c->clock_step_ns = (uint64_t)a->clock_step_ns;
}

int migration_count(struct migration *m, struct counter_readings *all)
{
	struct migration_counters now = { 0 };

	pthread_mutex_lock(&m->lock);
	set_state(&now, m);
	set_times(&now, m);
	set_memory(&now, m);
	set_guest(&now, m);
	pthread_mutex_unlock(&m->lock);
	return counters_add(all, &migration_counter_table, "migration", &now);
}
