/* SPDX-License-Identifier: Apache-2.0 */
#include "steps.h"

#include <errno.h>
#include <stdlib.h>

#include "planner/model.h"

/* Moves not yet in a wave, with where their VMs are by then. */
struct waiting {
	uint32_t *move, *at;
	uint32_t n;
	double *freed; /* bytes of each host, by the moves of this wave */
	uint32_t in_wave;
};

static bool has_turn(const struct steps *s, const struct waiting *w, uint32_t from, uint32_t to,
		     bool starts)
{
	return w->in_wave < s->at_once && s->host[to].in < s->in_max &&
	       (starts || s->host[from].out < s->out_max);
}

static void take(struct steps *s, struct waiting *w, uint32_t i, uint32_t to, uint32_t wave)
{
	const struct steps_move *m = &s->move[w->move[i]];
	uint32_t from = w->at[i];

	s->step[s->nstep++] = (struct step){
		.move = w->move[i], .from = from, .to = to, .wave = wave, .parks = to != m->to
	};
	s->host[to].room -= m->bytes;
	s->host[to].in++;
	if (!m->starts) {
		w->freed[from] += m->bytes;
		s->host[from].out++;
	}
	w->at[i] = to;
	w->in_wave++;
}

/* All that fit now.  *turns: none that fits has to wait for its turn only. */
static uint32_t fill_wave(struct steps *s, struct waiting *w, uint32_t wave, bool *turns)
{
	uint32_t kept = 0, before = w->n;

	for (uint32_t i = 0; i < before; i++) {
		const struct steps_move *m = &s->move[w->move[i]];
		bool fits = s->host[m->to].room >= m->bytes;

		if (fits && has_turn(s, w, w->at[i], m->to, m->starts)) {
			take(s, w, i, m->to, wave);
			s->end[w->move[i]] = STEPS_DONE;
			continue;
		}
		*turns = *turns || fits;
		w->move[kept] = w->move[i];
		w->at[kept++] = w->at[i];
	}
	w->n = kept;
	return before - kept;
}

/* The smallest VM that some third host has room for. */
static bool park_one(struct steps *s, struct waiting *w, uint32_t wave)
{
	uint32_t best = NOWHERE, place = NOWHERE;

	for (uint32_t i = 0; i < w->n; i++) {
		const struct steps_move *m = &s->move[w->move[i]];

		if (m->starts || (best != NOWHERE && s->move[w->move[best]].bytes <= m->bytes))
			continue;
		for (uint32_t p = 0; p < s->npark; p++) {
			uint32_t to = s->park[p];

			if (to == w->at[i] || to == m->to || s->host[to].room < m->bytes ||
			    w->at[i] != m->from)
				continue;
			best = i;
			place = to;
			break;
		}
	}
	if (best == NOWHERE)
		return false;
	take(s, w, best, place, wave);
	return true;
}

static void end_wave(struct steps *s, struct waiting *w, uint32_t nhost)
{
	for (uint32_t h = 0; h < nhost; h++) {
		s->host[h].room += w->freed[h] + s->host[h].leaves;
		s->host[h].in = s->host[h].out = 0;
		s->host[h].leaves = w->freed[h] = 0;
	}
	w->in_wave = 0;
}

static void run_waves(struct steps *s, struct waiting *w, uint32_t nhost)
{
	bool turns;

	for (uint32_t i = 0; i < s->nmove; i++) {
		s->end[i] = STEPS_LATE;
		w->move[w->n] = i;
		w->at[w->n++] = s->move[i].from;
	}
	w->in_wave = s->under_way;
	for (uint32_t wave = 0; w->n && wave < s->waves_max; wave++) {
		/* What is in flight may yet give the second wave what this one lacks. */
		turns = !wave && s->under_way;
		if (!fill_wave(s, w, wave, &turns) && !turns && !park_one(s, w, wave)) {
			for (uint32_t i = 0; i < w->n; i++)
				s->end[w->move[i]] = STEPS_STUCK;
			return;
		}
		end_wave(s, w, nhost);
	}
}

int steps_order(struct steps *s)
{
	uint32_t nhost = 0;
	struct waiting w = { .move = calloc((size_t)s->nmove + 1, sizeof(*w.move)),
			     .at = calloc((size_t)s->nmove + 1, sizeof(*w.at)) };
	bool enough;

	for (uint32_t i = 0; i < s->nmove; i++) {
		nhost = s->move[i].from >= nhost ? s->move[i].from + 1 : nhost;
		nhost = s->move[i].to >= nhost ? s->move[i].to + 1 : nhost;
	}
	for (uint32_t i = 0; i < s->npark; i++)
		nhost = s->park[i] >= nhost ? s->park[i] + 1 : nhost;
	w.freed = calloc((size_t)nhost + 1, sizeof(*w.freed));
	enough = w.move && w.at && w.freed;
	if (enough)
		run_waves(s, &w, nhost);
	free(w.move);
	free(w.at);
	free(w.freed);
	return enough ? 0 : -ENOMEM;
}
