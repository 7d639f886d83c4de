/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, as the control socket of a VM or of an agent keeps it: a line for each event. */
#ifndef SHOW_EVENTS_H
#define SHOW_EVENTS_H

#include <stdbool.h>

#include "client.h"

/* follow: until whoever is asked ends. */
int show_events(struct client *, bool follow, bool as_json, struct err *);

#endif
