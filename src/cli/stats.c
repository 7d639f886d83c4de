/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit stats": what VMs have counted since they began. */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "cli.h"
#include "client.h"
#include "log.h"
#include "stats_text.h"

static int add_counters(struct client *c, json_t *all, struct err *e)
{
	json_t *counters = NULL;
	int r = client_get(c, "vm.counters", &counters, e);

	if (!r)
		json_object_set_new(all, c->name, counters ? counters : json_object());
	return r;
}

static int print_metrics(struct client *c, bool as_table, struct err *e)
{
	CLEANUP(free) char *text = NULL;
	int r = client_get_text(c, "/metrics", &text, e);

	if (r)
		return r;
	if (!as_table) {
		fputs(text, stdout);
		return 0;
	}
	printf("%s\n", c->name);
	stats_text_print(stdout, text, !strcmp(nl_langinfo(CODESET), "UTF-8"));
	return 0;
}

int stats_run(const struct verb *v, const struct verb_args *args)
{
	bool as_json = args->value[0], as_text = args->value[1];
	json_auto_t *all = json_object();
	int status = CLI_OK;

	(void)v;
	setlocale(LC_CTYPE, "");
	if (as_text && (as_json || args->nrest > 1)) {
		log_error("--prometheus is for one VM, and without --json: a VM's text does not "
			  "have its name");
		return CLI_USAGE;
	}
	for (int i = 0; i < args->nrest; i++) {
		struct client c;
		struct err e;
		int r = client_open(&c, args->rest[i], &e);

		if (!r)
			r = as_json ? add_counters(&c, all, &e) : print_metrics(&c, !as_text, &e);
		if (r) {
			log_error("%s", e.text);
			status = CLI_FAILED;
		}
		client_close(&c);
	}
	if (as_json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	return status;
}
