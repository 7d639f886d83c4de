/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "peers.h"
#include "specs.h"

const char metrics_content_type[] = "text/plain; version=0.0.4; charset=utf-8";

struct of_host {
	double cores, use, memory, available, reserve, psi_cpu, psi_mem, psi_io;
	double vms, reservations, peers, planner, loss_before, loss_after;
	double begun, moved, failed, refused, last_s, last_blackout_s;
};

struct of_vm {
	double happiness, run, delay, throttled, resident, restarts;
};

/* A value of one of them; those of one metric stand together. */
struct row {
	const char *metric, *type, *help;
	const char *label, *name; /* of a host's: which of several; NULL: there is one */
	size_t at; /* of a double; NaN: not known */
};

#define ROW(T, m, name, kind, text, ...)                                                           \
	{                                                                                          \
		.metric = "godwit_" name, .type = (kind), .help = (text),                          \
		.at = offsetof(struct T, m), ##__VA_ARGS__                                         \
	}
#define HOST(m, ...) ROW(of_host, m, __VA_ARGS__)
#define OF(what, which) .label = (what), .name = (which)
#define VM(m, name, ...) ROW(of_vm, m, "vm_" name, __VA_ARGS__)

#define PRESSURE_HELP "Part of the last ten seconds that some, or all, waited for it."
#define OVER_HELP "Moves that are over: the VM moved, did not, or had been refused."

static const struct row host_rows[] = {
	HOST(cores, "host_cores", "gauge", "Cores that VMs may have."),
	HOST(use, "host_use_ratio", "gauge", "Share of them that was busy in the last window."),
	HOST(memory, "host_memory_bytes", "gauge", "Memory that VMs may have."),
	HOST(available, "host_available_bytes", "gauge", "Memory that is free."),
	HOST(reserve, "host_reserve_bytes", "gauge", "Memory of that which should stay free."),
	HOST(psi_cpu, "host_pressure_ratio", "gauge", PRESSURE_HELP, OF("what", "cpu-some")),
	HOST(psi_mem, "host_pressure_ratio", "gauge", PRESSURE_HELP, OF("what", "memory-some")),
	HOST(psi_io, "host_pressure_ratio", "gauge", PRESSURE_HELP, OF("what", "io-full")),
	HOST(vms, "host_vms", "gauge", "VMs that run on this host."),
	HOST(begun, "moves_begun_total", "counter", "Moves from this host that were begun."),
	HOST(moved, "moves_over_total", "counter", OVER_HELP, OF("how", "moved")),
	HOST(failed, "moves_over_total", "counter", OVER_HELP, OF("how", "failed")),
	HOST(refused, "moves_over_total", "counter", OVER_HELP, OF("how", "refused")),
	HOST(last_s, "last_move_seconds", "gauge", "What the last of them that moved took."),
	HOST(last_blackout_s, "last_move_blackout_seconds", "gauge", "How long it stood still."),
	HOST(reservations, "reservations", "gauge", "VMs that room is kept for on this host."),
	HOST(peers, "peers_heard", "gauge", "Agents of other hosts that are heard."),
	HOST(planner, "planner", "gauge", "1: this agent plans for all hosts."),
	HOST(loss_before, "plan_loss_before_vcpus", "gauge",
	     "vCPUs that are wanted and not had, by the last plan that was made here."),
	HOST(loss_after, "plan_loss_after_vcpus", "gauge", "The same behind all of its moves."),
};

static const struct row vm_rows[] = {
	VM(happiness, "happiness_ratio", "gauge", "What it got of what it asked for."),
	VM(run, "run_ratio", "gauge", "Share of its vCPUs' time that a core ran them."),
	VM(delay, "delay_ratio", "gauge", "Share that they waited for one."),
	VM(throttled, "throttled_ratio", "gauge", "Share that they were held back."),
	VM(resident, "resident_bytes", "gauge", "Memory that it has, with its monitor."),
	VM(restarts, "restarts_total", "counter", "Times that the agent started it again."),
};

/* The last window's. */
static double newest(const struct windows *w)
{
	return w->n ? w->value[0] : NAN;
}

static double number(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	return v ? json_number_value(v) : NAN;
}

static double length(const struct list *l)
{
	double n = 0;

	for (const struct list *i = l->next; i != l; i = i->next)
		n++;
	return n;
}

static void count_heard(void *arg, const struct peer_view *view)
{
	*(double *)arg += view->heard;
}

static void read_moves(const struct agent *a, struct of_host *h)
{
	h->begun = (double)a->moves.begun;
	h->moved = (double)a->moves.moved;
	h->failed = (double)a->moves.failed;
	h->refused = (double)a->moves.refused;
	h->last_s = a->moves.moved ? a->moves.last_s : NAN;
	h->last_blackout_s = a->moves.moved ? a->moves.last_blackout_s : NAN;
	h->reservations = length(&a->ledger.entries);
}

static void read_plan(const struct agent *a, struct of_host *h)
{
	struct election election;

	peers_each(a, count_heard, &h->peers);
	peers_election(a, &election);
	h->planner = election.planner && !strcmp(election.planner, a->options->id);
	h->loss_before = number(a->plan, "loss_before");
	h->loss_after = number(a->plan, "loss_after");
}

static void read_host(const struct agent *a, struct of_host *h)
{
	const struct agent_host *host = &a->host;
	const bool known = host->at > 0;

	*h = (struct of_host){ .cores = known ? host->cores : NAN,
			       .use = newest(&host->use),
			       .memory = known ? (double)host->memory : NAN,
			       .available = known ? (double)host->available : NAN,
			       .reserve = (double)a->options->reserve,
			       .psi_cpu = known ? host->psi_cpu : NAN,
			       .psi_mem = known ? host->psi_mem : NAN,
			       .psi_io = known ? host->psi_io : NAN,
			       .vms = length(&a->vms) };
	read_moves(a, h);
	read_plan(a, h);
}

static struct of_vm read_vm(const struct agent *a, const struct agent_vm *vm)
{
	const struct signals *s = &vm->signals;
	const struct spec *spec = specs_find(a, vm->name);
	double happy = signals_happiness(s);

	return (struct of_vm){ .happiness = happy >= 0 ? happy : NAN,
			       .run = newest(&s->run),
			       .delay = newest(&s->delay),
			       .throttled = newest(&s->throttled),
			       .resident = vm->at ? (double)vm->resident : NAN,
			       .restarts = spec ? spec->restarts : NAN };
}

/* Where text goes, and the metric whose samples come now. */
struct out {
	FILE *f;
	const char *metric;
};

static void print_head(struct out *o, const struct row *r)
{
	if (o->metric && !strcmp(o->metric, r->metric))
		return;
	fprintf(o->f, "# HELP %s %s\n# TYPE %s %s\n", r->metric, r->help, r->metric, r->type);
	o->metric = r->metric;
}

/* of: what has the values; label: a name, which needs no escapes; NULL: none. */
static void print_sample(struct out *o, const struct row *r, const void *of, const char *label,
			 const char *name)
{
	double value = *(const double *)((const char *)of + r->at);

	if (isnan(value))
		return;
	print_head(o, r);
	fputs(r->metric, o->f);
	if (label)
		fprintf(o->f, "{%s=\"%s\"}", label, name);
	fprintf(o->f, " %.*f\n", value == floor(value) ? 0 : 6, value);
}

static void print_all(struct out *o, const struct agent *a)
{
	const struct agent_vm *vm;
	struct of_host host;

	read_host(a, &host);
	for (size_t i = 0; i < ARRAY_SIZE(host_rows); i++)
		print_sample(o, &host_rows[i], &host, host_rows[i].label, host_rows[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(vm_rows); i++)
		list_for_each (vm, &a->vms, node) {
			struct of_vm of = read_vm(a, vm);

			print_sample(o, &vm_rows[i], &of, "vm", vm->name);
		}
}

char *metrics_text(const struct agent *a)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool failed;

	if (!f)
		return NULL;
	print_all(&(struct out){ .f = f }, a);
	failed = ferror(f);
	if (fclose(f) || failed) {
		free(text);
		return NULL;
	}
	return text;
}
