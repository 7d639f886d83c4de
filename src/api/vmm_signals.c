/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm_signals.h"

#include <stdlib.h>

#include "cleanup.h"
#include "machine.h"
#include "migration.h"
#include "vmm_internal.h"

/* Of 10 Gbit/s, where nothing was measured. */
#define USUAL_LINK_RATE UINT64_C(1250000000)

struct move_counters {
	_Atomic uint64_t samples;
	_Atomic uint64_t memory, dirty_rate, write_set, link_rate;
	_Atomic uint64_t converges, duration_ns, blackout_ns;
};

#define MOVE(m, family, ...)                                                                       \
	COUNTER_GAUGE_OF(struct move_counters, m, .metric = "godwit_move_" family, __VA_ARGS__)

static const struct counter move_counters[] = {
	COUNTER(struct move_counters, samples, .metric = "godwit_move_samples",
		.help = "How often what follows was found out."),
	MOVE(memory, "memory_bytes", .unit = COUNTER_BYTES,
	     .help = "Memory that a move would send: what holds anything but zeros."),
	MOVE(dirty_rate, "dirty_bytes_per_second", .help = "Memory that the guest writes."),
	MOVE(write_set, "write_set_bytes", .unit = COUNTER_BYTES,
	     .help = "Memory that the guest has written lately; 0: nothing, or not known yet."),
	MOVE(link_rate, "link_bytes_per_second",
	     .help = "What the link carries that the rest is for."),
	MOVE(converges, "converges", .help = "1: a move would come to its end."),
	MOVE(duration_ns, "duration_seconds", .unit = COUNTER_NANOSECONDS,
	     .help = "How long it would take; 0: it would not come to its end."),
	MOVE(blackout_ns, "blackout_seconds", .unit = COUNTER_NANOSECONDS,
	     .help = "How long the guest would stand still; 0: it would not come to its end."),
};
const struct counter_table move_counter_table = COUNTER_TABLE(struct move_counters, move_counters,
							      .is_machine = true);

struct pressure_counters {
	_Atomic uint64_t cpu_some_avg10, memory_some_avg10, memory_full_avg10, io_full_avg10;
	_Atomic uint64_t cpu_some_ns, memory_some_ns, memory_full_ns, io_full_ns;
};

#define AVG10(m, word)                                                                             \
	COUNTER_GAUGE_OF(struct pressure_counters, m##_avg10,                                      \
			 .metric = "godwit_pressure_avg10_ratio", .unit = COUNTER_TEN_THOUSANDTHS, \
			 .label = "what", .label_value = (word),                                   \
			 .help = "Part of the last ten seconds that some, or all, waited for it.")
#define STALLED(m, word)                                                                           \
	COUNTER(struct pressure_counters, m##_ns, .metric = "godwit_pressure_stalled_seconds",     \
		.unit = COUNTER_NANOSECONDS, .label = "what", .label_value = (word),               \
		.help = "Time that some, or all, of the VM's control group waited for it.")

static const struct counter pressure_counters[] = {
	AVG10(cpu_some, "cpu-some"),         AVG10(memory_some, "memory-some"),
	AVG10(memory_full, "memory-full"),   AVG10(io_full, "io-full"),
	STALLED(cpu_some, "cpu-some"),       STALLED(memory_some, "memory-some"),
	STALLED(memory_full, "memory-full"), STALLED(io_full, "io-full"),
};
const struct counter_table pressure_counter_table =
	COUNTER_TABLE(struct pressure_counters, pressure_counters, .is_machine = true);

/* NULL: there is no guest that could write, or no room. */
static struct memory_watch *watch_of(struct vmm *v)
{
	struct err e;

	if (!v->machine || machine_vm(v->machine)->incoming)
		return NULL;
	if (!v->signals.watch && memory_watch_new(&v->signals.watch, machine_vm(v->machine), &e))
		return NULL;
	return v->signals.watch;
}

void vmm_signals_forget(struct vmm *v)
{
	memory_watch_free(TAKE(v->signals.watch));
}

void vmm_default_estimate(struct check_estimate *c)
{
	json_auto_t *request = json_pack("{s:s}", "destination_url", "none");
	struct migration_config would;
	struct err e;

	vmm_load_send("vm.predict-migration", request, &would, &e);
	check_estimate(c, &would.goals);
}

bool vmm_predict(struct vmm *v, struct check_estimate *out)
{
	struct memory_writes w;

	if (!v->signals.watch || !memory_watch_read(v->signals.watch, &w))
		return false;
	*out = (struct check_estimate){ .bytes = w.bytes,
					.written = w.rate,
					.write_set = w.set,
					.rate = v->signals.link_rate ? v->signals.link_rate
								     : USUAL_LINK_RATE };
	vmm_default_estimate(out);
	return true;
}

static int count_move(struct vmm *v, struct counter_readings *all)
{
	struct move_counters now = { 0 };
	struct check_estimate c;
	struct memory_writes w;

	if (!vmm_predict(v, &c) || !memory_watch_read(v->signals.watch, &w))
		return 0;
	now.samples = w.samples;
	now.memory = c.bytes;
	now.dirty_rate = c.written;
	now.write_set = c.write_set;
	now.link_rate = c.rate;
	now.converges = c.converges;
	now.duration_ns = c.converges ? c.duration_ns : 0;
	now.blackout_ns = c.converges ? c.blackout_ns : 0;
	return counters_add(all, &move_counter_table, "move", &now);
}

static int count_pressure(struct vmm *v, struct counter_readings *all)
{
	struct pressure p;
	struct pressure_counters now;

	if (!pressure_read(&v->signals.group, &p))
		return 0;
	now = (struct pressure_counters){
		.cpu_some_avg10 = p.avg10[PRESSURE_CPU_SOME],
		.memory_some_avg10 = p.avg10[PRESSURE_MEMORY_SOME],
		.memory_full_avg10 = p.avg10[PRESSURE_MEMORY_FULL],
		.io_full_avg10 = p.avg10[PRESSURE_IO_FULL],
		.cpu_some_ns = p.stalled_ns[PRESSURE_CPU_SOME],
		.memory_some_ns = p.stalled_ns[PRESSURE_MEMORY_SOME],
		.memory_full_ns = p.stalled_ns[PRESSURE_MEMORY_FULL],
		.io_full_ns = p.stalled_ns[PRESSURE_IO_FULL],
	};
	return counters_add(all, &pressure_counter_table, "pressure", &now);
}

int vmm_count_signals(struct vmm *v, struct counter_readings *all)
{
	struct memory_watch *w = watch_of(v);
	int r;

	if (w)
		memory_watch_want(w);
	r = count_move(v, all);
	return r ? r : count_pressure(v, all);
}

struct predict_ask {
	struct vmm *vmm;
	struct vmm_request *q;
	struct memory_watch_ask ask;
};

static void on_known(void *arg)
{
	CLEANUP(free) struct predict_ask *p = arg;
	struct vmm_request *q = p->q;
	struct check_estimate c;

	q->fault = vmm_predict(p->vmm, &c) ? VMM_OK : VMM_FAILED;
	if (q->fault)
		err_set(&q->e, 0, "nobody knows what the guest writes; has the VM ended?");
	else
		q->out = check_estimate_json(&c);
	q->done(q);
}

/* What the guest writes takes a second to be known; others need not wait for that. */
void vmm_predict_migration(struct vmm *v, struct vmm_request *q)
{
	struct memory_watch *w;
	struct predict_ask *p;

	if (!vmm_check_booted(v))
		return;
	w = watch_of(v);
	p = w ? malloc(sizeof(*p)) : NULL;
	if (!p) {
		vmm_fail(v, VMM_FAILED, "out of memory");
		return;
	}
	*p = (struct predict_ask){ v, q, { .done = on_known, .arg = p } };
	vmm_release(v);
	memory_watch_ask(w, &p->ask);
}
