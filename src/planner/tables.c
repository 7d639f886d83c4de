/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of every record of a snapshot, with their ranges; and every policy value. */
#include "bits.h"
#include "planner/fields.h"

#define EIB 1152921504606846976.0
#define YEAR_9999 253402300800.0
#define DAY 86400.0

static const char *const modes[] = { "recommend", "auto", "emergency", NULL };
static const char *const states[] = { "up", "draining", "maintenance", "dead", NULL };

#define TABLE(name)                                                                                \
	const struct field_table name##_fields = { name##_list, ARRAY_SIZE(name##_list) }
#define AT(T, m) .key = #m, .offset = offsetof(struct T, m)

static const struct field snapshot_list[] = {
	{ AT(snapshot, time), .kind = FIELD_COUNT, .required = true, .max = YEAR_9999 },
	{ AT(snapshot, mode), .kind = FIELD_WORD, .words = modes },
	{ .key = "rate",
	  .kind = FIELD_REAL,
	  .offset = offsetof(struct snapshot, corrections.rate),
	  .min = 0.01,
	  .max = 4,
	  .fallback = 1 },
	{ .key = "setup_s",
	  .kind = FIELD_REAL,
	  .offset = offsetof(struct snapshot, corrections.setup_s),
	  .max = 60,
	  .fallback = 0.05 },
	{ .key = "fixed_s",
	  .kind = FIELD_REAL,
	  .offset = offsetof(struct snapshot, corrections.fixed_s),
	  .max = 10,
	  .fallback = 0.01 },
	{ .key = "slowdown",
	  .kind = FIELD_REAL,
	  .offset = offsetof(struct snapshot, corrections.slowdown),
	  .max = 1,
	  .fallback = 0.1 },
};
TABLE(snapshot);

static const struct field host_list[] = {
	{ .key = "id",
	  .kind = FIELD_NAME,
	  .offset = offsetof(struct host, name),
	  .required = true },
	{ AT(host, at), .kind = FIELD_COUNT, .required = true, .max = YEAR_9999 },
	{ AT(host, state), .kind = FIELD_WORD, .words = states },
	{ AT(host, cores), .required = true, .min = 0.001, .max = 65536 },
	{ AT(host, memory), .kind = FIELD_COUNT, .required = true, .min = 1, .max = EIB },
	{ AT(host, reserve), .kind = FIELD_COUNT, .max = EIB },
	{ AT(host, available), .kind = FIELD_COUNT, .required = true, .max = EIB },
	{ AT(host, link), .required = true, .max = 1e13 },
	{ AT(host, link_used), .max = 1 },
	{ AT(host, class), .kind = FIELD_NAME },
	{ AT(host, maintenance_at), .kind = FIELD_COUNT, .max = YEAR_9999 },
	{ AT(host, use), .kind = FIELD_WINDOWS, .max = 1 },
	{ AT(host, psi_cpu), .max = 1 },
	{ AT(host, psi_mem), .max = 1 },
	{ AT(host, psi_io), .max = 1 },
};
TABLE(host);

static const struct field vm_list[] = {
	{ .key = "id", .kind = FIELD_NAME, .offset = offsetof(struct vm, name), .required = true },
	{ .key = "host",
	  .kind = FIELD_NAME,
	  .offset = offsetof(struct vm, host_name),
	  .required = true },
	{ AT(vm, at), .kind = FIELD_COUNT, .required = true, .max = YEAR_9999 },
	{ AT(vm, vcpus), .kind = FIELD_COUNT, .required = true, .min = 1, .max = 65536 },
	{ AT(vm, memory), .kind = FIELD_COUNT, .required = true, .min = 1, .max = EIB },
	{ AT(vm, resident), .kind = FIELD_COUNT, .required = true, .max = EIB },
	{ AT(vm, working_set), .kind = FIELD_COUNT, .max = EIB },
	{ AT(vm, weight), .min = 0.001, .max = 1000, .fallback = 1 },
	{ AT(vm, age_s), .max = 1e10 },
	{ AT(vm, contended_s), .max = 1e10 },
	{ AT(vm, together), .kind = FIELD_GROUPS },
	{ AT(vm, apart), .kind = FIELD_GROUPS },
	{ AT(vm, pinned), .kind = FIELD_BOOL },
	{ AT(vm, run), .kind = FIELD_WINDOWS, .required = true, .max = 1 },
	{ AT(vm, delay), .kind = FIELD_WINDOWS, .required = true, .max = 1 },
	{ AT(vm, throttled), .kind = FIELD_WINDOWS, .max = 1 },
	{ AT(vm, mem), .kind = FIELD_WINDOWS, .max = 1 },
	{ AT(vm, io), .kind = FIELD_WINDOWS, .max = 1 },
	{ AT(vm, cpu_mean), .required = true, .max = 65536 },
	{ AT(vm, cpu_deviation), .max = 65536 },
	{ AT(vm, cpu_yesterday), .max = 65536, .fallback = -1 },
	{ AT(vm, dirty_rate), .max = 1e13 },
	{ AT(vm, write_set), .kind = FIELD_COUNT, .max = EIB },
	{ AT(vm, to_send), .kind = FIELD_COUNT, .max = EIB },
	{ .key = "moves", .kind = FIELD_PAST, .offset = offsetof(struct vm, past) },
};
TABLE(vm);

static const struct field past_list[] = {
	{ AT(past_move, at), .kind = FIELD_COUNT, .required = true, .max = YEAR_9999 },
	{ AT(past_move, from), .kind = FIELD_NAME, .required = true },
	{ AT(past_move, took_s), .required = true, .max = 1e7 },
	{ AT(past_move, predicted_s), .max = 1e7 },
	{ AT(past_move, blackout_s), .max = 1e7 },
	{ AT(past_move, predicted_blackout_s), .max = 1e7 },
	{ AT(past_move, gain), .min = -65536, .max = 65536 },
	{ AT(past_move, predicted_gain), .min = -65536, .max = 65536 },
};
TABLE(past);

static const struct field flight_list[] = {
	{ AT(flight, vm), .kind = FIELD_NAME, .required = true },
	{ AT(flight, from), .kind = FIELD_NAME, .required = true },
	{ AT(flight, to), .kind = FIELD_NAME, .required = true },
	{ AT(flight, since), .kind = FIELD_COUNT, .required = true, .max = YEAR_9999 },
};
TABLE(flight);

static const struct field reservation_list[] = {
	{ AT(reservation, host), .kind = FIELD_NAME, .required = true },
	{ AT(reservation, vm), .kind = FIELD_NAME, .required = true },
	{ AT(reservation, memory), .kind = FIELD_COUNT, .required = true, .max = EIB },
	{ AT(reservation, vcpus), .kind = FIELD_COUNT, .required = true, .max = 65536 },
	{ AT(reservation, until), .kind = FIELD_COUNT, .required = true, .max = YEAR_9999 },
};
TABLE(reservation);

static const struct field curve_list[] = {
	{ AT(curve, class), .kind = FIELD_NAME },
	{ AT(curve, delay), .kind = FIELD_CURVE, .required = true, .max = 1 },
};
TABLE(curve);

#define VALUE(m, default, low, high, text)                                                         \
	{                                                                                          \
		AT(policy, m), .fallback = (default), .min = (low), .max = (high), .help = text    \
	}
static const struct field policy_list[] = {
	VALUE(interval_s, 60, 1, DAY, "seconds from one plan to the next"),
	VALUE(window_s, 60, 1, DAY, "seconds of each window of measurements"),
	VALUE(stale_intervals, 3, 1, 1000, "intervals after which a measurement is stale"),
	VALUE(hold_windows, 3, 1, WINDOWS_MAX, "windows out of five that must show contention"),
	VALUE(happy_low, 0.9, 0, 1, "a VM below this share of what it wants is unhappy"),
	VALUE(use_high, 0.85, 0, 10, "a host above this expected use is hot"),
	VALUE(use_fill, 0.75, 0, 10, "moves fill their destination up to this expected use"),
	VALUE(deviations, 1, 0, 10, "standard deviations added to mean use"),
	VALUE(near, 32, 1, 1e6, "coolest hosts tried for each VM"),
	VALUE(random, 32, 0, 1e6, "other hosts tried for each VM"),
	VALUE(margin, 2, 0, 1000, "a move's benefit must be this many times its cost"),
	VALUE(gain_min, 0.1, 0, 10, "and win this share of what its VM loses, or clear a host"),
	VALUE(knee_min, 5, 1, 1e6, "moves at begin and end that are compared, in a small cluster"),
	VALUE(knee_hosts, 0.2, 0, 1, "moves compared for each host, in a large one"),
	VALUE(knee_share, 0.2, 0, 1, "stop when the last ones gain less than this of the first"),
	VALUE(cooldown_s, 900, 0, 1e7, "seconds a VM stays after its first move"),
	VALUE(cooldown_moves, 10, 0, 1e6, "or this many times what its last move took"),
	VALUE(cooldown_growth, 3, 1, 100, "factor for each further move in the history"),
	VALUE(cooldown_max_s, 21600, 0, 1e7, "and never more seconds than this"),
	VALUE(history_s, DAY, 0, 1e7, "seconds for which moves count"),
	VALUE(return_cooldowns, 2, 0, 100, "cooldowns before a VM may go back where it was"),
	VALUE(out_max, 2, 1, 1e6, "moves out of one host at once"),
	VALUE(in_max, 2, 1, 1e6, "moves into one host at once"),
	VALUE(cluster_min, 5, 1, 1e6, "moves at once in a small cluster"),
	VALUE(cluster_share, 0.02, 0, 1, "moves at once for each host, in a large one"),
	VALUE(link_share, 0.5, 0.01, 1, "share of a link that moves may take"),
	VALUE(freeze_windows, 2, 0, 1000, "windows after a move in which its hosts are not judged"),
	VALUE(budget_day, 0.5, 0, 1e6, "moves a day for each VM of the cluster"),
	VALUE(audit_moves, 20, 1, 1e6, "last moves whose gain is looked at"),
	VALUE(audit_share, 0.5, 0, 10, "below this share of the promise: recommend only"),
	VALUE(waves_max, 10, 1, 1e6, "waves of moves planned ahead"),
	VALUE(hosts_in_reserve, 0, 0, 1e6, "hosts that may fail with room for their VMs elsewhere"),
	VALUE(energy, 0, 0, 1, "1: empty the host with least to do if others can take it all"),
	VALUE(blackout_s, 0.3, 0.001, 1000, "seconds a guest may stand still"),
	VALUE(rounds_max, 30, 1, 10000, "rounds after which a move does not converge"),
	VALUE(send_cores, 1, 0, 100, "cores that a move keeps busy, both hosts together"),
	VALUE(gib_price, 0, 0, 1e6, "vCPU-seconds that a GiB sent costs beside that"),
	VALUE(together_price, 0.5, 0, 1e6, "vCPUs that a VM away from all of its group costs"),
	VALUE(explain_max, 100, 0, 1e6, "refused moves, and refused records, that a plan lists"),
};
TABLE(policy);
