/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "ask.h"
#include "log.h"
#include "status_text.h"
#include "verbs.h"

static int print(const json_t *status, bool as_json, struct err *e)
{
	struct status_view view;

	if (as_json) {
		json_dumpf(status, stdout, JSON_INDENT(2));
		putchar('\n');
		return 0;
	}
	if (status_view_read(&view, status)) {
		status_view_free(&view);
		return err_set(e, -ENOMEM, "out of memory");
	}
	status_text_put(&(struct canvas){ .f = stdout }, &view, (uint64_t)time(NULL));
	status_view_free(&view);
	return 0;
}

int status_run(const struct verb *v, const struct verb_args *args)
{
	json_t *status;
	struct err e;
	int r = ask_get("status", 0, &status, &e);

	(void)v;
	r = r ? r : print(status, args->value[0], &e);
	json_decref(status);
	if (r)
		log_error("%s", e.text);
	return r ? CLI_FAILED : CLI_OK;
}
