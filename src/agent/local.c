/* SPDX-License-Identifier: Apache-2.0 */
#include "local.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "local_internal.h"
#include "specs.h"

#define NS_PER_S 1e9
#define PAUSE_S 1
#define MARGIN_PART 20 /* of the host's memory */

int local_new(struct local **out, struct err *e)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return err_set(e, -ENOMEM, "out of memory");
	list_init(&(*out)->vms);
	return 0;
}

/* Its process is gone, but its group may be there for the next one. */
static void drop_all(struct list *vms)
{
	struct local_vm *v;

	while (!list_empty(vms)) {
		v = list_item(vms->next, struct local_vm, node);
		list_remove(&v->node);
		cpu_weight_put_back(&v->group);
		json_decref(v->now.affinity);
		free(v);
	}
}

void local_free(struct local *l)
{
	if (l)
		drop_all(&l->vms);
	free(l);
}

static struct local_vm *find(const struct local *l, const char *name)
{
	struct local_vm *v;

	list_for_each (v, &l->vms, node)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

static bool has_other(const struct local_vm *v)
{
	bool any = false;

	for (unsigned i = 0; i < LOCAL_WHYS; i++)
		any = any || *v->why[i];
	return any;
}

void local_add_to_state(const struct agent *a, const char *name, json_t *state)
{
	const struct local_vm *v = find(a->local, name);
	char text[LOCAL_WHYS * (LOCAL_WHY_BYTES + 2)];
	size_t len = 0;

	if (!v || !has_other(v))
		return;
	for (unsigned i = 0; i < LOCAL_WHYS; i++)
		if (*v->why[i])
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
						len ? "; " : "", v->why[i]);
	json_object_set_new(state, "local", json_string(text));
}

static void set_aside(struct beat *b, struct local_vm *v)
{
	list_remove(&v->node);
	list_append(&b->gone, &v->node);
}

static void find_vm(struct beat *b, const struct agent_vm *vm)
{
	struct local *l = b->local;
	struct local_vm *v = find(l, vm->name);
	const struct spec *s = specs_find(vm->agent, vm->name);

	if (v && v->pid != vm->pid) {
		set_aside(b, v);
		v = NULL;
	}
	if (!v) {
		v = calloc(1, sizeof(*v));
		if (!v)
			return;
		v->pid = vm->pid;
		snprintf(v->name, sizeof(v->name), "%s", vm->name);
		list_append(&l->vms, &v->node);
	}
	v->seen = true;
	v->stays = !s || !s->moves;
	v->borrows = s ? s->values.borrows : 0;
	v->memory_min = s ? s->values.memory_min : 0;
	v->roams = s && s->values.roams;
	v->weight = s ? s->values.weight : 0;
	if (v->borrows > 0)
		v->own = v->borrows;
}

/* With the lock.  False: nobody allows anything. */
static bool begin(struct beat *b)
{
	struct agent *a = b->agent;
	struct list *at, *next;
	struct local_vm *v;
	struct agent_vm *vm;
	bool any = false;

	list_for_each (v, &b->local->vms, node)
		v->seen = false;
	list_for_each (vm, &a->vms, node)
		find_vm(b, vm);
	for (at = b->local->vms.next; at != &b->local->vms; at = next) {
		v = list_item(at, struct local_vm, node);
		next = at->next;
		if (v->seen)
			any = any || v->borrows > 0 || v->roams || v->memory_min || v->weight > 0 ||
			      has_other(v);
		else
			set_aside(b, v);
	}
	b->cores = a->options->cores;
	b->promised = a->options->memory;
	b->reserve = a->options->reserve;
	return any;
}

/* In cores, of nanoseconds since the beat before. */
static double cores_of(uint64_t from, uint64_t to, double seconds)
{
	return to > from ? (double)(to - from) / NS_PER_S / seconds : 0;
}

/* now: in place of what it said at the beat before; seconds 0: there was none. */
static void add_times(struct local_vm *v, const struct local_reading *now, double seconds)
{
	const struct local_reading *last = &v->now;

	if (!(seconds > 0) || !last->run_ns)
		return;
	v->cpu.run = cores_of(last->run_ns, now->run_ns, seconds);
	v->cpu.wait = cores_of(last->wait_ns, now->wait_ns, seconds);
	v->cpu.held = cores_of(last->throttled_ns, now->throttled_ns, seconds);
}

static void ask_all(struct beat *b)
{
	struct local *l = b->local;
	struct local_reading now;
	struct local_vm *v;

	host_read(&b->host, "");
	if (l->last.now_ns)
		b->seconds = (double)(b->host.now_ns - l->last.now_ns) / NS_PER_S;
	list_for_each (v, &l->vms, node) {
		v->answers = local_ask(v->name, v->memory_min, &now);
		v->cpu = (struct cpu_guest){ 0 };
		if (!v->answers)
			continue;
		add_times(v, &now, b->seconds);
		json_decref(v->now.affinity);
		v->now = now;
	}
}

/* With the lock: an agent before this one may have lent and taken, and so may a person. */
static void notice(struct local_vm *v)
{
	const struct memory_sample *m = &v->now.memory;
	bool borrows = v->own > 0 && v->now.limit > v->own;

	if (borrows && !*v->why[LOCAL_CPU])
		snprintf(v->why[LOCAL_CPU], LOCAL_WHY_BYTES,
			 "it may use %.3g cores in place of its own %.3g", v->now.limit, v->own);
	else if (!borrows)
		v->why[LOCAL_CPU][0] = '\0';
	if (m->asked >= v->now.most)
		v->why[LOCAL_MEMORY][0] = '\0';
	else if (v->memory_min && !*v->why[LOCAL_MEMORY])
		snprintf(v->why[LOCAL_MEMORY], LOCAL_WHY_BYTES, "it has %llu of %llu MiB",
			 (unsigned long long)m->asked / MIB, (unsigned long long)v->now.most / MIB);
}

static bool may_borrow(const struct local_vm *v)
{
	return v->answers && v->stays && v->now.runs && v->borrows > 0 && v->now.limit > 0;
}

bool local_may_take(const struct local_vm *v)
{
	return v->answers && v->stays && v->now.runs && v->memory_min;
}

static double idle_cores(const struct beat *b, double run)
{
	const struct host_reading *last = &b->local->last, *now = &b->host;
	double idle;

	if (b->cores > 0)
		return fmax(b->cores - run, 0);
	if (now->all_ticks <= last->all_ticks)
		return 0;
	idle = 1 - (double)(now->busy_ticks - last->busy_ticks) /
			   (double)(now->all_ticks - last->all_ticks);
	return idle * now->cores;
}

static uint64_t available(const struct beat *b)
{
	const struct local_vm *v;
	uint64_t resident = 0;

	list_for_each (v, &b->local->vms, node)
		resident += v->now.resident;
	if (!b->promised)
		return b->host.available;
	return MIN(b->host.available, b->promised - MIN(resident, b->promised));
}

/* It may have begun to move since it was asked. */
static bool moves(struct agent *a, const char *name)
{
	const struct spec *s;
	bool does;

	pthread_mutex_lock(&a->lock);
	s = specs_find(a, name);
	does = s && s->moves;
	pthread_mutex_unlock(&a->lock);
	return does;
}

/* Has its monitor do that. */
static bool turn(struct agent *a, const struct local_vm *v, const char *key, json_t *value)
{
	json_auto_t *body = json_pack("{s:o}", key, value);
	struct err e;

	if (moves(a, v->name))
		return false;
	if (!local_resize(v->name, body, &e))
		return true;
	pthread_mutex_lock(&a->lock);
	agent_say(a, "local-refused", v->name, "%s", e.text);
	pthread_mutex_unlock(&a->lock);
	return false;
}

static void lend(struct agent *a, struct local_vm *v, const struct cpu_host *h)
{
	double cores = floor(v->cpu.target * 1000 + 0.5) / 1000;

	if (!turn(a, v, "cpu_limit", json_real(cores)))
		return;
	pthread_mutex_lock(&a->lock);
	snprintf(v->why[LOCAL_CPU], LOCAL_WHY_BYTES,
		 "it may use %.3g cores in place of its own %.3g: %.3g were idle", cores, v->own,
		 h->idle);
	agent_say(a, "cores-lent", v->name, "%s", v->why[LOCAL_CPU]);
	pthread_mutex_unlock(&a->lock);
}

static void take_back(struct agent *a, struct local_vm *v, const char *why)
{
	if (!turn(a, v, "cpu_limit", json_real(v->own)))
		return;
	pthread_mutex_lock(&a->lock);
	v->why[LOCAL_CPU][0] = '\0';
	agent_say(a, "cores-back", v->name, "it may use its own %.3g cores again: %s", v->own, why);
	pthread_mutex_unlock(&a->lock);
}

/* VMs at their limit may wait for that: in a control group the kernel holds them back. */
static void share_cores(struct beat *b, struct cpu_guest **guests)
{
	struct cpu_host h = { .seconds = b->seconds };
	struct local_vm *v;
	double run = 0;
	size_t n = 0;

	list_for_each (v, &b->local->vms, node) {
		v->cpu.own = v->borrows;
		v->cpu.limit = v->now.limit;
		v->cpu.vcpus = (double)v->now.vcpus;
		run += v->cpu.run;
		if (!cpu_is_at_limit(&v->cpu)) {
			h.run += v->cpu.run;
			h.wait += v->cpu.wait;
		}
		if (may_borrow(v))
			guests[n++] = &v->cpu;
	}
	h.idle = idle_cores(b, run);
	cpu_policy(&b->local->loans, &h, guests, n);
	list_for_each (v, &b->local->vms, node) {
		if (v->cpu.why == CPU_LENT)
			lend(b->agent, v, &h);
		else if (v->cpu.why == CPU_BACK)
			take_back(b->agent, v, "VMs wait for cores");
	}
	local_weights(b, &h);
}

static const char *why_memory(enum memory_why why)
{
	switch (why) {
	case MEMORY_TAKEN:
		return "the host is short of it";
	case MEMORY_STALLED:
		return "its guest waited for it";
	case MEMORY_NEEDED:
		return "its guest comes to use more";
	default:
		return "the host has enough";
	}
}

static void set_memory(struct agent *a, struct local_vm *v, uint64_t bytes, const char *event,
		       const char *why)
{
	if (!turn(a, v, "desired_ram", json_integer((json_int_t)bytes)))
		return;
	pthread_mutex_lock(&a->lock);
	snprintf(v->why[LOCAL_MEMORY], LOCAL_WHY_BYTES, "it has %llu of %llu MiB: %s",
		 (unsigned long long)bytes / MIB, (unsigned long long)v->now.most / MIB, why);
	agent_say(a, event, v->name, "%s", v->why[LOCAL_MEMORY]);
	if (bytes >= v->now.most)
		v->why[LOCAL_MEMORY][0] = '\0';
	pthread_mutex_unlock(&a->lock);
}

/* What the host lacks then. */
static uint64_t share_memory(struct beat *b, struct memory_guest **guests)
{
	const struct memory_host h = {
		.available = available(b),
		.reserve = b->reserve,
		.margin = (b->promised ? b->promised : b->host.memory) / MARGIN_PART,
	};
	struct local_vm *v;
	size_t n = 0;

	list_for_each (v, &b->local->vms, node) {
		v->memory.why = MEMORY_STAYS;
		if (!local_may_take(v) || !v->now.tells)
			continue;
		v->memory.max = v->now.most;
		v->memory.min = MIN(v->memory_min, v->now.most);
		memory_guest_add(&v->memory, &v->now.memory);
		guests[n++] = &v->memory;
	}
	memory_policy(&h, guests, n);
	list_for_each (v, &b->local->vms, node)
		if (v->memory.why != MEMORY_STAYS)
			set_memory(b->agent, v, v->memory.target,
				   v->memory.why == MEMORY_TAKEN ? "memory-taken" : "memory-given",
				   why_memory(v->memory.why));
	return memory_lack(&h, guests, n);
}

/* Its spec has changed. */
static void let_go(struct agent *a, struct local_vm *v)
{
	static const char why[] = "its spec has it so";

	if (v->weight != v->weighed)
		local_weight_back(a, v, why);
	if (!v->roams)
		local_pin_back(a, v, why);
	if (!v->answers || !v->stays || !v->now.runs)
		return;
	if (!v->borrows && *v->why[LOCAL_CPU])
		take_back(a, v, why);
	if (!v->memory_min && *v->why[LOCAL_MEMORY]) {
		set_memory(a, v, v->now.most, "memory-given", why);
		v->memory = (struct memory_guest){ 0 };
	}
}

static size_t count(const struct local *l)
{
	const struct list *at;
	size_t n = 0;

	for (at = l->vms.next; at != &l->vms; at = at->next)
		n++;
	return n;
}

static void share(struct beat *b)
{
	size_t n = count(b->local) + 1;
	CLEANUP(free) struct cpu_guest **cpu = calloc(n, sizeof(struct cpu_guest *));
	CLEANUP(free) struct memory_guest **memory = calloc(n, sizeof(struct memory_guest *));
	CLEANUP(free) struct reclaim_guest **reclaim = calloc(n, sizeof(struct reclaim_guest *));
	CLEANUP(free) struct pin_guest **pin = calloc(n, sizeof(struct pin_guest *));

	if (!cpu || !memory || !reclaim || !pin)
		return;
	if (b->seconds > 0) {
		share_cores(b, cpu);
		local_pins(b, pin);
	}
	local_reclaim(b, share_memory(b, memory), reclaim);
}

static void local_beat(struct agent *a)
{
	struct beat b = { .agent = a, .local = a->local };
	struct local_vm *v;
	bool any;

	list_init(&b.gone);
	pthread_mutex_lock(&a->lock);
	any = begin(&b);
	pthread_mutex_unlock(&a->lock);
	drop_all(&b.gone);
	if (any) {
		ask_all(&b);
		pthread_mutex_lock(&a->lock);
		list_for_each (v, &b.local->vms, node)
			notice(v);
		pthread_mutex_unlock(&a->lock);
		list_for_each (v, &b.local->vms, node)
			let_go(a, v);
		share(&b);
	}
	a->local->last = b.host;
}

void local_end(struct agent *a)
{
	struct local_vm *v;

	list_for_each (v, &a->local->vms, node) {
		local_weight_back(a, v, "the agent ends");
		local_pin_back(a, v, "the agent ends");
	}
}

static double every_s(const struct agent *a)
{
	(void)a;
	return MEMORY_BEAT_S;
}

const struct pulse_job local_job = { "local", local_beat, every_s, PAUSE_S };
