/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "help.h"

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
	const char *name = argv[1];
	const struct verb *v;

	fill_standard_fds();
	if (argc && !strcmp(basename(argv[0]), "cloud-hypervisor"))
		return cloud_hypervisor_main(argc, argv);
	if (!name) {
		help_program(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	else if (!strcmp(name, "--version"))
		name = "version";
	else if (!strncmp(name, "--", 2))
		return run_main(verb_named("run"), argc, argv); /* waits for vm.create */
	v = verb_named(name);
	return v ? verb_main(v, argc - 1, argv + 1) : verb_refuse_unknown(name);
}
