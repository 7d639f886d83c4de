/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with their units, as people read them. */
#ifndef UNITS_H
#define UNITS_H

#include <stdbool.h>

enum { UNITS_TEXT = 32, UNITS_SHORT = 4 };

/* For narrow columns: "812", "9.8k", "123M", never more than UNITS_SHORT characters below 1000 E.
 * step: 1000 or 1024 from one letter to the next.  NaN, which is not known: "-". */
void units_short(char text[UNITS_TEXT], double n, unsigned step);

/* The same of cores, of which a host may have parts: "0.5". */
void units_cores(char text[UNITS_TEXT], double cores);

void units_bytes(char text[UNITS_TEXT], double bytes); /* "1.5 GiB" */
void units_seconds(char text[UNITS_TEXT], double seconds, bool utf8); /* "61 µs" */

#endif
