/* SPDX-License-Identifier: Apache-2.0 */
/* Why a move is wanted, and by which rule it is refused: each has a word and a sentence. */
#ifndef RULES_H
#define RULES_H

enum why {
	WHY_NONE,
	WHY_HOT, /* its host has been contended */
	WHY_UNHAPPY, /* it has been, its host as a whole has not */
	WHY_TOGETHER, /* away from its affinity group */
	WHY_ENERGY, /* its host could be switched off */
	/* From here on hold, cooldown, gain and cost are not asked. */
	WHY_APART, /* beside one of its anti-affinity group */
	WHY_MEMORY, /* its host's reserve is broken */
	WHY_DRAINING,
	WHY_MAINTENANCE,
	WHY_DEAD, /* it is started again, not moved */
	WHYS,
};

enum rule {
	RULE_NONE,
	/* Of the VM or its host */
	RULE_STALE,
	RULE_PINNED,
	RULE_FLIGHT,
	RULE_HOLD,
	RULE_FREEZE,
	RULE_COOLDOWN,
	RULE_MODE,
	/* Of a destination */
	RULE_STATE,
	RULE_BLIND,
	RULE_MEMORY,
	RULE_APART,
	RULE_RETURN,
	RULE_FILL,
	RULE_LINK,
	RULE_GAIN,
	/* Of the price */
	RULE_CONVERGE,
	RULE_MARGIN,
	RULE_SMALL,
	/* Of the plan as a whole */
	RULE_RESERVE_HOST,
	RULE_KNEE,
	RULE_BUDGET,
	RULE_HORIZON,
	RULE_ORDER,
	RULES,
};

const char *why_word(enum why);
const char *why_sentence(enum why);
const char *rule_word(enum rule);
const char *rule_sentence(enum rule);

static inline int why_is_must(enum why why)
{
	return why >= WHY_APART;
}

#endif
