/* SPDX-License-Identifier: Apache-2.0 */
#include "planner/rules.h"

struct words {
	const char *word, *sentence;
};

static const struct words whys[WHYS] = {
	[WHY_NONE] = { "none", "nothing needs doing" },
	[WHY_HOT] = { "hot", "its host has more to do than it has cores for" },
	[WHY_UNHAPPY] = { "unhappy", "it does not get what it wants, though its host is not hot" },
	[WHY_TOGETHER] = { "together", "others of its affinity group are elsewhere" },
	[WHY_ENERGY] = { "energy", "its host has so little to do that it could be switched off" },
	[WHY_APART] = { "apart", "another of its anti-affinity group is on its host" },
	[WHY_MEMORY] = { "memory", "its host has less memory free than its reserve" },
	[WHY_DRAINING] = { "draining", "its host is drained" },
	[WHY_MAINTENANCE] = { "maintenance", "its host is in maintenance" },
	[WHY_DEAD] = { "dead", "its host is dead" },
};

static const struct words rules[RULES] = {
	[RULE_NONE] = { "none", "nothing is against it" },
	[RULE_STALE] = { "stale", "what is known of it is too old" },
	[RULE_PINNED] = { "pinned", "it is pinned to its host" },
	[RULE_FLIGHT] = { "in-flight", "it is on its way already" },
	[RULE_HOLD] = { "hold", "contention was not seen in enough windows yet" },
	[RULE_FREEZE] = { "freeze", "a move has just changed its host" },
	[RULE_COOLDOWN] = { "cooldown", "it has moved not long ago" },
	[RULE_MODE] = { "mode", "only emergencies are dealt with in this mode" },
	[RULE_STATE] = { "state", "no host is up that could take it" },
	[RULE_BLIND] = { "blind", "what is known of the destination is too old or absurd" },
	[RULE_MEMORY] = { "memory", "the destination has no memory for it beside its reserve" },
	[RULE_APART] = { "apart", "the destination has one of its anti-affinity group" },
	[RULE_RETURN] = { "return", "it was there not long ago" },
	[RULE_FILL] = { "fill", "the destination would be filled too far" },
	[RULE_LINK] = { "link", "the hosts' links have nothing left for it" },
	[RULE_GAIN] = { "gain", "all in all nothing would be won" },
	[RULE_CONVERGE] = { "converge", "it writes faster than it could be sent" },
	[RULE_MARGIN] = { "margin", "what it wins is not worth what it costs" },
	[RULE_SMALL] = { "small", "it would win back little of what it loses" },
	[RULE_RESERVE_HOST] = { "reserve-host", "if hosts failed, too little room would be left" },
	[RULE_KNEE] = { "knee", "the last moves of the plan win little beside the first" },
	[RULE_BUDGET] = { "budget", "there were enough moves today" },
	[RULE_HORIZON] = { "horizon", "the plan is long enough" },
	[RULE_ORDER] = { "order", "no order of moves leaves room for it" },
};

const char *why_word(enum why why)
{
	return whys[why].word;
}

const char *why_sentence(enum why why)
{
	return whys[why].sentence;
}

const char *rule_word(enum rule rule)
{
	return rules[rule].word;
}

const char *rule_sentence(enum rule rule)
{
	return rules[rule].sentence;
}
