/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other agents ask this one: {"KIND": {...}}, answered by {"ok": {...}} or
 * {"refused": {"why": SENTENCE}}.
 */
#ifndef QUESTIONS_H
#define QUESTIONS_H

#include "agent.h"

/*
 * Called on a thread of the connection, without the agent's lock.  from: the id of who asks, as
 * its certificate has it; body: an object that is not trusted, and of which nothing may be kept,
 * only copies.  *answer: an object that is handed over, or left NULL: there is nothing to say.
 * 0, or -errno with a sentence, which refuses.
 *
 * Questions of one agent come one after the other, and its state is one of them: a handler that
 * takes longer than that of three states makes its host seem dead here.  What takes its time is
 * begun, and asked for later.
 */
typedef int question_handler(struct agent *, const char *from, const json_t *body, json_t **answer,
			     struct err *);

/* The answer to a message, whatever it is; a new reference; NULL: out of memory. */
json_t *questions_answer(struct agent *, const char *from, const json_t *message);

#endif
