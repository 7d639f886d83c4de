/* SPDX-License-Identifier: Apache-2.0 */
/* main() of a fuzz target where no engine brings one: replays the files named as arguments. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"
#include "log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	static uint8_t data[1 << 20];

	log_set_level(LOG_ERROR);
	for (int i = 1; i < argc; i++) {
		CLEANUP(file) FILE *f = fopen(argv[i], "re");

		if (!f) {
			perror(argv[i]);
			return EXIT_FAILURE;
		}
		LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof(data), f));
	}
	return EXIT_SUCCESS;
}
