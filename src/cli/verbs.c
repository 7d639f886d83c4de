/* SPDX-License-Identifier: Apache-2.0 */
/* Every verb of the command. */
#include "bits.h"
#include "cli.h"
#include "rate_limit.h"

/* What a person wants when looking for a verb. */
enum { VERB_LOOK = VERB_HIDDEN + 1, VERB_START, VERB_LIFE, VERB_MOVE, VERB_DEVICES, VERB_HOST };

static const struct verb_heading headings[] = {
	{ VERB_START, "Starting a VM" },
	{ VERB_LOOK, "Looking at VMs" },
	{ VERB_LIFE, "The life of a VM" },
	{ VERB_MOVE, "Moving a VM" },
	{ VERB_DEVICES, "Devices of a running VM" },
	{ VERB_HOST, "Everything else" },
};

static const struct verb self = {
	"",
	"COMMAND [ARGUMENT]...",
	"virtual machine monitor for Linux and KVM",
	.about =
		"Godwit boots a Linux kernel in a virtual machine (VM) with disks and network "
		"cards. Each VM is one process, made by godwit run; it ends when its guest powers "
		"off.\n"
		"The other commands ask something of running VMs, which they find by name. Names "
		"are those of your own VMs: what belongs to a VM NAME is in /run/godwit/NAME for "
		"root, and in godwit/NAME below $XDG_RUNTIME_DIR for others. Where several names "
		"are given, what one VM refuses does not keep the others from being asked.\n"
		"A command that prints something for people prints JSON for scripts if it is given "
		"--json. All others print nothing when they are done. Options may stand before and "
		"behind names; what follows a word -- is no option.\n"
		"godwit --api-socket PATH, without a command, starts a process that waits there "
		"for a client of the control API to create a VM.",
	.examples = { { "godwit run --name web --memory 1G --kernel vmlinuz --disk path=web.img",
			"Start a VM on this terminal" },
		      { "godwit list", "See which VMs run" },
		      { "godwit shutdown web", "Ask the guest of VM web to power off" } },
	.options = { { "--version", NULL, "print the version" } },
};

static const struct option_table *disk_keys(void)
{
	return config_section_table(config_find_section("disks"));
}

static const struct option_table *net_keys(void)
{
	return config_section_table(config_find_section("net"));
}

static const struct option_table *limit_keys(void)
{
	return &rate_limit_options;
}

static const struct verb verbs[] = {
	{ "run", "--kernel FILE", "start a virtual machine and stay with it", VERB_START,
	  .about = "The guest's serial port is this terminal unless --serial says otherwise; "
		   "Ctrl-] q leaves, which ends the VM. SIGTERM, SIGINT and SIGHUP press the "
		   "guest's power button; a second one ends the VM at once.\n"
		   "A key in [ ] may be left out where its value comes first. Sizes take the "
		   "suffixes K, M, G and T. A value with a comma in it is put in double quotes.",
	  .status = { "the guest powered off, or moved to another host" },
	  .examples = { { "godwit run --kernel vmlinuz --append console=ttyS0 --disk path=web.img",
			  "Boot a kernel with a disk, its serial port on this terminal" },
			{ "godwit run --cpus 4 --memory 2G --kernel vmlinuz --net tap=tap0",
			  "Give it more of the host, and a network card" },
			{ "godwit run --config web.json --dry-run",
			  "See the whole configuration that a file makes" } },
	  .main = run_main, .each_option = run_options_each },
	{ "restore", "DIR", "start a virtual machine from a snapshot and stay with it", VERB_START,
	  .about = "Like godwit run, but the guest goes on where godwit snapshot left it: paused, "
		   "or at once with --resume. Its memory is read from DIR when it is used, so "
		   "DIR must stay as it is while the VM runs; many VMs may be made from one.\n"
		   "Options take the place of what the snapshot says of its host. Of a disk or "
		   "network card, which id= names, only the keys given do. The VM has the uuid "
		   "of the snapshot, and its name unless --name gives another, which a second "
		   "one needs.",
	  .status = { "the guest powered off, or moved to another host" },
	  .examples = { { "godwit restore --resume /snapshots/web",
			  "Let VM web go on where it was" },
			{ "godwit restore /snapshots/web --name web2 --disk id=disk0,path=2.img",
			  "Make another VM of it, with a disk of its own" } },
	  .main = restore_main, .each_option = restore_options_each },
	{ "list", "", "show the VMs that run", VERB_LOOK,
	  .examples = { { "godwit list", "See which VMs run" },
			{ "godwit list --json", "Give a script their names and numbers" } },
	  .options = { { "--json", NULL, "as JSON, with every number" } }, .run = list_run },
	{ "info", "NAME...", "show what a VM is made of", VERB_LOOK,
	  .about = "Shows the state, CPUs and memory of the VM, its disks and network cards with "
		   "their PCI addresses and what they are on the host, and its sockets; of a "
		   "balloon what it has of what it is to have, and how the guest does with the "
		   "rest.",
	  .examples = { { "godwit info web", "See what VM web has" },
			{ "godwit info --json web", "Print its whole configuration" } },
	  .options = { { "--json", NULL, "all that is known of it, as JSON" } }, .run = info_run },
	{ "events", "NAME...", "show what happened to a VM", VERB_LOOK,
	  .about = "Shows a line for each event that the VM still keeps: when it was, in seconds "
		   "since the VM's process started, what it came from, what it was, and more about "
		   "it. The last 512 are kept.",
	  .examples = { { "godwit events web", "See what happened to VM web so far" },
			{ "godwit events --follow --json web",
			  "Give a script each event, a line of JSON, until VM web ends" } },
	  .options = { { "--follow", NULL, "and go on until it ends" },
		       { "--json", NULL, "each as a line of JSON" } },
	  .run = events_run },
	{ "top", "[NAME]...", "show what VMs do, live", VERB_LOOK,
	  .about =
		  "Shows a line for each VM and each of its CPUs, anew every second: how busy they "
		  "are, what they wait for, memory, disks and network. Without names it shows all "
		  "VMs. q ends it, v shows or hides the CPUs, c, m, d and n sort by CPU, memory, "
		  "disk and network, space holds the picture, and arrows move it.\n"
		  "Where there is no terminal it prints a table each time instead.",
	  .examples = { { "godwit top", "Watch all VMs" },
			{ "godwit top --once --json web", "Give a script what VM web does now" } },
	  .options = { { "--once", NULL, "one table, and end" },
		       { "--json", NULL, "as JSON: an array of VMs" },
		       { "--interval", "SECONDS", "between two looks; else 1" } },
	  .run = top_run },
	{ "stats", "NAME...", "show all that a VM has counted since it began", VERB_LOOK,
	  .about = "Shows what each device of the VM has counted: time and exits of its CPUs, "
		   "requests, bytes and latencies of its disks, packets of its cards, its memory.",
	  .examples = { { "godwit stats web", "See what VM web has done so far" },
			{ "godwit stats --prometheus web", "Print what Prometheus would read" } },
	  .options = { { "--json", NULL, "as vm.counters has it, by name" },
		       { "--prometheus", NULL, "as /metrics has it; of one VM" } },
	  .run = stats_run },
	{ "console", "NAME", "attach this terminal to a port of a running VM", VERB_LOOK,
	  .about = "Shows the last of what the guest wrote to the port and all that follows. The "
		   "first to attach types, the others watch; when it leaves, the next one types. "
		   "Ctrl-] q leaves.\n"
		   "Without a terminal, standard input is sent and output shown until the VM is "
		   "over.",
	  .status = { "left, or the VM is over" },
	  .examples = { { "godwit console web", "See the serial port of VM web, and type there" },
			{ "echo reboot | godwit console web", "Send a line from a script" } },
	  .options = { { "--port", "serial|console",
			 "which port (the serial port, if there is one)" },
		       { "--watch", NULL, "never type" },
		       { "--take", NULL, "type at once, also if another does" } },
	  .run = console_run },
	{ "pause", "NAME...", "stop a guest where it is", VERB_LIFE,
	  .about = "The guest's CPUs and devices stand still, and its memory stays as it is, "
		   "until godwit resume.",
	  .examples = { { "godwit pause web db", "Stop two guests" } }, .run = control_run },
	{ "resume", "NAME...", "let a paused guest go on", VERB_LIFE,
	  .examples = { { "godwit resume web db", "Let two guests go on" } }, .run = control_run },
	{ "snapshot", "NAME DIR", "write a VM to a directory, from which it can be restored",
	  VERB_LIFE,
	  .about = "Pauses the guest, writes its memory, the state of its devices and its "
		   "configuration to DIR, which is made if it is not there, and lets it go on, "
		   "unless it was paused before. Disks stay where they are: copy them before the "
		   "guest goes on, or use --stop. If anything fails, DIR is as before and so is "
		   "the VM.",
	  .examples = { { "godwit snapshot --stop web /snapshots/web",
			  "Put VM web aside; godwit restore lets it go on" },
			{ "godwit snapshot web /snapshots/web", "Keep what VM web is now" } },
	  .options = { { "--stop", NULL, "then end the VM" } }, .run = snapshot_run },
	{ "reboot", "NAME...", "ask a guest to power off and boot it again", VERB_LIFE,
	  .about = "Presses the guest's power button, as godwit shutdown does, and waits until the "
		   "guest is off and boots again. The VM stays the same process, with the same id "
		   "and sockets. The command waits as long as --stop-timeout of godwit run said; "
		   "a guest that powers off later still boots again. godwit reset does not ask.",
	  .examples = { { "godwit reboot web", "Boot the guest of VM web again" } },
	  .run = reboot_run },
	{ "reset", "NAME...", "press a guest's reset button", VERB_LIFE,
	  .about = "The guest is not asked: what it has not written to its disks is lost. The VM "
		   "boots its kernel again and stays the same process.",
	  .examples = { { "godwit reset web", "Boot VM web again, whatever its guest does" } },
	  .run = control_run },
	{ "nmi", "NAME...", "send every vCPU a non-maskable interrupt", VERB_LIFE,
	  .about = "A Linux guest with kernel.unknown_nmi_panic=1 panics, which can make it write "
		   "a dump; others report it in their log.",
	  .examples = { { "godwit nmi web", "Make a guest that hangs say where" } },
	  .run = control_run },
	{ "shutdown", "NAME...", "press a guest's power button and wait until it is off", VERB_LIFE,
	  .about = "Waits as long as --stop-timeout of godwit run said. If the guest has not "
		   "powered off by then, it goes on running and the command fails.",
	  .examples = { { "godwit shutdown web", "Ask the guest of VM web to power off" },
			{ "godwit shutdown --now web",
			  "End VM web at once, whatever its guest does" } },
	  .options = { { "--now", NULL, "do not ask the guest" } }, .run = shutdown_run },
	{ "migrate", "NAME tcp:HOST:PORT", "move a running VM to another host", VERB_MOVE,
	  .about = "On the other host godwit run --incoming waits for it. The guest's memory is "
		   "copied while it runs; then it stands still for a moment and goes on there, and "
		   "never in both places. If anything goes wrong before that moment, it goes on "
		   "here as if nothing had been. The VM's process here ends when it has moved.\n"
		   "Goals are given, not means: how long the guest may stand still, and how long "
		   "all of it may take.",
	  .examples = { { "godwit migrate web tcp:10.0.0.2:7000", "Move VM web" },
			{ "godwit migrate --max-blackout 20ms --deadline 60s web tcp:b:7000",
			  "Give up if 20 ms without the guest are not reached in a minute" },
			{ "godwit migrate --check web tcp:b:7000",
			  "Say whether it could move, and move nothing" } },
	  .options = { { "--max-blackout", "TIME",
			 "the guest stands still for at most this (50ms)" },
		       { "--deadline", "TIME", "all of it takes at most this (1h)" },
		       { "--bandwidth", "SIZE", "bytes a second, 2G (all there is)" },
		       { "--streams", "auto|N", "connections for memory (auto)" },
		       { "--compress", "auto|none|lz4|zstd",
			 "pages on their way; auto: where the link is slower (auto)" },
		       { "--tls", "DIR",
			 "certificates: ca-cert.pem, client-cert.pem, client-key.pem" },
		       { "--late", NULL,
			 "at the deadline move anyway, however long it stands still" },
		       { "--no-wait", NULL, "return once it has begun" },
		       { "--json", NULL, "print how it went as JSON" },
		       { "--check", NULL,
			 "only say whether it would move, how long that would take, or what "
			 "is in the way" } },
	  .run = migrate_run },
	{ "migration", "NAME...", "show how a migration goes, or how the last one went", VERB_MOVE,
	  .examples = { { "godwit migration --json web", "Give a script all numbers" } },
	  .options = { { "--json", NULL, "as JSON" } }, .run = migration_run },
	{ "cancel", "NAME...", "call a migration off", VERB_MOVE,
	  .about = "The guest goes on where it is as if nothing had been. When it has been handed "
		   "over it is too late, and nothing happens.",
	  .examples = { { "godwit cancel web", "Let VM web stay here" } }, .run = cancel_run },
	{ "add-disk", "NAME KEY=VALUE,...", "give a running VM a disk; keys as run --disk has them",
	  VERB_DEVICES,
	  .about = "Prints the id of the disk, which godwit remove takes, and its PCI address in "
		   "the guest.",
	  .examples = { { "godwit add-disk web path=data.img,readonly=on",
			  "Give VM web a disk that it cannot write" } },
	  .options = { { "--json", NULL, "print name, id and bdf as JSON" } }, .keys = disk_keys,
	  .run = add_run },
	{ "add-net", "NAME KEY=VALUE,...",
	  "give a running VM a network card; keys as run --net has them", VERB_DEVICES,
	  .about = "Prints the id of the card, which godwit remove takes, and its PCI address in "
		   "the guest.",
	  .examples = { { "godwit add-net web tap=tap1,bridge=br0",
			  "Give VM web a card on a bridge of the host" } },
	  .options = { { "--json", NULL, "print name, id and bdf as JSON" } }, .keys = net_keys,
	  .run = add_run },
	{ "remove", "NAME ID", "take a disk or network card away from a running VM", VERB_DEVICES,
	  .about = "Asks the guest to give the device up and waits until it has. If it has not "
		   "within 30 seconds, the device stays and the command fails.",
	  .examples = { { "godwit remove web disk1", "Take disk1 away from VM web" } },
	  .run = remove_run },
	{ "resize", "NAME", "give a running VM more or fewer CPUs, more or less memory",
	  VERB_DEVICES,
	  .about =
		  "As many CPUs as max of godwit run --cpus boot=2,max=8 are possible. With 2.5 "
		  "the VM has 3 and they run for no more than 2.5 cores together, at once; a whole "
		  "number lifts that again. --cpu-limit changes the limit alone. The guest "
		  "is told of new CPUs; Linux uses one when something writes 1 to its online file "
		  "in /sys/devices/system/cpu. It is asked to give up those that are too many; "
		  "what it has not given up within 30 seconds stays, and the command fails. As "
		  "much memory as size and hotplug_size of godwit run --memory together is "
		  "possible, and for less than size a balloon is needed (godwit run --balloon "
		  "size=0). The guest takes and gives memory as fast as it can; what is missing "
		  "at the deadline still comes, and the command fails. SIZE takes the suffixes K, "
		  "M, G and T.",
	  .examples = { { "godwit resize web --cpus 4", "Let VM web have 4 CPUs" },
			{ "godwit resize web --cpus 2.5", "Let it have 2.5 cores" },
			{ "godwit resize web --memory 1500M --deadline 5s",
			  "Let it have 1500 MiB of memory, and see how far it comes in 5 s" } },
	  .options = { { "--cpus", "N", "as many CPUs; 2.5: three, limited to that together" },
		       { "--cpu-limit", "N|none", "what all CPUs have together, in cores" },
		       { "--memory", "SIZE", "as much memory" },
		       { "--deadline", "TIME", "wait so long for the memory (30s)" } },
	  .run = resize_run },
	{ "resize-disk", "NAME ID SIZE", "give a running VM's disk another size", VERB_DEVICES,
	  .about = "An image file grows or shrinks, and a smaller one loses what was at its end; "
		   "a block device is resized on the host first and then given its new size here. "
		   "SIZE takes the suffixes K, M, G and T.",
	  .examples = { { "godwit resize-disk web disk0 20G", "Make disk0 of VM web larger" } },
	  .run = resize_disk_run },
	{ "limit", "NAME ID KEY=VALUE,...|off", "limit a disk or network card of a running VM",
	  VERB_DEVICES, .about = "Replaces all limits that the device had; off takes them away.",
	  .examples = { { "godwit limit web disk0 bw=100M,ops=1000",
			  "Let disk0 of VM web move 100 MiB a second" },
			{ "godwit limit web disk0 off", "And as much as it can" } },
	  .keys = limit_keys, .run = limit_run },
	{ "resolve", "UUID|NAME [DISK]...", "say where a VM runs after a migration that broke off",
	  VERB_HOST,
	  .about =
		  "A VM that was given or offered to another host is not started here again by "
		  "itself, as it may run there, and two would destroy its disks. Who has made sure "
		  "that it runs nowhere lets it run here, and names the disks that were being "
		  "handed over with it; godwit run then starts it.\n"
		  "UUID is the VM's identity, as godwit run says it when it refuses to start the "
		  "VM. Neither the VM nor another may use the disks. A VM with a lease may run "
		  "here only if its server agrees. Prints what was changed.\n"
		  "A VM that is still here, waiting to learn whether the other host has it, is "
		  "named by NAME: --run lets it go on if nobody has taken its disks, --discard "
		  "ends it.",
	  .examples = { { "godwit resolve 6ba7b810-9dad-41d1-80b4-00c04fd430c8 --run web.img",
			  "Let a VM and its disk run on this host again" } },
	  .options = { { "--run", NULL, "it may run here" },
		       { "--discard", NULL, "it may not" },
		       { "--lease", "SERVER", "if the lease server at unix:PATH says so, too" } },
	  .run = resolve_run },
	{ "probe", "[FILE...]", "say what guests can run on this host", VERB_HOST,
	  .about = "Shows what the host has for guests: KVM, its CPUs, memory, limits, kernel and "
		   "network. The last line is the verdict.\n"
		   "With --baseline it reads the outputs of --json of several hosts instead and "
		   "prints a CPU profile for guests that move between them.",
	  .status = { "guests can run", "none can" },
	  .examples = { { "godwit probe", "See what this host has, and what stands in the way" },
			{ "godwit probe --baseline a.json b.json >fleet.json",
			  "Write a profile for \"godwit run --cpus 2,profile=fleet.json\"" } },
	  .options = { { "--json", NULL, "print a JSON object (docs/probe.md)" },
		       { "--baseline", "FILE",
			 "print what CPU features the hosts of FILE... have" } },
	  .run = probe_run },
	{ "dump", "FILE|DIR [FILE|DIR]", "show what is in a saved VM, or compare two", VERB_HOST,
	  .about =
		  "Shows the stream in a file, or the snapshot in a folder: its configuration, the "
		  "state of each device by name, and where its memory is. It verifies the "
		  "checksums of all that it shows.\n"
		  "Of two it shows only what differs: a line for each field with both values, and "
		  "what only one of them has.",
	  .status = { "shown, or both are the same", "they differ",
		      "one cannot be read or is damaged, or the command line is wrong" },
	  .examples = { { "godwit dump /backup/web",
			  "See what is in a snapshot and whether it is whole" },
			{ "godwit dump before after", "See what changed between two" } },
	  .run = dump_run },
	{ "help", "[COMMAND]", "explain a command", VERB_HOST,
	  .examples = { { "godwit help run", "See all options of godwit run" } },
	  .options = { { "--man", "DIR", "write the manual pages of all commands there" } },
	  .run = help_run },
	{ "version", "", "print the version", VERB_HOST, .run = version_run },
	{ "complete", "WORD...", "say how the last word may go on, a line for each", VERB_HIDDEN,
	  .about = "For the completion of shells: godwit complete -- and the words behind the "
		   "command's name, of which the last may be empty.",
	  .status = { "these are all", "the word is the name of a file" }, .run = complete_run },
};

static int wait_for_vm(int argc, char **argv)
{
	return run_main(verb_named(&godwit, "run"), argc, argv);
}

static const struct program_word words[] = { { "NAME", offer_vms }, { "ID", offer_devices } };

const struct program godwit = {
	.name = "godwit",
	.self = &self,
	.verbs = verbs,
	.nverbs = ARRAY_SIZE(verbs),
	.headings = headings,
	.nheadings = ARRAY_SIZE(headings),
	.words = words,
	.nwords = ARRAY_SIZE(words),
	.without_verb = wait_for_vm, /* by vm.create */
};
