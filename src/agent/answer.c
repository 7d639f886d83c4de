/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

void answer_json(struct request *q, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(json);
	request_answer(q, text ? 200 : 500, "application/json", text, text ? strlen(text) : 0);
	free(text);
}

void answer_refusal(struct request *q, int status, const char *sentence)
{
	json_auto_t *why = json_pack("[s]", sentence);
	char *text = json_dumps(why, JSON_ENSURE_ASCII);

	request_answer(q, status, "application/json", text, text ? strlen(text) : 0);
	free(text);
}

void answer_done(struct request *q, int r, const struct err *e)
{
	if (r)
		answer_refusal(q,
			       r == -ENOENT   ? 404
			       : r == -EINVAL ? 400
			       : r == -EBUSY  ? 409
					      : 500,
			       e->text);
	else
		request_answer(q, 204, NULL, NULL, 0);
}
