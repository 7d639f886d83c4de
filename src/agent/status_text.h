/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit-agent status": tables of what the agent says.  Nothing is asked. */
#ifndef STATUS_TEXT_H
#define STATUS_TEXT_H

#include <stdint.h>

#include "command/canvas.h"
#include "status_view.h"

/* now: seconds since 1970. */
void status_text_put(const struct canvas *, const struct status_view *, uint64_t now);

/* "73%", "9.5%"; "-" if it is not known. */
void status_text_part(char text[16], double part);
/* "web   alpha to beta, copying for 8 s, 12 s left": what is known of it, behind its VM. */
void status_text_flight(char *text, size_t size, const struct flight_view *, uint64_t now);
/* "mode auto, alpha plans"; "mode recommend, nobody plans: why". */
void status_text_who(char *text, size_t size, const struct status_view *);

#endif
