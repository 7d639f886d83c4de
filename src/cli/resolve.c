/* SPDX-License-Identifier: Apache-2.0 */
/* "godwit resolve": a person says where a VM runs that a migration left undecided. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "cli.h"
#include "client.h"
#include "disk.h"
#include "journal.h"
#include "lease.h"
#include "log.h"
#include "owner.h"
#include "rundir.h"

enum { OPTION_RUN, OPTION_DISCARD, OPTION_LEASE };
enum { LOOKS = 20, LOOK_MS = 250 };

/* What a state that was left behind becomes; other states stay. */
static const struct {
	enum journal_state from, run, discard;
} verdicts[] = {
	{ JOURNAL_OFFERED, JOURNAL_RUNNING, JOURNAL_GIVEN },
	{ JOURNAL_ANSWERED, JOURNAL_RUNNING, JOURNAL_GIVEN },
	{ JOURNAL_GIVEN, JOURNAL_RUNNING, JOURNAL_GIVEN },
	{ JOURNAL_EXPECTS, JOURNAL_ACCEPTED, JOURNAL_REFUSED },
	{ JOURNAL_PROVEN, JOURNAL_ACCEPTED, JOURNAL_REFUSED },
};

struct resolve {
	const char *uuid;
	bool run;
	const char *lease; /* NULL: not given */
	struct journal *journal[2]; /* as enum journal_role */
	bool known; /* to a journal */
};

static enum journal_state verdict(enum journal_state before, bool run)
{
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
		if (verdicts[i].from == before)
			return run ? verdicts[i].run : verdicts[i].discard;
	return before;
}

static int settle_journal(struct resolve *r, struct journal *j, struct err *e)
{
	enum journal_state before, after;
	struct journal_entry entry;
	int rc;

	if (journal_last(j, &entry))
		return 0;
	r->known = true;
	before = entry.state;
	after = verdict(before, r->run);
	if (after == before)
		return 0;
	entry.state = after;
	/* As it would have been: the new owner counts one more. */
	entry.generation += after == JOURNAL_ACCEPTED;
	rc = journal_write(j, &entry, e);
	if (!rc)
		printf("VM %s: was %s, is %s\n", r->uuid, journal_state_name(before),
		       journal_state_name(after));
	return rc;
}

/* It was offered from here, and a later record of another host shows that it arrived. */
static int refuse_taken(const struct resolve *r, const struct disk *d, const struct owner_record *o,
			struct err *e)
{
	struct journal_entry entry;
	char host[sizeof(o->host)];

	owner_this_host(host);
	if (journal_last(r->journal[JOURNAL_SOURCE], &entry) || entry.state != JOURNAL_ANSWERED ||
	    o->generation <= entry.generation || !strcmp(o->host, host))
		return 0;
	return err_set(e, -EBUSY,
		       "%s says that host %s has run this VM since; say --discard here, and start "
		       "it there",
		       disk_path(d), o->host);
}

/* One generation on and with its session, so that the other side, if it should still be there,
 * finds it taken. */
static int settle_record(const struct resolve *r, struct disk *d, struct err *e)
{
	struct owner_record o;
	int rc = owner_read(d, &o, e);

	if (rc)
		return rc;
	if (strcmp(o.vm, r->uuid))
		return err_set(e, -EINVAL, "%s belongs to another VM: %s", disk_path(d), o.vm);
	if (o.state != OWNER_OFFERED)
		return refuse_taken(r, d, &o, e);
	o.state = OWNER_RUNNING;
	o.generation++;
	owner_this_host(o.host);
	rc = owner_write(d, &o, e);
	if (!rc)
		printf("%s: was offered, is running\n", disk_path(d));
	return rc;
}

static int settle_disk(const struct resolve *r, const char *path, struct err *e)
{
	const struct disk_config c = { .path = path, .raw = true };
	struct disk *d;
	int rc = disk_open(&d, &c, e);

	if (rc)
		return rc;
	rc = settle_record(r, d, e);
	disk_close(d);
	return rc;
}

static int open_journals(struct resolve *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(r->journal); i++)
		rc = journal_open(&r->journal[i], r->uuid, (enum journal_role)i, e);
	return rc;
}

/* A person's word is not enough where a lease decides. */
static int ask_lease(const struct resolve *r, struct err *e)
{
	struct journal_entry entry;
	struct lease *lease;
	int rc;

	for (size_t i = 0; r->run && !r->lease && i < ARRAY_SIZE(r->journal); i++)
		if (!journal_last(r->journal[i], &entry) && entry.arbiter == ARBITER_LEASE &&
		    verdict(entry.state, true) != entry.state)
			return err_set(e, -EINVAL,
				       "a lease decides where this VM runs; say --lease unix:PATH, "
				       "too");
	if (!r->lease)
		return 0;
	rc = lease_new(&lease, r->lease, r->uuid, e);
	if (rc)
		return rc;
	rc = lease_begin(lease, e);
	lease_free(lease);
	return rc;
}

/* Records before the journal, as the source itself does it. */
static int resolve(struct resolve *r, char **disk, int ndisks, struct err *e)
{
	int rc = open_journals(r, e);

	if (!rc)
		rc = ask_lease(r, e);
	for (int i = 0; !rc && i < ndisks; i++)
		rc = settle_disk(r, disk[i], e);
	for (size_t i = 0; !rc && i < ARRAY_SIZE(r->journal); i++)
		rc = settle_journal(r, r->journal[i], e);
	if (!rc && !r->known && !ndisks)
		rc = err_set(e, -ENOENT,
			     "this host knows of no migration of the VM %s; godwit run starts it",
			     r->uuid);
	for (size_t i = 0; i < ARRAY_SIZE(r->journal); i++)
		journal_close(r->journal[i]);
	return rc;
}

static bool is_running(const char *name)
{
	CLEANUP(fd) int dir = rundir_open(geteuid(), name);

	return dir >= 0;
}

/* A VM that still waits here for an answer looks once more at its disks. */
static int tell_running(const char *name, bool run, struct err *e)
{
	json_auto_t *body = json_pack("{s:b}", "run", run);
	struct client c;
	int r = client_open(&c, name, e);

	if (!r)
		r = client_put(&c, "vm.resolve-migration", body, NULL, e);
	for (unsigned i = 0; !r && i < LOOKS; i++) {
		json_auto_t *p = NULL;

		usleep(LOOK_MS * 1000);
		/* It ends when it is not to run here. */
		if (client_get(&c, "vm.migration-progress", &p, e) ||
		    !json_is_true(json_object_get(p, "undecided"))) {
			client_close(&c);
			return 0;
		}
	}
	client_close(&c);
	return r ? r
		 : err_set(e, -EBUSY,
			   "it is still undecided where VM \"%s\" runs: its disks cannot be had, "
			   "or say that it was taken over, or its lease server does not answer",
			   name);
}

int resolve_run(const struct verb *v, const struct verb_args *args)
{
	bool run = args->value[OPTION_RUN], discard = args->value[OPTION_DISCARD];
	struct resolve r = { .uuid = args->rest[0],
			     .run = run,
			     .lease = args->value[OPTION_LEASE] };
	struct err e;
	int rc;

	if (run == discard) {
		log_error("say one of --run and --discard; see \"godwit %s --help\"", v->name);
		return CLI_USAGE;
	}
	if (discard && args->nrest > 1) {
		log_error("disks are for --run: what is discarded keeps its records");
		return CLI_USAGE;
	}
	if (discard && r.lease) {
		log_error("--lease is for --run: what is discarded takes none");
		return CLI_USAGE;
	}
	rc = is_running(r.uuid) ? tell_running(r.uuid, run, &e)
				: resolve(&r, args->rest + 1, args->nrest - 1, &e);
	if (rc)
		log_error("%s", e.text);
	return rc ? CLI_FAILED : CLI_OK;
}
