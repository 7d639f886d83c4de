/* SPDX-License-Identifier: Apache-2.0 */
/* Specs in the store, those of VMs that move, and monitors that do not start. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_main.h"
#include "cleanup.h"
#include "events.h"
#include "journal.h"
#include "process.h"
#include "specs.h"
#include "supervise.h"

#define UUID "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
#define NAME "unit-specs"

static const char spec_text[] = "{\"name\":\"" NAME "\",\"vm\":{\"platform\":{\"uuid\":\"" UUID
				"\"}}}";

struct rig {
	struct agent agent;
	struct agent_options options;
	char folder[32];
	int told; /* how often */
	int r;
	char sentence[512];
};

static void open_agent(struct rig *rig)
{
	struct err e;

	ck_assert_msg(!agent_open(&rig->agent, &rig->options, &e), "%s", e.text);
}

static void close_agent(struct rig *rig)
{
	agent_close(&rig->agent);
}

/* A monitor that says why it does not start. */
static void rig_new(struct rig *rig)
{
	*rig = (struct rig){ .folder = "/tmp/specs-XXXXXX" };
	ck_assert_ptr_nonnull(mkdtemp(rig->folder));
	setenv("GODWIT_STATE_DIR", rig->folder, 1);
	setenv("XDG_RUNTIME_DIR", rig->folder, 1);
	snprintf(rig->options.id, sizeof(rig->options.id), "alpha");
	snprintf(rig->options.monitor, sizeof(rig->options.monitor), "%s/monitor", rig->folder);
	{
		CLEANUP(file) FILE *f = fopen(rig->options.monitor, "we");

		fprintf(f, "#!/bin/sh\necho \"godwit: $1 $2: no such disk\" >&2\nexit 1\n");
	}
	ck_assert(!chmod(rig->options.monitor, 0700));
	rig->agent.store = open(rig->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	open_agent(rig);
}

static void rig_free(struct rig *rig)
{
	char command[64];

	close_agent(rig);
	close(rig->agent.store);
	snprintf(command, sizeof(command), "rm -r %s", rig->folder);
	ck_assert(!system(command));
}

static void restart_agent(struct rig *rig)
{
	close_agent(rig);
	open_agent(rig);
}

static void on_told(void *arg, int r, const struct err *e)
{
	struct rig *rig = arg;

	rig->told++;
	rig->r = r;
	snprintf(rig->sentence, sizeof(rig->sentence), "%s", r ? e->text : "");
	loop_quit(rig->agent.loop);
}

static int adopt(struct rig *rig, struct err *e)
{
	json_t *json = json_loads(spec_text, 0, NULL);
	int r = specs_adopt(&rig->agent, json, e);

	json_decref(json);
	return r;
}

static struct spec *the_spec(struct rig *rig)
{
	struct spec *s = specs_find(&rig->agent, NAME);

	ck_assert_ptr_nonnull(s);
	return s;
}

static void write_journal(enum journal_role role, enum journal_state state, uint64_t generation)
{
	const struct journal_entry entry = { .state = state,
					     .session = "f47ac10b-58cc-4372-a567-0e02b2c3d479",
					     .generation = generation,
					     .peer = "beta" };
	struct journal *j;
	struct err e;

	ck_assert_msg(!journal_open(&j, UUID, role, &e), "%s", e.text);
	ck_assert_msg(!journal_write(j, &entry, &e), "%s", e.text);
	journal_close(j);
}

/* It is kept over a restart that it has not come yet, and it may be said twice. */
START_TEST(adopted)
{
	struct rig rig;
	struct err e;
	json_t *taken;

	rig_new(&rig);
	ck_assert_msg(!adopt(&rig, &e), "%s", e.text);
	ck_assert_msg(!adopt(&rig, &e), "%s", e.text);
	supervise_look(&rig.agent);
	ck_assert_ptr_null(the_spec(&rig)->job);
	restart_agent(&rig);
	ck_assert(the_spec(&rig)->comes);
	supervise_look(&rig.agent);
	ck_assert_ptr_null(the_spec(&rig)->job);
	ck_assert_str_eq(spec_state(the_spec(&rig)), "stopped");
	/* It has come, and died before anybody saw it. */
	write_journal(JOURNAL_DESTINATION, JOURNAL_ACCEPTED, 3);
	supervise_look(&rig.agent);
	ck_assert_ptr_nonnull(the_spec(&rig)->job);
	ck_assert_str_eq(spec_state(the_spec(&rig)), "starting");

	taken = specs_take(&rig.agent, NAME);
	ck_assert_ptr_nonnull(taken);
	json_decref(taken);
	ck_assert(!specs_leave(&rig.agent, NAME, &e));
	ck_assert(!specs_leave(&rig.agent, NAME, &e));
	ck_assert_ptr_null(specs_take(&rig.agent, NAME));
	restart_agent(&rig);
	ck_assert_ptr_null(specs_find(&rig.agent, NAME));
	rig_free(&rig);
}
END_TEST

/* The process that waited for it is gone; the source may run it. */
START_TEST(did_not_come)
{
	static const char *const words[] = { "run", "--incoming", "tcp:127.0.0.1:0", NULL };
	struct rig rig;
	struct asker asker = { on_told, &rig };
	struct err e;
	int status;
	pid_t pid;

	rig_new(&rig);
	ck_assert(!adopt(&rig, &e));
	ck_assert_msg(!process_start(&rig.agent, NAME, words, &pid, &e), "%s", e.text);
	while (!process_is_over(&rig.agent, pid, &status))
		usleep(1000);
	supervise_ended(&rig.agent, NAME, pid);
	ck_assert(!the_spec(&rig)->waits);
	supervise_look(&rig.agent);
	ck_assert(!the_spec(&rig)->waits);
	ck_assert_ptr_null(the_spec(&rig)->job);
	ck_assert_int_eq(specs_start(&rig.agent, NAME, &asker, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.text, "has not come from the other host yet"));
	ck_assert_int_eq(process_last(&rig.agent, NAME), pid);
	ck_assert(!specs_delete(&rig.agent, NAME, &e));
	rig_free(&rig);
	ck_assert_int_eq(rig.told, 0);
}
END_TEST

START_TEST(adopted_without_uuid)
{
	json_t *json = json_pack("{s:s, s:{}}", "name", NAME, "vm");
	struct rig rig;
	struct err e;

	rig_new(&rig);
	ck_assert_int_eq(specs_adopt(&rig.agent, json, &e), -EINVAL);
	ck_assert_ptr_null(specs_find(&rig.agent, NAME));
	json_decref(json);
	rig_free(&rig);
}
END_TEST

/* The monitor is not even asked. */
START_TEST(given_away)
{
	struct rig rig;
	struct asker asker = { on_told, &rig };
	struct err e;

	rig_new(&rig);
	write_journal(JOURNAL_SOURCE, JOURNAL_GIVEN, 3);
	write_journal(JOURNAL_DESTINATION, JOURNAL_ACCEPTED, 2);
	ck_assert(!adopt(&rig, &e));
	supervise_look(&rig.agent);
	ck_assert_ptr_null(the_spec(&rig)->job);
	ck_assert(the_spec(&rig)->waits);
	ck_assert_ptr_nonnull(
		strstr(the_spec(&rig)->why, "it was given to beta and may run there"));
	ck_assert_int_eq(specs_start(&rig.agent, NAME, &asker, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.text, "given to beta"));
	ck_assert_int_eq(process_last(&rig.agent, NAME), 0);
	/* It came back. */
	write_journal(JOURNAL_DESTINATION, JOURNAL_ACCEPTED, 4);
	ck_assert_msg(!specs_start(&rig.agent, NAME, &asker, &e), "%s", e.text);
	ck_assert_ptr_nonnull(the_spec(&rig)->job);
	ck_assert_int_ne(process_last(&rig.agent, NAME), 0);
	rig_free(&rig);
	ck_assert_int_eq(rig.told, 1);
}
END_TEST

START_TEST(on_its_way)
{
	struct rig rig;
	struct asker asker = { on_told, &rig };
	struct err e;

	rig_new(&rig);
	ck_assert(!adopt(&rig, &e));
	write_journal(JOURNAL_DESTINATION, JOURNAL_ACCEPTED, 3);
	specs_moves(&rig.agent, NAME, true);
	supervise_look(&rig.agent);
	ck_assert_ptr_null(the_spec(&rig)->job);
	ck_assert_int_eq(specs_start(&rig.agent, NAME, &asker, &e), -EBUSY);
	ck_assert_int_eq(specs_stop(&rig.agent, NAME, &asker, &e), -EBUSY);
	ck_assert_int_eq(specs_delete(&rig.agent, NAME, &e), -EBUSY);
	ck_assert_str_eq(e.text, "\"" NAME "\" is on its way to another host");
	specs_moves(&rig.agent, NAME, false);
	supervise_look(&rig.agent);
	ck_assert_ptr_nonnull(the_spec(&rig)->job);
	rig_free(&rig);
	ck_assert_int_eq(rig.told, 0);
}
END_TEST

START_TEST(refused)
{
	struct rig rig;
	struct asker asker = { on_told, &rig };
	struct err e;

	rig_new(&rig);
	ck_assert(!adopt(&rig, &e));
	write_journal(JOURNAL_DESTINATION, JOURNAL_ACCEPTED, 3);
	pthread_mutex_lock(&rig.agent.lock);
	ck_assert_msg(!specs_start(&rig.agent, NAME, &asker, &e), "%s", e.text);
	ck_assert_int_eq(specs_start(&rig.agent, NAME, &asker, &e), -EBUSY);
	pthread_mutex_unlock(&rig.agent.lock);
	loop_run(rig.agent.loop);
	ck_assert_int_eq(rig.told, 1);
	ck_assert_int_lt(rig.r, 0);
	ck_assert_str_eq(rig.sentence, "run --config: no such disk");
	ck_assert_str_eq(the_spec(&rig)->why, rig.sentence);
	ck_assert_str_eq(spec_state(the_spec(&rig)), "failed");
	ck_assert(the_spec(&rig)->waits);
	rig_free(&rig);
}
END_TEST

/* A damaged one keeps no other from being looked after. */
START_TEST(damaged)
{
	struct rig rig;
	struct err e;
	int fd;

	rig_new(&rig);
	ck_assert(!adopt(&rig, &e));
	fd = openat(rig.agent.specs->dir, "other.json", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(write(fd, "{}\n", 3), 3);
	close(fd);
	restart_agent(&rig);
	ck_assert_ptr_nonnull(specs_find(&rig.agent, NAME));
	ck_assert_ptr_null(specs_find(&rig.agent, "other"));
	rig_free(&rig);
}
END_TEST

static Suite *specs_suite(void)
{
	Suite *s = suite_create("specs");
	TCase *c = tcase_create("specs");

	tcase_add_test(c, adopted);
	tcase_add_test(c, did_not_come);
	tcase_add_test(c, adopted_without_uuid);
	tcase_add_test(c, given_away);
	tcase_add_test(c, on_its_way);
	tcase_add_test(c, refused);
	tcase_add_test(c, damaged);
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(specs_suite)
