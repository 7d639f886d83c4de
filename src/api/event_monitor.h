/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes each event to a file, FIFO, pipe or socket, a line and a write each.  Whoever reads there
 * too slowly misses events and holds up nobody.  On the API's thread.
 */
#ifndef EVENT_MONITOR_H
#define EVENT_MONITOR_H

#include "events.h"

struct event_monitor;

/* path NULL: fd, which is open, and the monitor's from success on.  A FIFO may have no reader
 * yet, and lose the one it has. */
int event_monitor_new(struct event_monitor **, struct loop *, struct events *, const char *path,
		      int fd, struct err *);
/* Writes what is left and can be written now.  NULL is fine. */
void event_monitor_free(struct event_monitor *);

#endif
