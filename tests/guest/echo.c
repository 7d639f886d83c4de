/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers each line that comes on the serial port: "off" with the end, "fill" with more than a
 * monitor keeps for those who attach later, all others with themselves.
 */
#include "lib/guest.h"

enum { LINE = 80, FILL_LINES = 1500 };

const char guest_name[] = "echo";

static const char *read_line(char *line)
{
	unsigned n = 0;
	int c;

	while ((c = serial_get()) != '\n') {
		if (c < 0)
			cpu_relax();
		else if (n < LINE - 1)
			line[n++] = (char)c;
	}
	line[n] = 0;
	return line;
}

static bool is(const char *line, const char *word)
{
	size_t len = strlen(word);

	return strlen(line) == len && !memcmp(line, word, len);
}

static void fill(void)
{
	for (unsigned i = 0; i < FILL_LINES; i++)
		print("line %u ...............................................\n", i);
	print("filled\n");
}

void guest_main(void)
{
	char line[LINE];

	print("echo: ready\n");
	while (!is(read_line(line), "off")) {
		if (is(line, "fill"))
			fill();
		else
			print("got %s\n", line);
	}
}
