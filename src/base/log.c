/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "log.h"

/* The one piece of mutable state at file scope in the whole program. */
static atomic_int level = LOG_WARN;

/* Weak, so that a program may have a name of its own. */
__attribute__((weak)) const char log_program[] = "godwit";

void log_set_level(enum log_level l)
{
	level = (int)l;
}

/* Names and sentences in it may be a guest's, a client's or a file's: they tell a terminal nothing
 * (ECMA-48, 5.2 and 5.3: C0, delete, and C1 as UTF-8 has them) and end no line. */
static void make_plain(char *text, const char *end)
{
	for (; text < end; text++) {
		uint8_t byte = (uint8_t)*text, next = text + 1 < end ? (uint8_t)text[1] : 0;

		if (byte < ' ' || byte == 0x7f)
			*text = '?';
		else if (byte == 0xc2 && next >= 0x80 && next < 0xa0)
			text[0] = text[1] = '?';
	}
}

void log_write(enum log_level l, const char *fmt, ...)
{
	static const char *const kinds[] = { "", "warning: ", "", "debug: " };
	char line[1024];
	va_list ap;
	int n, m;

	if ((int)l > level)
		return;
	n = snprintf(line, sizeof(line), "%s: %s", log_program, kinds[l]);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 2, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n += m;
	if (n > (int)sizeof(line) - 3)
		n = (int)sizeof(line) - 3;
	make_plain(line, line + n);
	/* The guest may have the terminal in raw mode, where a line feed is no more than that. */
	if (isatty(STDERR_FILENO))
		line[n++] = '\r';
	line[n++] = '\n';
	/* One write, so that lines of several threads and processes do not mix. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}
