/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cli.h"
#include "log.h"

static int help_main(int argc, char **argv);

static int version_main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		log_error("version takes no arguments");
		return CLI_USAGE;
	}
	printf("godwit %s\n", GODWIT_VERSION);
	return CLI_OK;
}

static const struct verb verbs[] = {
	{ "run", .help = "start a virtual machine and stay with it", .main = run_main },
	{ "list", "", "show the VMs that run",
	  .options = { { "--json", NULL, "as JSON, with every number" } }, .run = list_run },
	{ "info", "NAME...", "print all that is known of a VM, as JSON", .run = info_run },
	{ "console", .help = "attach this terminal to a port of a running VM",
	  .main = console_main },
	{ "pause", "NAME...", "stop a guest where it is", .run = control_run },
	{ "resume", "NAME...", "let a paused guest go on", .run = control_run },
	{ "reset", "NAME...", "press a guest's reset button", .run = control_run },
	{ "nmi", "NAME...", "send every vCPU a non-maskable interrupt", .run = control_run },
	{ "shutdown", "NAME...", "press a guest's power button and wait until it is off",
	  .options = { { "--now", NULL, "do not ask the guest" } }, .run = shutdown_run },
	{ "add-disk", "NAME KEY=VALUE,...", "give a running VM a disk; keys as run --disk has them",
	  .run = add_run },
	{ "add-net", "NAME KEY=VALUE,...",
	  "give a running VM a network card; keys as run --net has them", .run = add_run },
	{ "remove", "NAME ID", "take a disk or network card away from a running VM",
	  .run = remove_run },
	{ "resize-disk", "NAME ID SIZE", "give a running VM's disk another size",
	  .run = resize_disk_run },
	{ "limit", "NAME ID KEY=VALUE,...|off",
	  "limit a disk or network card of a running VM; keys as run --disk has them",
	  .run = limit_run },
	{ "events", "NAME...", "print what happened to a VM, a line of JSON each",
	  .options = { { "--follow", NULL, "and go on until it ends" } }, .run = events_run },
	{ "probe", .help = "say what guests can run on this host", .main = probe_main },
	{ "help", .help = "explain a command", .main = help_main },
	{ "version", .help = "print the version", .main = version_main },
};

static const struct verb *find_verb(const char *name)
{
	const char *names[ARRAY_SIZE(verbs)], *near;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
		names[i] = verbs[i].name;
	}
	near = option_nearest(name, names, ARRAY_SIZE(names));
	if (near)
		log_error("unknown command \"%.64s\"; did you mean \"%s\"?", name, near);
	else
		log_error("unknown command \"%.64s\"; see \"godwit --help\"", name);
	return NULL;
}

static void print_usage(FILE *f)
{
	fprintf(f, "Usage: godwit COMMAND [OPTION]...\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(f, "  %-12s%s\n", verbs[i].name, verbs[i].help);
	fprintf(f, "\n\"godwit COMMAND --help\" explains a command.\n");
}

static int help_main(int argc, char **argv)
{
	char *ask[] = { NULL, (char[]){ "--help" }, NULL };
	const struct verb *v;

	if (argc < 2 || !strcmp(argv[1], "help") || !strcmp(argv[1], "version")) {
		print_usage(stdout);
		return CLI_OK;
	}
	v = find_verb(argv[1]);
	if (!v)
		return CLI_USAGE;
	ask[0] = argv[1];
	return verb_main(v, 2, ask);
}

/* So that no file opened later becomes standard input, output or error. */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct verb *v;

	fill_standard_fds();
	if (argc && !strcmp(basename(argv[0]), "cloud-hypervisor"))
		return cloud_hypervisor_main(argc, argv);
	if (argc < 2) {
		print_usage(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		v = find_verb("help");
	else if (!strcmp(argv[1], "--version"))
		v = find_verb("version");
	else if (!strncmp(argv[1], "--", 2))
		return run_main(argc, argv); /* a monitor that waits for vm.create */
	else
		v = find_verb(argv[1]);
	return v ? verb_main(v, argc - 1, argv + 1) : CLI_USAGE;
}
