/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One life of a VM: stage-host CONFIG.json LOAD|- SAVE
 *
 * Builds the VM, loads its state from LOAD unless that is "-", runs it until SIGUSR2, pauses
 * it, saves it to SAVE and exits with 0; with 10 if the guest powered off before, with 1 on
 * any failure.  What the guest needs of its host travels beside, in SAVE.needs.  tests/guest/run
 * strings several such processes together.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "config.h"
#include "machine.h"
#include "stream.h"

enum { EXIT_POWERED_OFF = 10 };

struct life {
	struct loop *loop;
	struct machine *machine;
	struct watch signals;
	const char *save;
	int status;
};

static void fail(const char *what, const struct err *e)
{
	fprintf(stderr, "stage-host: %s: %s\n", what, e->text);
	exit(1);
}

static void save_needs(struct life *l)
{
	json_auto_t *needs = machine_needs(l->machine);
	struct err e = { "cannot be written" };
	char path[256];

	snprintf(path, sizeof(path), "%s.needs", l->save);
	if (json_dump_file(needs, path, 0))
		fail(path, &e);
}

/* What the guest needed where it was saved: this host has it, being the same. */
static json_t *load_needs(const char *load)
{
	struct err e = { "cannot be read" };
	json_t *needs;
	char path[256];

	snprintf(path, sizeof(path), "%s.needs", load);
	needs = json_load_file(path, 0, NULL);
	if (!needs)
		fail(path, &e);
	return needs;
}

static void check_needs(struct life *l, const json_t *before)
{
	json_auto_t *needs = machine_needs(l->machine);
	struct err e = { "the guest needs something else than where it comes from" };

	if (before && !json_equal(needs, before))
		fail("build", &e);
}

static void ended(void *arg, int status, const char *why)
{
	struct life *l = arg;

	if (status)
		fprintf(stderr, "stage-host: %s\n", why);
	l->status = status ? status : EXIT_POWERED_OFF;
	loop_quit(l->loop);
}

static void paused(void *arg)
{
	struct life *l = arg;
	int fd = open(l->save, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct err e = { "cannot open" };

	if (fd < 0 || stream_save(machine_vm(l->machine), fd, &e))
		fail(l->save, &e);
	close(fd);
	save_needs(l);
	l->status = 0;
	loop_quit(l->loop);
}

static void signalled(void *arg, uint32_t events)
{
	struct life *l = arg;

	(void)events;
	loop_unwatch(l->loop, &l->signals);
	machine_pause(l->machine, paused, l);
}

static void watch_signals(struct life *l)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	l->signals = (struct watch){ .fd = signalfd(-1, &set, SFD_CLOEXEC),
				     .ready = signalled,
				     .arg = l };
	if (loop_watch(l->loop, &l->signals, EPOLLIN))
		exit(1);
}

static void load(struct life *l, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct err e = { "cannot open" };

	if (fd < 0 || stream_load(machine_vm(l->machine), fd, &e))
		fail(path, &e);
	close(fd);
}

int main(int argc, char **argv)
{
	struct life l = { 0 };
	struct machine_hooks hooks = { .ended = ended, .arg = &l };
	struct config config;
	json_t *json, *needs = NULL;
	struct err e;

	if (argc != 4)
		return 2;
	l.save = argv[3];
	json = json_load_file(argv[1], 0, NULL);
	if (!json || config_load(&config, json, &e))
		fail(argv[1], &e);
	if (loop_new(&l.loop, &e))
		fail("loop", &e);
	watch_signals(&l);
	if (strcmp(argv[2], "-"))
		hooks.needs = needs = load_needs(argv[2]);
	if (machine_new(&l.machine, &config, l.loop, &hooks, &e))
		fail("build", &e);
	check_needs(&l, needs);
	if (needs)
		load(&l, argv[2]);
	machine_start(l.machine);
	loop_run(l.loop);
	machine_free(l.machine);
	close(l.signals.fd);
	loop_free(l.loop);
	config_free(&config);
	json_decref(json);
	json_decref(needs);
	return l.status;
}
