/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the agent that runs on this host (client.h). */
#ifndef ASK_H
#define ASK_H

#include "client.h"

/* Where no agent runs, the sentence says how to start one. */
int ask_open(struct client *, struct err *);
/* One question on a connection of its own; limit_ms 0: however long it takes. */
int ask_get(const char *path, unsigned limit_ms, json_t **out, struct err *);
/* The same, and print what the agent has to say, or what is wrong; body is taken over.  Returns the
 * exit status. */
int ask_put(const char *path, json_t *body);

#endif
