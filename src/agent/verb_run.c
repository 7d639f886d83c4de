/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit-agent run": its options. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "option.h"
#include "planner/names.h"
#include "run.h"
#include "verbs.h"

#define LINK_BYTES 1.25e9 /* a second, of 10 Gbit/s */

/* As the verb's options in main.c. */
enum { ID, ADDRESS, LISTEN, PEERS, TLS, CORES, MEMORY, RESERVE, LINK, MONITOR };

static int read_id(struct agent_options *o, const char *text, struct err *e)
{
	if (text && strlen(text) >= sizeof(o->id))
		return err_set(e, -EINVAL, "--id: a host's name has at most %d characters",
			       AGENT_ID_MAX);
	if (text)
		strcpy(o->id, text);
	else
		gethostname(o->id, sizeof(o->id) - 1);
	if (!name_is_valid(o->id))
		return err_set(e, -EINVAL,
			       "\"%s\" cannot be the name of a host: letters, digits, dots, "
			       "dashes and underscores can; give another with --id",
			       o->id);
	return 0;
}

static int read_size(const char *text, const char *option, uint64_t *bytes, struct err *e)
{
	if (text && option_size(text, bytes))
		return err_set(e, -EINVAL, "%s: \"%.64s\" is no size such as 2G", option, text);
	return 0;
}

static int read_cores(const char *text, double *cores, struct err *e)
{
	char *end;

	if (!text)
		return 0;
	*cores = strtod(text, &end);
	if (*end || end == text || !isfinite(*cores) || *cores <= 0)
		return err_set(e, -EINVAL, "--cores: \"%.64s\" is no number such as 2.5", text);
	return 0;
}

static int read_options(struct agent_options *o, const char *const *value, struct err *e)
{
	uint64_t link = (uint64_t)LINK_BYTES;
	int r = read_id(o, value[ID], e);

	r = r ? r : read_cores(value[CORES], &o->cores, e);
	r = r ? r : read_size(value[MEMORY], "--memory", &o->memory, e);
	r = r ? r : read_size(value[RESERVE], "--reserve", &o->reserve, e);
	r = r ? r : read_size(value[LINK], "--link", &link, e);
	if (!r && value[ADDRESS] && strlen(value[ADDRESS]) >= sizeof(o->address))
		r = err_set(e, -EINVAL, "--address: it is too long");
	if (r)
		return r;
	o->link = (double)link;
	snprintf(o->address, sizeof(o->address), "%s", value[ADDRESS] ? value[ADDRESS] : "");
	o->listen = value[LISTEN];
	o->peers = value[PEERS];
	o->tls = value[TLS];
	snprintf(o->monitor, sizeof(o->monitor), "%s", value[MONITOR] ? value[MONITOR] : "");
	return 0;
}

int run_run(const struct verb *v, const struct verb_args *args)
{
	struct agent_options o = { 0 };
	struct err e;
	int r = read_options(&o, args->value, &e);

	(void)v;
	if (r) {
		log_error("%s", e.text);
		return CLI_USAGE;
	}
	r = agent_run(&o, &e);
	if (!r)
		return CLI_OK;
	log_error("%s", e.text);
	return CLI_FAILED;
}
