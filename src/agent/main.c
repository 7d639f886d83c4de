/* SPDX-License-Identifier: Apache-2.0 */
/* godwit-agent: its verbs, as a table. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "planner/explain.h"
#include "planner/fields.h"
#include "log.h"
#include "planner/planner.h"
#include "planner/snapshot.h"
#include "planner/what_if.h"
#include "run.h"

/* Exit status: done; refused or failed; the command line is wrong. */
enum { AGENT_OK, AGENT_FAILED, AGENT_USAGE };
enum { EDITS_MAX = 32 };

struct args {
	const char *snapshot, *save, *name;
	const char *edit[EDITS_MAX];
	unsigned nedits;
	bool json;
};

struct verb {
	const char *name, *usage, *help, *about;
	int (*run)(const struct args *);
};

static int help_run(const struct args *);
static int explain_run(const struct args *);
static int plan_run(const struct args *);
static int run_run(const struct args *);

static const struct verb verbs[] = {
	{ "run", "[--id NAME]", "look after the VMs of this host", NULL, run_run },
	{ "plan", "--snapshot FILE [--what-if EDIT]... [--save FILE] [--json]",
	  "say which VMs should move, and why",
	  "--what-if EDIT   change the snapshot first: add-host=NAME[,like=HOST],\n"
	  "                 remove-host=NAME, maintenance=NAME, drain=NAME, up=NAME,\n"
	  "                 dead=NAME, mode=recommend|auto|emergency, or KEY=VALUE of a\n"
	  "                 policy value, which \"godwit-agent help\" lists\n"
	  "--save FILE      write the snapshot as it was planned, and the plan, to a file\n"
	  "                 that --snapshot takes\n"
	  "--json           print the plan as JSON",
	  plan_run },
	{ "explain", "--snapshot FILE [--what-if EDIT]... [VM|HOST]",
	  "say of the plan, a VM or a host why it is so", NULL, explain_run },
	{ "help", "", "print this, and every policy value", NULL, help_run },
};

static void print_usage(FILE *f)
{
	fputs("Usage: godwit-agent COMMAND [OPTION]...\n\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(f, "  %-8s %s\n", verbs[i].name, verbs[i].help);
	fputs("\n\"godwit-agent COMMAND --help\" explains a command.\n", f);
}

static int help_run(const struct args *args)
{
	(void)args;
	print_usage(stdout);
	printf("\nPolicy values and their defaults:\n");
	for (size_t i = 0; i < policy_fields.n; i++)
		printf("  %-16s %-6g %s\n", policy_fields.field[i].key,
		       policy_fields.field[i].fallback, policy_fields.field[i].help);
	return AGENT_OK;
}

static int run_run(const struct args *args)
{
	struct agent_options o = { .link = 1.25e9 };
	struct err e;

	(void)args;
	gethostname(o.id, sizeof(o.id) - 1);
	if (!agent_run(&o, &e))
		return AGENT_OK;
	log_error("%s", e.text);
	return AGENT_FAILED;
}

static int load(struct snapshot *s, const struct args *args, struct err *e)
{
	CLEANUP(file) FILE *f = fopen(args->snapshot, "re");
	int r;

	*s = (struct snapshot){ 0 };
	if (!f)
		return err_set(e, -errno, "%.200s: %s", args->snapshot, strerror(errno));
	r = snapshot_read(s, f, e);
	if (r)
		return err_prefix(e, r, "%.200s", args->snapshot);
	for (unsigned i = 0; !r && i < args->nedits; i++) {
		r = what_if_apply(s, args->edit[i], e);
		if (r)
			err_prefix(e, r, "--what-if %.64s", args->edit[i]);
	}
	return r;
}

static int save(const struct plan *plan, const char *path, struct err *e)
{
	CLEANUP(file) FILE *f = fopen(path, "we");

	if (!f)
		return err_set(e, -errno, "%.200s: %s", path, strerror(errno));
	snapshot_write(plan->snapshot, f);
	fputs("{\"plan\":", f);
	plan_write(plan, f);
	fputs("}\n", f);
	if (fflush(f) || ferror(f))
		return err_set(e, -EIO, "%.200s: cannot be written", path);
	return 0;
}

static int show_plan(const struct snapshot *s, const struct args *args, struct err *e)
{
	struct plan plan;
	int r = plan_make(&plan, s, e);

	if (r)
		return r;
	if (args->save)
		r = save(&plan, args->save, e);
	if (!r && args->json) {
		plan_write(&plan, stdout);
		putchar('\n');
	} else if (!r) {
		explain_plan(&plan, stdout);
	}
	plan_free(&plan);
	return r;
}

static int finish(struct snapshot *s, int r, const struct err *e)
{
	snapshot_free(s);
	if (!r)
		return AGENT_OK;
	log_error("%s", e->text);
	return AGENT_FAILED;
}

static int plan_run(const struct args *args)
{
	struct snapshot s;
	struct err e;
	int r = load(&s, args, &e);

	return finish(&s, r ? r : show_plan(&s, args, &e), &e);
}

static int explain_run(const struct args *args)
{
	struct snapshot s;
	struct err e;
	int r = load(&s, args, &e);

	if (!r && args->name)
		r = explain_name(&s, args->name, stdout, &e);
	else if (!r)
		r = show_plan(&s, args, &e);
	return finish(&s, r, &e);
}

/* The value of an option, behind = or as the next word. */
static bool take(char ***argv, const char *name, const char **value)
{
	size_t len = strlen(name);

	if (strncmp(**argv, name, len) || ((**argv)[len] && (**argv)[len] != '='))
		return false;
	*value = (**argv)[len] ? **argv + len + 1 : *++*argv;
	return true;
}

static int refuse(const struct verb *v, const char *word)
{
	log_error("there is no place for \"%.64s\"; see \"godwit-agent %s --help\"", word, v->name);
	return AGENT_USAGE;
}

static int parse(const struct verb *v, struct args *args, char **argv)
{
	bool plans = v->run == plan_run;

	for (; *argv; argv++) {
		const char *word = *argv, *value = NULL;

		if (v->run == help_run) {
			return refuse(v, word);
		} else if (take(&argv, "--snapshot", &value)) {
			args->snapshot = value;
		} else if (take(&argv, "--what-if", &value)) {
			if (args->nedits == EDITS_MAX)
				return refuse(v, word);
			args->edit[args->nedits++] = value;
		} else if (plans && take(&argv, "--save", &value)) {
			args->save = value;
		} else if (plans && !strcmp(word, "--json")) {
			args->json = true;
			continue;
		} else if (!plans && !args->name && strncmp(word, "--", 2)) {
			args->name = word;
			continue;
		} else {
			return refuse(v, word);
		}
		if (!value) {
			log_error("%s needs a value", word);
			return AGENT_USAGE;
		}
	}
	if (v->run == help_run || v->run == run_run || args->snapshot)
		return AGENT_OK;
	log_error("something is missing: godwit-agent %s %s", v->name, v->usage);
	return AGENT_USAGE;
}

static int run(const struct verb *v, char **argv)
{
	struct args args = { 0 };
	int status;

	for (char **word = argv; *word; word++) {
		if (strcmp(*word, "--help"))
			continue;
		printf("Usage: godwit-agent %s%s%s\n\n%s.\n", v->name, *v->usage ? " " : "",
		       v->usage, v->help);
		if (v->about)
			printf("\n%s\n", v->about);
		return AGENT_OK;
	}
	status = parse(v, &args, argv);
	return status == AGENT_OK ? v->run(&args) : status;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		print_usage(stderr);
		return AGENT_USAGE;
	}
	if (!strcmp(name, "--help"))
		name = "help";
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i].name, name))
			return run(&verbs[i], argv + 2);
	log_error("there is no command \"%.64s\"; see \"godwit-agent --help\"", name);
	return AGENT_USAGE;
}
