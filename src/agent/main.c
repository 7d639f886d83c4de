/* SPDX-License-Identifier: Apache-2.0 */
/* godwit-agent: its verbs, as a table. */
#include "bits.h"
#include "log.h"
#include "verbs.h"

const char log_program[] = "godwit-agent";

/* What a person wants when looking for a verb. */
enum { VERB_RUN = VERB_HIDDEN + 1, VERB_LOOK, VERB_PLAN, VERB_VMS, VERB_HOSTS, VERB_REST };

static const struct verb_heading headings[] = {
	{ VERB_RUN, "The agent of this host" },
	{ VERB_LOOK, "Looking at hosts and VMs" },
	{ VERB_PLAN, "Plans" },
	{ VERB_VMS, "VMs" },
	{ VERB_HOSTS, "Hosts and what is done about them" },
	{ VERB_REST, "Everything else" },
};

static const struct verb self = {
	"",
	"COMMAND [ARGUMENT]...",
	"keeps VMs where they get what they ask for",
	.about = "An agent on each host, which is godwit-agent run, looks after the VMs there. "
		 "Together they say which VMs should move to which hosts, and why the others "
		 "stay, and move them if they are told to.\n"
		 "The other commands ask the agent of this host and user, by its socket "
		 "/run/godwit/.agent.sock for root, godwit/.agent.sock below $XDG_RUNTIME_DIR for "
		 "others; it speaks for all hosts. What it refuses it says in a sentence.\n"
		 "A command that prints something for people prints JSON for scripts if it is "
		 "given --json. All others print nothing when they are done. Options may stand "
		 "before and behind names; what follows a word -- is no option.",
	.examples = { { "godwit-agent status", "See how hosts and VMs are" },
		      { "godwit-agent plan", "See what would be done about them, and why" },
		      { "godwit-agent mode auto", "Let it be done" } },
	.options = { { "--version", NULL, "print the version" } },
};

#define EDITS                                                                                      \
	"An EDIT changes the snapshot before it is looked at: add-host=NAME[,like=HOST], "         \
	"remove-host=NAME, maintenance=NAME, drain=NAME, up=NAME, dead=NAME, "                     \
	"mode=recommend|auto|emergency, or KEY=VALUE of the policy (godwit-agent help policy)."

static const struct verb verbs[] = {
	{ "run", "", "look after the VMs of this host", VERB_RUN,
	  .about =
		  "Stays until SIGTERM, SIGINT or SIGHUP ends it. VMs are processes of their own "
		  "and go on without it.\n"
		  "Agents of several hosts need certificates to talk to each other; the name (CN) "
		  "in a host's client-cert.pem is its id. Each needs to be told of one other only.",
	  .examples = { { "godwit-agent run", "Look after the VMs of one host" },
			{ "godwit-agent run --id h2 --listen tcp:0.0.0.0:7400 --address h2.example "
			  "--peers h1.example:7400 --tls /etc/godwit",
			  "Have this host share its load with others" } },
	  .options = { { "--id", "ID", "of this host; else its host name" },
		       { "--address", "ADDRESS", "by which other hosts reach this one" },
		       { "--listen", "URL", "for agents of other hosts, such as tcp:0.0.0.0:7400" },
		       { "--peers", "LIST", "where some of them listen, such as h1:7400,h2:7400" },
		       { "--tls", "DIR", "certificates, as of godwit migrate" },
		       { "--cores", "N", "that VMs may have; else all" },
		       { "--memory", "SIZE", "that VMs may have; else all" },
		       { "--reserve", "SIZE", "of memory that should stay free (0)" },
		       { "--link", "SIZE", "bytes a second that moves may count on (1250M)" },
		       { "--monitor", "FILE", "the program godwit; else the one beside this" } },
	  .run = run_run },
	{ "status", "", "show hosts, VMs, moves under way and alerts", VERB_LOOK,
	  .about =
		  "Of a host it shows its cores and the vCPUs of its VMs, how busy its cores are, "
		  "and its memory. Of a VM it shows shares of its vCPUs' time: RUN is what they "
		  "had, DELAY what they waited for the host, THROTTLED what they were held back. "
		  "HAPPY is what it got of what it asked for. The host of the agent that was asked "
		  "has a star.",
	  .examples = { { "godwit-agent status", "See how hosts and VMs are" },
			{ "godwit-agent status --json", "Give a script all numbers" } },
	  .options = { { "--json", NULL, "all that is known, as JSON" } }, .run = status_run },
	{ "top", "", "show how hosts and VMs are, live", VERB_LOOK,
	  .about = "Shows each host as bars of its VMs, anew every second. The upper bar is its "
		   "cores: each VM is as wide as what its vCPUs have of them, and behind the bar "
		   "stand how busy the cores are, and what all VMs ask for, which may be more "
		   "than there is. The lower bar is its memory: each VM is as wide as what it "
		   "takes of it, and behind the bar stands what all of them may take. Colours "
		   "say who gets what it asks for. Below are moves under way, and the VMs that "
		   "get least of what they ask for. q ends it, space holds the picture, and "
		   "arrows move the hosts.\n"
		   "Where there is no terminal it prints the picture each time instead.",
	  .examples = { { "godwit-agent top", "Watch all hosts" },
			{ "godwit-agent top --json", "Give a script a line of JSON a second" } },
	  .options = { { "--once", NULL, "one picture, and end" },
		       { "--json", NULL, "as JSON, as status has it" },
		       { "--interval", "SECONDS", "between two looks; else 1" } },
	  .run = top_run },
	{ "events", "", "show what the agent did, and why", VERB_LOOK,
	  .about = "Shows a line for each event that the agent still keeps: when it was, in "
		   "seconds since the agent started, what it came from, what it was, and more "
		   "about it. The last 512 are kept.",
	  .examples = { { "godwit-agent events --follow", "Watch what is done" } },
	  .options = { { "--follow", NULL, "and go on until it ends" },
		       { "--json", NULL, "each as a line of JSON" } },
	  .run = events_run },
	{ "plan", "", "say which VMs should move, and why", VERB_PLAN,
	  .about = "Of the hosts and VMs as they are now, or as a file has them; no VM is moved. "
		   "A plan depends on its snapshot and on nothing else.\n" EDITS,
	  .examples = { { "godwit-agent plan --what-if drain=h1",
			  "See where the VMs of host h1 would go" },
			{ "godwit-agent plan --save today.jsonl --json",
			  "Keep what was planned, to plan it again" } },
	  .options = { { "--snapshot", "FILE", "of these hosts and VMs" },
		       { "--what-if", "EDIT", "if this were so; may be given again" },
		       { "--save", "FILE",
			 "write what was planned, and the plan, as --snapshot takes it" },
		       { "--json", NULL, "as JSON" } },
	  .many = "--what-if", .run = plan_run },
	{ "explain", "[VM|HOST]", "say of the plan, a VM or a host why it is so", VERB_PLAN,
	  .about = EDITS,
	  .examples = { { "godwit-agent explain web", "Say why VM web moves, or stays" } },
	  .options = { { "--snapshot", "FILE", "of these hosts and VMs" },
		       { "--what-if", "EDIT", "if this were so; may be given again" } },
	  .many = "--what-if", .run = explain_run },
	{ "mode", "recommend|auto|emergency", "say what is done about plans", VERB_PLAN,
	  .about = "recommend only shows moves, auto has them carried out, emergency only those "
		   "that must be.",
	  .examples = { { "godwit-agent mode auto", "Let VMs be moved" } }, .run = mode_run },
	{ "policy", "[KEY=VALUE...]", "show what plans go by, or change it", VERB_PLAN,
	  .about = "Without values it shows all that there are. A change holds for all hosts, and "
		   "from the next plan on.",
	  .examples = { { "godwit-agent policy", "See all values" },
			{ "godwit-agent policy margin=3 out_max=1",
			  "Move less, and one VM out of a host at a time" } },
	  .each_key = policy_keys, .run = policy_run },
	{ "apply", "FILE", "say what VM should run here, and how", VERB_VMS,
	  .about = "FILE, or standard input if it is -, is a JSON object, the spec of the VM: its "
		   "name and, as vm, a configuration as godwit run --config takes it; if they are "
		   "wanted, restart (always, on-failure, no), state (running, stopped), weight, "
		   "pinned, together and apart (names of groups). The agent starts the VM, and "
		   "again when it ends, as restart says. A spec takes the place of the old one of "
		   "that name; what then takes effect only at the VM's next start is printed.",
	  .examples = { { "godwit-agent apply web.json", "Have the VM of a spec run here" } },
	  .run = apply_run },
	{ "delete", "NAME", "forget a VM's spec", VERB_VMS,
	  .about = "If the VM runs, it goes on, and nobody starts it again.",
	  .examples = { { "godwit-agent delete web", "Leave VM web to itself" } },
	  .run = name_run },
	{ "start", "NAME", "start a VM that has a spec", VERB_VMS, .about = "Waits until it runs.",
	  .examples = { { "godwit-agent start web", "Have VM web run again" } }, .run = name_run },
	{ "stop", "NAME", "ask a VM's guest to power off, and do not start it again", VERB_VMS,
	  .about = "Waits until it is off. The spec stays, for godwit-agent start.",
	  .examples = { { "godwit-agent stop web", "Have VM web wait until it is started" } },
	  .run = name_run },
	{ "move", "VM HOST", "move a VM to another host now", VERB_VMS,
	  .about =
		  "Whatever plans say; but never to where it cannot be, which is said. Waits until "
		  "the VM runs there, or has not moved. The move goes on if the command is ended; "
		  "godwit-agent status shows it.",
	  .examples = { { "godwit-agent move web h2", "Move VM web to host h2" } },
	  .run = move_run },
	{ "drain", "HOST", "let VMs leave a host, and none come", VERB_HOSTS,
	  .about = "Until godwit-agent maintenance HOST off.",
	  .examples = { { "godwit-agent drain h1", "Empty host h1" } }, .run = drain_run },
	{ "maintenance", "HOST on|off", "take a host out of service, or back", VERB_HOSTS,
	  .about = "On: its VMs leave as when it drains, and it may be switched off when they "
		   "have. Off: it takes VMs again, also after godwit-agent drain.",
	  .examples = { { "godwit-agent maintenance h1 off", "Let VMs run on host h1 again" } },
	  .run = maintenance_run },
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

static const struct program_word words[] = {
	{ "EDIT", offer_edits }, { "HOST", offer_hosts }, { "NAME", offer_vms }, { "VM", offer_vms }
};

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
