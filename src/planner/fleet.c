/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "bits.h"
#include "hash.h"
#include "planner/snapshot.h"

static const double SURE = 1.5; /* times the deviations of policy */
static const double FULL = 0.95; /* use from which on a host's VMs want more than they got */
static const double STARVED = 0.4; /* and what VMs get at most that are on such a one */

static double use_of(const struct fleet *f, uint32_t host, double mean, double variance)
{
	return (mean + f->snapshot->policy.deviations * sqrt(MAX(variance, 0))) /
	       f->snapshot->host[host].cores;
}

static double loss_of(const struct fleet_host *h, double use, double weight, double asks)
{
	return weight - (1 - curve_delay(h->curve, use)) * asks;
}

static void update(struct fleet *f, uint32_t host)
{
	struct fleet_host *h = &f->host[host];

	h->use = use_of(f, host, h->mean, h->variance);
	h->loss = loss_of(h, h->use, h->weight, h->asks);
}

static void add(struct fleet *f, uint32_t host, const struct fleet_vm *v, double sign)
{
	struct fleet_host *h = &f->host[host];

	h->mean += sign * v->mean;
	h->variance += sign * v->variance;
	h->weight += sign * v->weight;
	h->asks += sign * v->asks;
	update(f, host);
}

double fleet_room(const struct fleet *f, uint32_t host)
{
	const struct host *h = &f->snapshot->host[host];

	return (double)h->memory - (double)h->reserve - (double)f->host[host].committed;
}

double fleet_available(const struct fleet *f, uint32_t host)
{
	const struct host *h = &f->snapshot->host[host];

	return (double)h->available - (double)h->reserve - (double)f->host[host].arriving;
}

double fleet_use_with(const struct fleet *f, uint32_t host, uint32_t vm)
{
	return use_of(f, host, f->host[host].mean + f->vm[vm].mean,
		      f->host[host].variance + f->vm[vm].variance);
}

double fleet_use_surely(const struct fleet *f, uint32_t host, uint32_t vm)
{
	return use_of(f, host, f->host[host].mean + f->vm[vm].mean,
		      SURE * SURE * (f->host[host].variance + f->vm[vm].variance));
}

double fleet_use_without(const struct fleet *f, uint32_t host, uint32_t vm)
{
	return use_of(f, host, f->host[host].mean - f->vm[vm].mean,
		      f->host[host].variance - f->vm[vm].variance);
}

double fleet_happiness(const struct fleet *f, uint32_t host, uint32_t vm, double use)
{
	const struct fleet_vm *v = &f->vm[vm];

	return (1 - curve_delay(f->host[host].curve, use)) * v->asks / v->weight;
}

double fleet_own_loss(const struct fleet *f, uint32_t vm)
{
	const struct fleet_vm *v = &f->vm[vm];

	return v->weight * (1 - fleet_happiness(f, v->host, vm, f->host[v->host].use));
}

/* The slot of a group on a host, or an empty one. */
static uint32_t group_slot(const struct fleet_groups *g, uint32_t group, uint32_t host)
{
	uint64_t key = (uint64_t)group << 32 | host;
	uint32_t i = (uint32_t)hash_number(key) & (g->n - 1);

	while (g->key[i] && g->key[i] != key)
		i = (i + 1) & (g->n - 1);
	return i;
}

static void count_group(struct fleet *f, const struct groups *of, uint32_t host, uint32_t change)
{
	for (uint32_t i = 0; i < of->n; i++) {
		uint32_t slot = group_slot(&f->groups, of->name[i], host);

		f->groups.key[slot] = (uint64_t)of->name[i] << 32 | host;
		f->groups.count[slot] += change;
	}
}

static void count_groups(struct fleet *f, uint32_t vm, uint32_t host, uint32_t change)
{
	count_group(f, &f->snapshot->vm[vm].together, host, change);
	count_group(f, &f->snapshot->vm[vm].apart, host, change);
}

uint32_t fleet_members(const struct fleet *f, const struct groups *g, uint32_t vm, uint32_t host)
{
	uint32_t n = 0, self = f->vm[vm].host == host;

	for (uint32_t i = 0; i < g->n; i++)
		n += f->groups.count[group_slot(&f->groups, g->name[i], host)] - self;
	return n;
}

/* vCPUs that it costs that some of the VM's groups are elsewhere. */
static double together_price(const struct fleet *f, uint32_t vm, uint32_t host)
{
	const struct vm *v = &f->snapshot->vm[vm];
	uint32_t self = f->vm[vm].host == host, others, here;
	double price = 0;

	for (uint32_t i = 0; i < v->together.n; i++) {
		others = f->group_size[v->together.name[i]] - 1;
		here = f->groups.count[group_slot(&f->groups, v->together.name[i], host)] - self;
		if (others)
			price += f->snapshot->policy.together_price * (others - here) / others;
	}
	return price;
}

double fleet_gain(const struct fleet *f, uint32_t vm, uint32_t to)
{
	const struct fleet_vm *v = &f->vm[vm];
	const struct fleet_host *s = &f->host[v->host], *d = &f->host[to];
	double after = loss_of(s, fleet_use_without(f, v->host, vm), s->weight - v->weight,
			       s->asks - v->asks) +
		       loss_of(d, fleet_use_with(f, to, vm), d->weight + v->weight,
			       d->asks + v->asks);
	double gain = s->loss + d->loss - after;

	if (f->snapshot->vm[vm].together.n)
		gain += together_price(f, vm, v->host) - together_price(f, vm, to);
	return gain;
}

static bool is_cooler(const struct fleet *f, uint32_t a, uint32_t b)
{
	double left = f->host[a].use, right = f->host[b].use;

	return left < right || (left == right && a < b);
}

/* Back to its place among the others: few are between where it was and where it belongs. */
static void place(struct fleet *f, uint32_t host)
{
	uint32_t i = f->host[host].place;

	if (i == NOWHERE)
		return;
	for (; i > 0 && is_cooler(f, host, f->cool[i - 1]); i--) {
		f->cool[i] = f->cool[i - 1];
		f->host[f->cool[i]].place = i;
	}
	for (; i + 1 < f->nable && is_cooler(f, f->cool[i + 1], host); i++) {
		f->cool[i] = f->cool[i + 1];
		f->host[f->cool[i]].place = i;
	}
	f->cool[i] = host;
	f->host[host].place = i;
}

void fleet_move(struct fleet *f, uint32_t vm, uint32_t to)
{
	struct fleet_vm *v = &f->vm[vm];
	uint64_t memory = f->snapshot->vm[vm].memory;
	uint32_t from = v->host;

	add(f, from, v, -1);
	add(f, to, v, 1);
	count_groups(f, vm, from, UINT32_MAX);
	count_groups(f, vm, to, 1);
	f->host[from].committed -= memory;
	f->host[to].committed += memory;
	f->host[to].arriving += f->snapshot->vm[vm].resident;
	v->host = to;
	v->moved = true;
	place(f, from);
	place(f, to);
}

void fleet_move_back(struct fleet *f, uint32_t vm, uint32_t from)
{
	uint32_t to = f->vm[vm].host;

	fleet_move(f, vm, from);
	f->host[from].arriving -= f->snapshot->vm[vm].resident;
	f->host[to].arriving -= f->snapshot->vm[vm].resident;
	f->vm[vm].moved = false;
}

double fleet_loss(const struct fleet *f)
{
	double loss = 0;

	for (uint32_t i = 0; i < f->snapshot->nhost; i++)
		loss += f->host[i].loss;
	return loss;
}

static void measure_vm(struct fleet *f, uint32_t i)
{
	const struct vm *v = &f->snapshot->vm[i];
	double rest = 0;

	for (uint32_t w = 0; w < v->run.n; w++)
		rest += happiness_rest(v, w) / v->run.n;
	f->vm[i] = (struct fleet_vm){ .mean = v->cpu_mean,
				      .variance = v->cpu_deviation * v->cpu_deviation,
				      .weight = v->weight * (double)v->vcpus,
				      .asks = v->weight * (double)v->vcpus * rest,
				      .host = v->host,
				      .next = NOWHERE };
}

/* What VMs use of a host that is full, or has less than it says, says little of what they would use
 * elsewhere. */
static void add_what_waits(struct fleet *f)
{
	const struct snapshot *s = f->snapshot;

	for (uint32_t i = 0; i < s->nvm; i++) {
		const struct vm *v = &s->vm[i];
		double got = MAX(happiness_cpu(v, 0), 0.01);

		if (v->host == NOWHERE ||
		    (f->host[v->host].mean < FULL * s->host[v->host].cores && got > STARVED))
			continue;
		f->vm[i].mean = MIN(v->cpu_mean / got, MAX((double)v->vcpus, v->cpu_mean));
	}
}

static void settle_vms(struct fleet *f)
{
	const struct snapshot *s = f->snapshot;

	for (uint32_t i = 0; i < s->nvm; i++)
		if (s->vm[i].host != NOWHERE)
			f->host[s->vm[i].host].mean += f->vm[i].mean;
	add_what_waits(f);
	for (uint32_t i = 0; i < s->nhost; i++)
		f->host[i].mean = 0;
	for (uint32_t i = s->nvm; i-- > 0;) {
		struct fleet_vm *v = &f->vm[i];

		if (v->host == NOWHERE)
			continue;
		v->next = f->host[v->host].first;
		f->host[v->host].first = i;
		f->host[v->host].committed += s->vm[i].memory;
		add(f, v->host, v, 1);
		count_groups(f, i, v->host, 1);
	}
}

/* At once at its destination, though its memory stays taken where it was as well. */
static void settle_flights(struct fleet *f)
{
	const struct snapshot *s = f->snapshot;

	for (uint32_t i = 0; i < s->nflight; i++) {
		uint32_t vm = snapshot_vm(s, s->flight[i].vm);
		uint32_t to = snapshot_host(s, s->flight[i].to);
		uint32_t from;

		if (vm == NOWHERE || f->vm[vm].host == NOWHERE || f->vm[vm].moved)
			continue;
		f->vm[vm].moved = true;
		from = f->vm[vm].host;
		if (to == NOWHERE || to == from)
			continue;
		fleet_move(f, vm, to);
		f->host[from].committed += s->vm[vm].memory;
		f->host[from].leaving += s->vm[vm].resident;
		f->host[from].out++;
		f->host[to].in++;
	}
}

static void settle_reservations(struct fleet *f)
{
	const struct snapshot *s = f->snapshot;

	for (uint32_t i = 0; i < s->nreservation; i++) {
		const struct reservation *r = &s->reservation[i];
		uint32_t host = snapshot_host(s, r->host), vm = snapshot_vm(s, r->vm);
		struct fleet_vm v = { .mean = (double)r->vcpus };

		/* Whoever has come, or is on the way, is counted already. */
		if (host == NOWHERE || r->until < s->time ||
		    (vm != NOWHERE && f->vm[vm].host == host))
			continue;
		f->host[host].committed += r->memory;
		add(f, host, &v, 1);
		place(f, host);
	}
}

static void find_blind(struct fleet *f)
{
	const struct snapshot *s = f->snapshot;

	for (uint32_t i = 0; i < s->nrefused; i++) {
		uint32_t host = snapshot_host(s, s->refused[i].host);

		if (host != NOWHERE)
			f->host[host].blind = true;
	}
}

static int compare_cool(const void *a, const void *b, void *f)
{
	return is_cooler(f, *(const uint32_t *)a, *(const uint32_t *)b) ? -1 : 1;
}

static void sort_cool(struct fleet *f)
{
	const struct snapshot *s = f->snapshot;

	for (uint32_t i = 0; i < s->nhost; i++)
		if (s->host[i].state == HOST_UP && !f->host[i].blind)
			f->able[f->nable++] = i;
	for (uint32_t i = 0; i < f->nable; i++)
		f->cool[i] = f->able[i];
	qsort_r(f->cool, f->nable, sizeof(*f->cool), compare_cool, f);
	for (uint32_t i = 0; i < f->nable; i++)
		f->host[f->cool[i]].place = i;
}

static int allocate(struct fleet *f)
{
	const struct snapshot *s = f->snapshot;
	size_t members = 0, slots = 16;

	for (uint32_t i = 0; i < s->nvm; i++)
		members += s->vm[i].together.n + s->vm[i].apart.n;
	/* Each VM moves once at most, so that half of them stay empty. */
	while (slots < members * 4)
		slots *= 2;
	f->groups.n = (uint32_t)slots;
	f->groups.key = calloc(slots, sizeof(*f->groups.key));
	f->groups.count = calloc(slots, sizeof(*f->groups.count));
	f->group_size = calloc((size_t)s->names.n + 1, sizeof(*f->group_size));
	f->host = calloc((size_t)s->nhost + 1, sizeof(*f->host));
	f->vm = calloc((size_t)s->nvm + 1, sizeof(*f->vm));
	f->cool = calloc((size_t)s->nhost + 1, sizeof(*f->cool));
	f->able = calloc((size_t)s->nhost + 1, sizeof(*f->able));
	return f->groups.key && f->groups.count && f->group_size && f->host && f->vm && f->cool &&
			       f->able
		       ? 0
		       : -ENOMEM;
}

int fleet_new(struct fleet *f, const struct snapshot *s, struct err *e)
{
	*f = (struct fleet){ .snapshot = s };
	if (allocate(f)) {
		fleet_free(f);
		return err_set(e, -ENOMEM, "out of memory");
	}
	for (uint32_t i = 0; i < s->nhost; i++) {
		f->host[i].first = f->host[i].place = NOWHERE;
		f->host[i].curve = curve_of(s, s->host[i].class);
		update(f, i);
	}
	for (uint32_t i = 0; i < s->nvm; i++) {
		measure_vm(f, i);
		for (uint32_t g = 0; g < s->vm[i].together.n; g++)
			f->group_size[s->vm[i].together.name[g]]++;
	}
	settle_vms(f);
	find_blind(f);
	sort_cool(f);
	settle_flights(f);
	settle_reservations(f);
	for (uint32_t i = 0; i < s->nhost; i++)
		f->host[i].at_first = f->host[i].committed;
	return 0;
}

void fleet_free(struct fleet *f)
{
	free(f->groups.key);
	free(f->groups.count);
	free(f->group_size);
	free(f->host);
	free(f->vm);
	free(f->cool);
	free(f->able);
	*f = (struct fleet){ 0 };
}
