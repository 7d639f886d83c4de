/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "local_internal.h"
#include "pins.h"

/* Since the beat before, if that has looked. */
static void read_cpus(struct local_cpus *cpus)
{
	struct cpu_ticks now[CPU_SETSIZE] = { { 0 } };

	host_read_cpus(now, CPU_SETSIZE, "");
	for (unsigned i = 0; i < CPU_SETSIZE; i++) {
		const struct cpu_ticks *last = &cpus->last[i];
		struct pin_cpu *cpu = &cpus->cpu[i];

		if (!cpus->looked && now[i].all)
			cpu->node = host_node_of(i, "");
		cpu->busy = 1;
		if (last->all && now[i].all > last->all)
			cpu->busy = (double)(now[i].busy - last->busy) /
				    (double)(now[i].all - last->all);
		cpus->last[i] = now[i];
	}
	cpus->looked = true;
}

static bool read_guest(struct local_vm *v)
{
	struct pins pins;

	v->pin.why = PIN_STAYS;
	if (!v->roams || !v->answers || !v->stays || !v->now.runs ||
	    !pins_read(v->pid, v->now.affinity, &pins) || pins.vcpus < v->now.vcpus)
		return false;
	CPU_ZERO(&v->pin.own);
	pins_add(v->now.affinity, &v->pin.own);
	v->pin.lent = pins.lent;
	v->pin.vcpus = pins.vcpus;
	v->pin.run = v->cpu.run;
	v->pin.waits = cpu_waits(v->cpu.run, v->cpu.wait) && !cpu_is_at_limit(&v->cpu);
	return true;
}

/* Of those that are pinned nowhere, and the CPUs to which none is. */
static void read_others(struct pin_host *h, const struct local *l)
{
	const struct local_vm *v;
	double run = 0, wait = 0;
	cpu_set_t pinned, both;

	CPU_ZERO(&pinned);
	list_for_each (v, &l->vms, node) {
		pins_add(v->now.affinity, &pinned);
		if (json_array_size(v->now.affinity) || cpu_is_at_limit(&v->cpu))
			continue;
		run += v->cpu.run;
		wait += v->cpu.wait;
	}
	h->wait = cpu_waits(run, wait);
	CPU_ZERO(&h->may);
	sched_getaffinity(0, sizeof(h->may), &h->may);
	CPU_AND(&both, &h->may, &pinned);
	CPU_XOR(&h->may, &h->may, &both);
}

/* With the lock. */
static void say_lent(struct local_vm *v, const cpu_set_t *lent)
{
	char *why = v->why[LOCAL_PIN];
	size_t len = 0;

	why[0] = '\0';
	for (unsigned i = 0; i < CPU_SETSIZE && len + 1 < LOCAL_WHY_BYTES; i++)
		if (CPU_ISSET(i, lent))
			len += (size_t)snprintf(why + len, LOCAL_WHY_BYTES - len, "%s%u",
						len ? ", " : "beside its own it may use the CPUs ",
						i);
}

static void lend(struct agent *a, struct local_vm *v)
{
	if (!pins_lend(v->pid, v->now.affinity, &v->pin.target))
		return;
	pthread_mutex_lock(&a->lock);
	say_lent(v, &v->pin.target);
	agent_say(a, "cpus-lent", v->name, "%s: these were idle and its own are busy with others",
		  v->why[LOCAL_PIN]);
	pthread_mutex_unlock(&a->lock);
}

void local_pin_back(struct agent *a, struct local_vm *v, const char *why)
{
	cpu_set_t none;

	if (!*v->why[LOCAL_PIN])
		return;
	CPU_ZERO(&none);
	pins_lend(v->pid, v->now.affinity, &none);
	pthread_mutex_lock(&a->lock);
	v->why[LOCAL_PIN][0] = '\0';
	agent_say(a, "cpus-back", v->name, "it may use its own CPUs only: %s", why);
	pthread_mutex_unlock(&a->lock);
}

/* An agent before this one may have lent some. */
static void notice(struct agent *a, struct local_vm *v)
{
	pthread_mutex_lock(&a->lock);
	if (!*v->why[LOCAL_PIN] != !CPU_COUNT(&v->pin.lent))
		say_lent(v, &v->pin.lent);
	pthread_mutex_unlock(&a->lock);
}

void local_pins(struct beat *b, struct pin_guest **guests)
{
	struct local *l = b->local;
	struct pin_host h = { .seconds = b->seconds, .cpu = l->cpus.cpu };
	struct local_vm *v;
	size_t n = 0;

	list_for_each (v, &l->vms, node) {
		if (!read_guest(v))
			continue;
		notice(b->agent, v);
		guests[n++] = &v->pin;
	}
	if (!n) {
		memset(&l->cpus, 0, sizeof(l->cpus));
		return;
	}
	read_cpus(&l->cpus);
	read_others(&h, l);
	pin_policy(&h, guests, n);
	list_for_each (v, &l->vms, node) {
		if (v->pin.why == PIN_LENT)
			lend(b->agent, v);
		else if (v->pin.why == PIN_WAIT)
			local_pin_back(b->agent, v, "somebody waits there");
		else if (v->pin.why == PIN_FREE)
			local_pin_back(b->agent, v, "there is room on these again");
	}
}
