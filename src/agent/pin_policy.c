/* SPDX-License-Identifier: Apache-2.0 */
#include "pin_policy.h"

#define PATIENCE_S 30.0
#define BACK_S 5.0
#define IDLE_MAX 0.2 /* share of a CPU: one that does more is not idle */
#define OTHERS_MIN 0.1 /* cores: less is not what keeps a CPU busy */
#define FULL 0.8 /* share of its own CPUs that a VM finds room on */

static double busy(const struct pin_host *h, const cpu_set_t *cpus)
{
	double sum = 0;

	for (unsigned i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, cpus))
			sum += h->cpu[i].busy;
	return sum;
}

static bool is_near(const struct pin_host *h, const cpu_set_t *own, unsigned cpu)
{
	for (unsigned i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, own) && h->cpu[i].node == h->cpu[cpu].node)
			return true;
	return false;
}

/* Up to one for each vCPU, of the nodes of its own CPUs first. */
static void choose(const struct pin_host *h, cpu_set_t *left, struct pin_guest *g)
{
	unsigned n = g->vcpus;

	for (unsigned away = 0; away < 2; away++)
		for (unsigned i = 0; i < CPU_SETSIZE && n; i++) {
			if (!CPU_ISSET(i, left) || h->cpu[i].idle_s < PATIENCE_S ||
			    (!away && !is_near(h, &g->own, i)))
				continue;
			CPU_SET(i, &g->target);
			CPU_CLR(i, left);
			n--;
		}
	if (n == g->vcpus)
		return;
	g->why = PIN_LENT;
	g->wait_s = 0;
}

static void lend(const struct pin_host *h, cpu_set_t *left, struct pin_guest *g)
{
	bool others = busy(h, &g->own) - g->run >= OTHERS_MIN;

	g->wait_s = g->waits && others ? g->wait_s + h->seconds : 0;
	g->free_s = 0;
	if (g->wait_s >= PATIENCE_S)
		choose(h, left, g);
}

static void take_back(const struct pin_host *h, struct pin_guest *g)
{
	cpu_set_t all;
	bool has_room;

	CPU_OR(&all, &g->own, &g->lent);
	has_room = busy(h, &all) <= FULL * CPU_COUNT(&g->own);
	g->wait_s = g->waits || h->wait ? g->wait_s + h->seconds : 0;
	g->free_s = has_room ? g->free_s + h->seconds : 0;
	if (g->wait_s >= BACK_S)
		g->why = PIN_WAIT;
	else if (g->free_s >= PATIENCE_S)
		g->why = PIN_FREE;
	else
		return;
	CPU_ZERO(&g->target);
	g->wait_s = 0;
}

void pin_policy(const struct pin_host *h, struct pin_guest *const guests[], size_t n)
{
	cpu_set_t left = h->may;

	for (unsigned i = 0; i < CPU_SETSIZE; i++)
		h->cpu[i].idle_s = h->cpu[i].busy <= IDLE_MAX ? h->cpu[i].idle_s + h->seconds : 0;
	for (size_t i = 0; i < n; i++) {
		guests[i]->target = guests[i]->lent;
		guests[i]->why = PIN_STAYS;
		for (unsigned c = 0; c < CPU_SETSIZE; c++)
			if (CPU_ISSET(c, &guests[i]->lent))
				CPU_CLR(c, &left);
	}
	for (size_t i = 0; i < n; i++) {
		if (CPU_COUNT(&guests[i]->lent))
			take_back(h, guests[i]);
		else
			lend(h, &left, guests[i]);
	}
}
