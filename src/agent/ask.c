/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include <errno.h>
#include <stdio.h>

#include "command/verb.h"
#include "log.h"
#include "routes.h"

int ask_open(struct client *c, struct err *e)
{
	int r = client_open_other(c, AGENT_SOCKET, "the agent", e);

	if (r == -ENOENT || r == -ECONNREFUSED)
		return err_set(e, r,
			       "no agent of yours runs on this host; \"godwit-agent run\" starts "
			       "one");
	return r;
}

int ask_get(const char *path, unsigned limit_ms, json_t **out, struct err *e)
{
	struct client c;
	int r = ask_open(&c, e);

	*out = NULL;
	if (!r && limit_ms)
		client_set_limit(&c, limit_ms);
	r = r ? r : client_get(&c, path, out, e);
	client_close(&c);
	return r;
}

int ask_put(const char *path, json_t *body)
{
	json_t *says = NULL, *sentence;
	struct client c;
	size_t i;
	struct err e;
	int r = ask_open(&c, &e);

	if (!r)
		r = client_put(&c, path, body, &says, &e);
	client_close(&c);
	json_decref(body);
	json_array_foreach(says, i, sentence) printf("%s\n", json_string_value(sentence));
	json_decref(says);
	if (r)
		log_error("%s", e.text);
	return r ? CLI_FAILED : CLI_OK;
}
