/* SPDX-License-Identifier: Apache-2.0 */
#include "election.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TOLD_MAX = 3 };

/* Who counts, and what is known of them. */
struct view {
	const struct election_host *host;
	size_t n;
};

static bool lists(const json_t *ids, const char *id)
{
	const json_t *one;
	size_t i;

	json_array_foreach(ids, i,
			   one) if (!strcmp(json_string_value(one) ? json_string_value(one) : "",
					    id)) return true;
	return false;
}

/* As far as is known here. */
static bool hears(const struct view *v, size_t who, size_t whom)
{
	if (who == whom)
		return true;
	if (!who)
		return v->host[whom].fresh;
	return v->host[who].fresh && lists(v->host[who].hears, v->host[whom].id);
}

static bool can_plan(const struct view *v, size_t who)
{
	if (v->host[who].maintenance)
		return false;
	for (size_t i = 0; i < v->n; i++)
		if (!v->host[i].maintenance && (!hears(v, who, i) || !hears(v, i, who)))
			return false;
	return true;
}

/* An id that somebody hears and that is not known here, or NULL. */
static const char *stranger(const struct view *v)
{
	for (size_t who = 1; who < v->n; who++) {
		const json_t *one;
		size_t i, known;

		json_array_foreach(v->host[who].hears, i, one)
		{
			const char *id = json_string_value(one);

			for (known = 0; id && known < v->n; known++)
				if (!strcmp(v->host[known].id, id))
					break;
			if (id && v->host[who].fresh && known == v->n)
				return id;
		}
	}
	return NULL;
}

/* Adds to the sentence, as far as there is room. */
__attribute__((format(printf, 2, 3))) static void add(struct election *e, const char *fmt, ...)
{
	size_t len = strlen(e->why);
	va_list args;

	va_start(args, fmt);
	vsnprintf(e->why + len, sizeof(e->why) - len, fmt, args);
	va_end(args);
}

static bool is_deaf_to(const struct view *v, size_t who, size_t whom)
{
	/* Of who is not heard here nobody knows whom it hears. */
	if (who && (!v->host[who].fresh || v->host[who].maintenance))
		return false;
	return !v->host[whom].maintenance && !hears(v, who, whom);
}

/* Who does not hear whom; lost: one that is not heard. */
static unsigned tell_deaf(struct election *e, const struct view *v, const char **lost)
{
	unsigned n = 0;

	for (size_t whom = 0; whom < v->n; whom++)
		for (size_t who = 0; who < v->n; who++) {
			if (!is_deaf_to(v, who, whom))
				continue;
			if (n < TOLD_MAX)
				add(e, "%s%s does not hear %s", n ? ", " : "", v->host[who].id,
				    v->host[whom].id);
			*lost = v->host[whom].id;
			n++;
		}
	if (n > TOLD_MAX)
		add(e, " and %u more like that", n - TOLD_MAX);
	return n;
}

static void explain(struct election *e, const struct view *v)
{
	const char *lost = NULL;

	add(e, "nobody plans: ");
	if (tell_deaf(e, v, &lost))
		add(e,
		    "; start the agent there again or mend the network; if %s is gone for good, "
		    "\"godwit-agent maintenance %s on\" takes it out",
		    lost, lost);
	else
		add(e, "all hosts are in maintenance");
}

void election_hold(struct election *e, const struct election_host *host, size_t n,
		   const char *unmet)
{
	const struct view v = { host, n };
	const char *unknown = stranger(&v);

	*e = (struct election){ 0 };
	if (unmet) {
		add(e,
		    "nobody plans: no agent was met at %s yet; start it, or take the address out "
		    "of --peers",
		    unmet);
		return;
	}
	if (unknown) {
		add(e, "nobody plans: %s, which others hear, was not met yet", unknown);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (can_plan(&v, i) && (!e->planner || strcmp(host[i].id, e->planner) < 0))
			e->planner = host[i].id;
	if (!e->planner)
		explain(e, &v);
}
