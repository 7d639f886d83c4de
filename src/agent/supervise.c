/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "inventory.h"
#include "job.h"
#include "journal.h"
#include "process.h"
#include "rundir.h"

enum { NS_PER_S = 1000000000 };

static void keep(struct spec *s)
{
	struct err e;

	if (spec_keep(s, &e))
		agent_say(s->agent, "spec-lost", s->name, "%s", e.text);
}

/* As the monitor sees it (machine/ownership.c), which decides: so a start that it would refuse is
 * not tried. */
static bool is_away(const char *uuid, struct err *why)
{
	struct journal_entry source, destination;
	struct err unused;

	if (journal_read(uuid, JOURNAL_SOURCE, &source, &unused) || source.state == JOURNAL_RUNNING)
		return false;
	if (!journal_read(uuid, JOURNAL_DESTINATION, &destination, &unused) &&
	    destination.state == JOURNAL_ACCEPTED && destination.generation > source.generation)
		return false;
	err_set(why, 0,
		"it was %s to %s and may run there; if it runs nowhere: godwit resolve %s "
		"--run",
		source.state == JOURNAL_GIVEN ? "given" : "offered", source.peer, uuid);
	return true;
}

/* Its source may run it, until this host's journal says that it has come. */
static bool is_to_come(const struct spec *s)
{
	struct journal_entry destination;
	struct err unused;

	return s->comes &&
	       (journal_read(s->values.uuid, JOURNAL_DESTINATION, &destination, &unused) ||
		destination.state != JOURNAL_ACCEPTED);
}

bool supervise_is_elsewhere(const struct spec *s)
{
	struct err why;

	return is_to_come(s) || is_away(s->values.uuid, &why);
}

bool supervise_has_come(const char *uuid)
{
	struct journal_entry destination;
	struct err unused;

	return !is_away(uuid, &unused) &&
	       !journal_read(uuid, JOURNAL_DESTINATION, &destination, &unused) &&
	       destination.state == JOURNAL_ACCEPTED;
}

static void tell(const struct asker *asker, int r, const struct err *e)
{
	if (asker && asker->told)
		asker->told(asker->arg, r, e);
}

static void on_again(void *arg);

static void wait_for_again(struct spec *s, unsigned delay_s)
{
	s->again.expired = on_again;
	s->again.arg = s;
	s->waits = true;
	loop_timer_set(s->agent->loop, &s->again, loop_now_ns() + delay_s * (uint64_t)NS_PER_S);
}

static void wait_no_more(struct spec *s)
{
	loop_timer_cancel(s->agent->loop, &s->again);
	s->waits = false;
}

/* What is decided of a VM that does not run. */
static void decide(struct spec *s, enum end_kind kind, const char *why, uint64_t ran_s)
{
	const struct verdict v = restart_decide(kind, s->values.restart, s->failures, ran_s);

	s->failures = v.failures;
	s->failed = kind == END_FAILED || kind == END_REFUSED;
	snprintf(s->why, sizeof(s->why), "%s", why);
	if (v.starts) {
		agent_say(s->agent, "vm-down", s->name, "%s; it is started again in %u s", why,
			  v.delay_s);
		wait_for_again(s, v.delay_s);
		return;
	}
	agent_say(s->agent, "vm-down", s->name, "%s; it is not started again", why);
	s->over = true;
	keep(s);
}

static void judge(struct spec *s, pid_t pid)
{
	char why[512], reason[512], words[512];
	struct agent *a = s->agent;
	bool ours = process_last(a, s->name) == pid;
	struct remains r = { .ran = s->ran, .reason = reason, .words = words };
	enum end_kind kind;
	struct err away;

	words[0] = '\0';
	if (ours) {
		process_words(a, s->name, words, sizeof(words));
		r.event = process_event(a, s->name, reason, sizeof(reason));
		r.ran = r.ran || r.event != LAST_NONE; /* too short to be seen */
	}
	r.has_status = process_is_over(a, pid, &r.status);
	r.away = is_away(s->values.uuid, &away) ? away.text : NULL;
	kind = end_judge(&r, why, sizeof(why));
	decide(s, kind, why, s->ran ? (loop_now_ns() - s->since_ns) / NS_PER_S : 0);
}

static void ended(struct spec *s)
{
	pid_t pid = s->pid;

	inventory_remove(s->agent, s->name, pid);
	if (s->moves) /* who moves it says what became of it */
		return;
	s->pid = 0;
	s->last = pid;
	if (is_to_come(s))
		agent_say(s->agent, "vm-down", s->name, "it did not come from the other host");
	else if (s->values.runs)
		judge(s, pid);
	else
		agent_say(s->agent, "vm-down", s->name, "it is stopped");
	s->ran = false;
}

void supervise_ended(struct agent *a, const char *name, pid_t pid)
{
	struct spec *s = specs_find(a, name);

	/* Told twice of those that were started here. */
	if (!s || s->last == pid || (s->pid && s->pid != pid))
		return;
	s->pid = pid;
	if (s->job)
		s->job->gone = true;
	else
		ended(s);
}

static void note_run(struct spec *s, pid_t pid)
{
	if (s->pid != pid || !s->ran)
		s->since_ns = loop_now_ns();
	s->pid = pid;
	s->ran = true;
	wait_no_more(s);
	s->why[0] = '\0';
	s->failed = false;
	if (s->comes || s->over) {
		s->comes = s->over = false;
		keep(s);
	}
}

void job_done(struct job *j)
{
	struct spec *s = j->spec;

	if (s && !j->stops && !j->r) {
		note_run(s, j->pid);
		agent_say(s->agent, "vm-started", s->name, "process %d runs it", (int)j->pid);
	}
	if (s && j->r && !j->gone)
		snprintf(s->why, sizeof(s->why), "%s", j->e.text);
	if (s && j->gone) {
		ended(s);
		if (j->r)
			err_set(&j->e, j->r, "%s", s->why);
	}
	tell(&j->asker, j->r, &j->e);
}

static int spawn(struct spec *s, struct err *e)
{
	json_auto_t *config = spec_config(s->json);
	char path[AGENT_PATH_MAX];
	const char *const words[] = { "run", "--config", path, NULL };
	int r = config ? process_file(s->agent, s->name, config, path, e)
		       : err_set(e, -ENOMEM, "out of memory");

	r = r ? r : process_start(s->agent, s->name, words, &s->pid, e);
	if (r)
		s->pid = 0;
	s->ran = false;
	return r;
}

/* -EBUSY: a process has its name and says nothing. */
static int check_free(const struct spec *s, struct err *e)
{
	CLEANUP(fd) int dir = rundir_open(geteuid(), s->name);
	struct err why;

	if (dir >= 0)
		return err_set(e, -EBUSY,
			       "a process has the name \"%s\" and does not say what it runs",
			       s->name);
	if (is_away(s->values.uuid, &why))
		return err_set(e, -EBUSY, "%s", why.text);
	if (is_to_come(s))
		return err_set(e, -EBUSY,
			       "\"%s\" has not come from the other host yet; if it runs nowhere, "
			       "delete this spec and apply it again",
			       s->name);
	return 0;
}

int supervise_start(struct spec *s, const struct asker *asker, struct err *e)
{
	int r;

	if (agent_vm(s->agent, s->name)) {
		tell(asker, 0, NULL);
		return 0;
	}
	wait_no_more(s);
	r = check_free(s, e);
	r = r ? r : spawn(s, e);
	r = r ? r : job_new(s, s->pid, false, asker, e);
	if (r)
		decide(s, r == -EBUSY ? END_AWAY : END_REFUSED, e->text, 0);
	return r;
}

int supervise_stop(struct spec *s, const struct asker *asker, struct err *e)
{
	const struct agent_vm *vm = agent_vm(s->agent, s->name);

	wait_no_more(s);
	s->failures = 0;
	if (vm)
		s->pid = vm->pid;
	if (s->pid)
		return job_new(s, s->pid, true, asker, e);
	tell(asker, 0, NULL);
	return 0;
}

static void start_again(struct spec *s)
{
	struct err e;

	s->restarts++;
	agent_say(s->agent, "vm-restart", s->name, "it should run and does not");
	supervise_start(s, NULL, &e);
}

static void on_again(void *arg)
{
	struct spec *s = arg;

	s->waits = false;
	if (!s->job && !s->moves && !s->pid)
		start_again(s);
}

/* Its process, if it is still there although nothing was heard of its VM. */
static bool is_there(const struct spec *s, pid_t pid)
{
	char name[SPEC_NAME_MAX + 1];

	return rundir_name(geteuid(), pid, name, sizeof(name)) && !strcmp(name, s->name);
}

/* Of a VM that does not run, and that nobody looks after. */
static void look_after(struct spec *s)
{
	pid_t last = process_last(s->agent, s->name);
	struct err e;

	if (is_to_come(s))
		return;
	if (!last || last == s->last) {
		agent_say(s->agent, "vm-start", s->name, "it should run and does not");
		supervise_start(s, NULL, &e);
		return;
	}
	/* An agent before this one started it. */
	s->pid = last;
	s->ran = true;
	s->since_ns = loop_now_ns();
	if (!is_there(s, last))
		ended(s);
}

static void look_at_spec(struct spec *s)
{
	const struct agent_vm *vm = agent_vm(s->agent, s->name);
	int status;

	if (s->job || s->moves)
		return;
	if (vm) {
		process_trim(s->agent, s->name);
		if (vm->pid != s->last && *vm->state && strcmp(vm->state, "Created"))
			note_run(s, vm->pid);
	} else if (s->pid) {
		if (process_is_over(s->agent, s->pid, &status) || !is_there(s, s->pid))
			ended(s);
	} else if (s->values.runs && !s->over && !s->waits) {
		look_after(s);
	}
}

void supervise_look(struct agent *a)
{
	struct spec *s;

	list_for_each (s, &a->specs->list, node)
		look_at_spec(s);
}

void supervise_forget(struct spec *s)
{
	wait_no_more(s);
	if (s->job)
		s->job->spec = NULL;
}

void supervise_end(struct agent *a)
{
	job_end_all(a);
}
