/* SPDX-License-Identifier: Apache-2.0 */
#include "questions.h"

#include <errno.h>
#include <string.h>

#include "arrivals.h"
#include "bits.h"
#include "moves.h"
#include "peers_internal.h"
#include "peers_state.h"
#include "planner/names.h"

static const struct question {
	const char *kind;
	question_handler *answer;
} questions[] = {
	{ "state", peers_take_state },   { "prepare", arrivals_prepare },
	{ "settled", arrivals_settled }, { "cancel", arrivals_cancel },
	{ "gain", arrivals_gain },       { "move", moves_ordered },
	{ "outcome", moves_outcome },
};

static const struct question *find(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++)
		if (!strcmp(questions[i].kind, kind))
			return &questions[i];
	return NULL;
}

static int answer(struct agent *a, const char *from, const json_t *message, json_t **out,
		  struct err *e)
{
	const char *kind = json_object_iter_key(json_object_iter((json_t *)message));
	const json_t *body = json_object_get(message, kind);
	const struct question *question;

	if (json_object_size(message) != 1 || !name_is_valid(kind))
		return err_set(e, -EINVAL, "a message has one key, which says its kind");
	if (!json_is_object(body))
		return err_set(e, -EINVAL, "\"%s\" is no object", kind);
	question = find(kind);
	if (!question)
		return err_set(e, -EOPNOTSUPP,
			       "this agent does not know what \"%s\" is; it may be of another "
			       "version",
			       kind);
	return question->answer(a, from, body, out, e);
}

json_t *questions_answer(struct agent *a, const char *from, const json_t *message)
{
	json_auto_t *out = NULL;
	struct err e;

	if (answer(a, from, message, &out, &e))
		return json_pack("{s:{s:s}}", "refused", "why", peer_sentence(e.text));
	return out ? json_pack("{s:O}", "ok", out) : json_pack("{s:{}}", "ok");
}
