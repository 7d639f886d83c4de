/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves that a person orders, of any VM of any host: PUT move {"vm", "to", "wait"?}.  The agent of
 * the host that has the VM is asked, and tells how it ended (moves.h).  With "wait" the request is
 * answered then, else as soon as the move has begun.
 */
#ifndef ORDERS_H
#define ORDERS_H

#include "agent.h"
#include "server.h"

/* All with the lock. */
void orders_ask(struct agent *, struct request *, const json_t *body);
void orders_gone(struct agent *, struct request *); /* its client has; the move goes on */
void orders_end(struct agent *); /* whoever waits is answered */

/* How a move of a VM of that host ended, as in moves.h; why: if it has not moved. */
void orders_outcome(struct agent *, const char *host, const json_t *outcome);
/* That host says how it is: a move that is over there, and whose end was not told, was lost. */
void orders_heard(struct agent *, const char *host, const json_t *state);
/* It is not heard any more. */
void orders_lost(struct agent *, const char *host);

#endif
