/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "bits.h"
#include "command/units.h"

void units_short(char text[UNITS_TEXT], double n, unsigned step)
{
	static const char letters[] = " kMGTPE";
	size_t i = 0;

	if (isnan(n)) {
		snprintf(text, UNITS_TEXT, "-");
		return;
	}
	for (; n >= 999.5 && letters[i + 1]; i++)
		n /= step;
	if (!i)
		snprintf(text, UNITS_TEXT, "%.0f", n);
	else
		snprintf(text, UNITS_TEXT, n < 9.95 ? "%.1f%c" : "%.0f%c", n, letters[i]);
}

void units_cores(char text[UNITS_TEXT], double cores)
{
	if (cores < 9.95 && cores != floor(cores))
		snprintf(text, UNITS_TEXT, "%.1f", cores);
	else
		units_short(text, cores, 1000);
}

void units_bytes(char text[UNITS_TEXT], double bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t i = 0;

	for (; bytes >= 1023.95 && i + 1 < ARRAY_SIZE(units); i++)
		bytes /= 1024;
	snprintf(text, UNITS_TEXT, bytes == floor(bytes) ? "%.0f %s" : "%.1f %s", bytes, units[i]);
}

void units_seconds(char text[UNITS_TEXT], double seconds, bool utf8)
{
	const char *micro = utf8 ? "µs" : "us";

	if (seconds < 0.0009995)
		snprintf(text, UNITS_TEXT, "%.0f %s", seconds * 1e6, micro);
	else if (seconds < 0.9995)
		snprintf(text, UNITS_TEXT, seconds < 0.00995 ? "%.1f ms" : "%.0f ms",
			 seconds * 1e3);
	else
		snprintf(text, UNITS_TEXT, "%.1f s", seconds);
}
