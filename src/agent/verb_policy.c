/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit-agent policy": the values that the planner goes by. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "cleanup.h"
#include "command/table.h"
#include "load.h"
#include "log.h"
#include "planner/fields.h"
#include "planner/snapshot.h"
#include "verbs.h"

void policy_keys(void (*each)(void *arg, const struct option_key *), void *arg)
{
	char fallback[32];

	for (size_t i = 0; i < policy_fields.n; i++) {
		const struct field *f = &policy_fields.field[i];

		snprintf(fallback, sizeof(fallback), "%g", f->fallback);
		each(arg, &(struct option_key){ f->key, "N", f->help, fallback, false, false });
	}
}

static void put_values(const struct policy *policy, FILE *f)
{
	fputs("KEY\tVALUE\tDEFAULT\tMEANS\n", f);
	for (size_t i = 0; i < policy_fields.n; i++) {
		const struct field *field = &policy_fields.field[i];
		double value = *(const double *)((const char *)policy + field->offset);

		fprintf(f, "%s\t%g\t%g\t%s\n", field->key, value, field->fallback, field->help);
	}
}

static int show(const struct policy *policy, struct err *e)
{
	CLEANUP(free) char *rows = NULL;
	size_t len;
	FILE *f = open_memstream(&rows, &len);

	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	put_values(policy, f);
	fclose(f);
	table_put(&(struct canvas){ .f = stdout }, rows, "lrrl");
	return 0;
}

/* As a JSON object; what the planner would not take is refused here already. */
static int take(const struct verb_args *args, json_t *values, struct err *e)
{
	struct policy scratch;
	int r = 0;

	for (int i = 0; !r && i < args->nrest; i++) {
		CLEANUP(free) char *key = strdup(args->rest[i]);
		char *value = key ? strchr(key, '=') : NULL;

		if (!value)
			return err_set(e, -EINVAL, "a value is given as KEY=VALUE, not \"%.64s\"",
				       args->rest[i]);
		*value++ = '\0';
		r = fields_set(&policy_fields, key, value, &scratch, e);
		json_object_set_new(values, key, json_real(strtod(value, NULL)));
	}
	return r;
}

int policy_run(const struct verb *v, const struct verb_args *args)
{
	json_t *values = json_object();
	struct snapshot s = { 0 };
	struct err e;
	int r;

	(void)v;
	if (args->nrest && take(args, values, &e)) {
		log_error("%s", e.text);
		json_decref(values);
		return CLI_USAGE;
	}
	if (args->nrest)
		return ask_put("policy", values);
	json_decref(values);
	r = load_snapshot(&s, NULL, &e);
	r = r ? r : show(&s.policy, &e);
	snapshot_free(&s);
	if (r)
		log_error("%s", e.text);
	return r ? CLI_FAILED : CLI_OK;
}
