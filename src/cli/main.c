/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

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
	fill_standard_fds();
	if (argc && !strcmp(basename(argv[0]), "cloud-hypervisor"))
		return cloud_hypervisor_main(argc, argv);
	return program_main(&godwit, argc, argv);
}
