/* SPDX-License-Identifier: Apache-2.0 */
#include "signals.h"

#include <math.h>
#include <string.h>

#include "bits.h"
#include "planner/happiness.h"

#define NS_PER_S 1e9
#define MEMORY_S 7200.0 /* of mean and deviation */

void windows_push(struct windows *w, double value)
{
	memmove(w->value + 1, w->value, (WINDOWS_MAX - 1) * sizeof(w->value[0]));
	w->value[0] = value;
	if (w->n < WINDOWS_MAX)
		w->n++;
}

static double share(uint64_t from, uint64_t to, double of)
{
	double v = of > 0 ? (double)(to - from) / of : 0;

	return v > 1 ? 1 : v;
}

struct shares {
	double run, delay, throttled;
};

/* When a VM read its counters is known only nearly: they are never more than all the time there was
 * (snapshot_read.c). */
static struct shares shares_of(const struct signal_counts *from, const struct signal_counts *to,
			       double of)
{
	double run = (double)(to->run - from->run), delay = (double)(to->delay - from->delay),
	       throttled = (double)(to->throttled - from->throttled);

	of = MAX(of, run + delay + throttled);
	return of > 0 ? (struct shares){ run / of, delay / of, throttled / of }
		      : (struct shares){ 0 };
}

static bool went_back(const struct signal_counts *from, const struct signal_counts *to)
{
	return to->run < from->run || to->delay < from->delay || to->throttled < from->throttled ||
	       to->mem < from->mem || to->io < from->io;
}

/* Of what it used between two looks, which weighs as long as that was; at first as all before. */
static void learn_use(struct signals *s, double cores, double elapsed_s)
{
	double weight = 1 - exp(-elapsed_s / MEMORY_S), off = cores - s->cpu_mean;

	s->learned_s += elapsed_s;
	weight = MAX(weight, elapsed_s / s->learned_s);
	s->cpu_mean += weight * off;
	s->cpu_variance = (1 - weight) * (s->cpu_variance + weight * off * off);
}

static void end_window(struct signals *s, const struct signal_counts *c, uint64_t vcpus,
		       double elapsed_ns)
{
	struct shares of = shares_of(&s->begin, c, elapsed_ns * (double)vcpus);

	windows_push(&s->run, of.run);
	windows_push(&s->delay, of.delay);
	windows_push(&s->throttled, of.throttled);
	windows_push(&s->mem, share(s->begin.mem, c->mem, elapsed_ns));
	windows_push(&s->io, share(s->begin.io, c->io, elapsed_ns));
}

void signals_add(struct signals *s, uint64_t now_ns, const struct signal_counts *c, uint64_t vcpus,
		 double window_s)
{
	double elapsed_ns = (double)(now_ns - s->last_ns);

	if (!s->begun || went_back(&s->last, c) || now_ns <= s->last_ns) {
		s->begun = true;
		s->now_s = 0;
		s->begin = *c;
		s->window_ns = now_ns;
	} else {
		struct shares now = shares_of(&s->last, c, elapsed_ns * (double)vcpus);

		s->now_s = elapsed_ns / NS_PER_S;
		s->run_now = now.run;
		s->delay_now = now.delay;
		learn_use(s, (double)(c->run - s->last.run) / elapsed_ns, s->now_s);
	}
	s->last = *c;
	s->last_ns = now_ns;
	/* Looks are not quite even: one that is nearly as late ends the window, too. */
	if ((double)(now_ns - s->window_ns) >= 0.95 * window_s * NS_PER_S) {
		end_window(s, c, vcpus, (double)(now_ns - s->window_ns));
		s->begin = *c;
		s->window_ns = now_ns;
	}
}

double signals_cores(const struct signals *s, uint64_t vcpus, double hold_windows,
		     const struct daily *days, uint64_t now)
{
	uint32_t n = MIN(s->run.n, MAX((uint32_t)hold_windows, 1));
	double late = 0, mean = s->cpu_mean, yesterday, weight;

	for (uint32_t i = 0; i < n; i++)
		late += s->run.value[i] * (double)vcpus / n;
	if (days && daily_expects(days, now, &yesterday, &weight))
		mean += weight * (yesterday - mean);
	/* It may have had more vCPUs. */
	return MIN(MAX(late, mean), (double)vcpus);
}

double signals_happiness(const struct signals *s)
{
	const struct vm vm = { .run = s->run, .delay = s->delay, .mem = s->mem, .io = s->io };

	return s->run.n ? happiness(&vm, 0) : -1;
}
