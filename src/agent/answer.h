/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to requests of the agent's API (routes.h).  Each ends its request.
 */
#ifndef ANSWER_H
#define ANSWER_H

#include <jansson.h>

#include "err.h"
#include "server.h"

/* 200 with this, whose reference is taken; NULL: 500. */
void answer_json(struct request *, json_t *);
/* A refusal is a JSON array of sentences, as the monitor's. */
void answer_refusal(struct request *, int status, const char *sentence);
/* r: what a function of ours returned, with a sentence unless it is 0. */
void answer_done(struct request *, int r, const struct err *);

#endif
