/* SPDX-License-Identifier: Apache-2.0 */
/* godwit-agent: its verbs, as a table. */
#include <stdio.h>

#include "bits.h"
#include "command/complete.h"
#include "log.h"
#include "planner/fields.h"
#include "verbs.h"

const char log_program[] = "godwit-agent";

/* What a person wants when looking for a verb. */
enum { VERB_RUN = VERB_HIDDEN + 1, VERB_PLAN, VERB_REST };

static const struct verb_heading headings[] = {
	{ VERB_RUN, "The agent of this host" },
	{ VERB_PLAN, "Plans" },
	{ VERB_REST, "Everything else" },
};

static const struct verb self = {
	"",
	"COMMAND [ARGUMENT]...",
	"keeps VMs where they get what they ask for",
	.about = "An agent on each host looks after the VMs there; together they say which VMs "
		 "should move to which hosts, and why the others stay.\n"
		 "A command that prints something for people prints JSON for scripts if it is "
		 "given --json.",
	.examples = { { "godwit-agent plan --snapshot cluster.jsonl",
			"See what would be done about the hosts and VMs of a snapshot" } },
	.options = { { "--version", NULL, "print the version" } },
};

static void policy_keys(void (*each)(void *arg, const struct option_key *), void *arg)
{
	char fallback[32];

	for (size_t i = 0; i < policy_fields.n; i++) {
		const struct field *f = &policy_fields.field[i];

		snprintf(fallback, sizeof(fallback), "%g", f->fallback);
		each(arg, &(struct option_key){ f->key, "N", f->help, fallback, false, false });
	}
}

#define WHAT_IF                                                                                    \
	"An EDIT changes the snapshot before it is looked at: add-host=NAME[,like=HOST], "         \
	"remove-host=NAME, maintenance=NAME, drain=NAME, up=NAME, dead=NAME, "                     \
	"mode=recommend|auto|emergency, or KEY=VALUE of the policy."

static const struct verb verbs[] = {
	{ "run", "", "look after the VMs of this host", VERB_RUN,
	  .about = "Stays until SIGTERM, SIGINT or SIGHUP ends it. VMs are processes of their own "
		   "and go on without it.",
	  .run = run_run },
	{ "plan", "", "say which VMs should move, and why", VERB_PLAN, .about = WHAT_IF,
	  .examples = { { "godwit-agent plan --snapshot a.jsonl --what-if drain=h1",
			  "See where the VMs of host h1 could go" } },
	  .options = { { "--snapshot", "FILE", "of these hosts and VMs" },
		       { "--what-if", "EDIT", "if this were so; may be given again" },
		       { "--save", "FILE",
			 "write what was planned, and the plan, as --snapshot takes it" },
		       { "--json", NULL, "as JSON" } },
	  .many = "--what-if", .each_key = policy_keys, .run = plan_run },
	{ "explain", "[VM|HOST]", "say of the plan, a VM or a host why it is so", VERB_PLAN,
	  .about = WHAT_IF,
	  .examples = { { "godwit-agent explain --snapshot a.jsonl web",
			  "Say why VM web moves, or stays" } },
	  .options = { { "--snapshot", "FILE", "of these hosts and VMs" },
		       { "--what-if", "EDIT", "if this were so; may be given again" } },
	  .many = "--what-if", .each_key = policy_keys, .run = explain_run },
	{ "help", "[COMMAND]", "explain a command", VERB_REST,
	  .examples = { { "godwit-agent help plan", "See all options of godwit-agent plan" } },
	  .options = { { "--man", "DIR", "write the manual pages of all commands there" } },
	  .run = help_run },
	{ "version", "", "print the version", VERB_REST, .run = version_run },
	{ "complete", "WORD...", "say how the last word may go on, a line for each", VERB_HIDDEN,
	  .about = "For the completion of shells: godwit-agent complete -- and the words behind "
		   "the command's name, of which the last may be empty.",
	  .status = { "these are all", "the word is the name of a file" }, .run = complete_run },
};

static void offer_policy(void *arg, const struct option_key *k)
{
	char text[64];

	snprintf(text, sizeof(text), "%s=", k->key);
	complete_offer(arg, text);
}

static void offer_edits(const struct completion *c)
{
	static const char *const edits[] = {
		"add-host=", "remove-host=", "maintenance=",   "drain=",        "up=",
		"dead=",     "mode=auto",    "mode=recommend", "mode=emergency"
	};

	for (size_t i = 0; i < ARRAY_SIZE(edits); i++)
		complete_offer(c, edits[i]);
	policy_keys(offer_policy, (void *)c);
}

static const struct program_word words[] = { { "EDIT", offer_edits } };

static const struct program agent = {
	.name = "godwit-agent",
	.self = &self,
	.verbs = verbs,
	.nverbs = ARRAY_SIZE(verbs),
	.headings = headings,
	.nheadings = ARRAY_SIZE(headings),
	.words = words,
	.nwords = ARRAY_SIZE(words),
};

int main(int argc, char **argv)
{
	return program_main(&agent, argc, argv);
}
