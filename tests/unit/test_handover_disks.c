/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/migrate/handover_disks.h"
#include "check_main.h"
#include "disk.h"
#include "lease.h"
#include "lease_server.h"
#include "owner.h"
#include "state_dir.h"
#include "vm.h"

#define UUID "6f1c1a52-53ab-4f8e-a6a6-0f6a4f0d7b11"

static const struct handover_ops *const ops = &handover_disks_ops;
static const struct handover_id id = { "2f6d2bb2-0f7c-4a52-9b0a-5d8a1a6a3c11", 7 };
static const char *const ids[] = { "disk0", "disk1", "disk2" };

/* One of two VMs with the same three disks, of which the first is read-only. */
struct host {
	struct vm vm;
	struct vm_disk disk[3];
	char path[3][32];
	struct handover_disks ctx;
};

static void host_new(struct host *h, enum journal_role role)
{
	struct err e;

	*h = (struct host){ 0 };
	list_init(&h->vm.disks);
	for (int i = 0; i < 3; i++) {
		struct disk_config c = { .path = h->path[i],
					 .raw = true,
					 .readonly = i == 0,
					 .later = i && role == JOURNAL_DESTINATION };

		snprintf(h->path[i], sizeof(h->path[i]), "%s.raw", ids[i]);
		h->disk[i] = (struct vm_disk){ .id = ids[i], .readonly = i == 0 };
		ck_assert_msg(!disk_open(&h->disk[i].disk, &c, &e), "%s", e.text);
		vm_add_disk(&h->vm, &h->disk[i]);
	}
	h->ctx = (struct handover_disks){ .vm = &h->vm, .uuid = UUID };
	ck_assert_msg(!journal_open(&h->ctx.journal, UUID, role, &e), "%s", e.text);
}

static void host_free(struct host *h)
{
	for (int i = 0; i < 3; i++)
		disk_close(h->disk[i].disk);
	journal_close(h->ctx.journal);
}

static void make_images(void)
{
	char path[32];
	int fd;

	state_setup();
	ck_assert_int_eq(mkdir(state_above, 0700) | mkdir(state_dir, 0700), 0);
	ck_assert_int_eq(chdir(state_dir), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s.raw", ids[i]);
		fd = open(path, O_CREAT | O_RDWR, 0600);
		ck_assert_int_eq(ftruncate(fd, 65536), 0);
		close(fd);
	}
}

static enum handover_record first(struct host *h)
{
	enum handover_record record;
	struct err e;

	ck_assert_int_eq(ops->read_first(&h->ctx, &id, &record, &e), 0);
	return record;
}

START_TEST(test_records)
{
	struct handover_id later = id;
	struct host a, b;
	struct err e;

	host_new(&a, JOURNAL_SOURCE);
	host_new(&b, JOURNAL_DESTINATION);
	ck_assert_int_eq(first(&b), RECORD_OTHER);
	for (enum handover_record r = RECORD_RUNNING; r <= RECORD_ACCEPTED; r++) {
		ck_assert_int_eq(ops->write_first(&a.ctx, &id, r, &e), 0);
		ck_assert_int_eq(first(&b), r);
	}
	/* Whatever came later, it was run elsewhere. */
	later.generation = 9;
	ck_assert_int_eq(ops->write_first(&a.ctx, &later, RECORD_RUNNING, &e), 0);
	ck_assert_int_eq(first(&b), RECORD_ACCEPTED);
	later.generation = 6;
	ck_assert_int_eq(ops->write_first(&a.ctx, &later, RECORD_OFFERED, &e), 0);
	ck_assert_int_eq(first(&b), RECORD_OTHER);
	/* Another session's offer of this generation. */
	later = id;
	later.session[0] = 'a';
	ck_assert_int_eq(ops->write_first(&a.ctx, &later, RECORD_OFFERED, &e), 0);
	ck_assert_int_eq(first(&b), RECORD_OTHER);
	ck_assert_int_ne(access("disk1.raw.owner", F_OK), -1);
	ck_assert_int_eq(access("disk0.raw.owner", F_OK), -1);
	ck_assert_int_eq(access("disk2.raw.owner", F_OK), -1);
	ck_assert_int_eq(ops->write_others(&a.ctx, &id, RECORD_OFFERED, &e), 0);
	ck_assert_int_ne(access("disk2.raw.owner", F_OK), -1);
	host_free(&a);
	host_free(&b);
}
END_TEST

START_TEST(test_locks)
{
	struct host a, b;
	struct err e;

	host_new(&a, JOURNAL_SOURCE);
	host_new(&b, JOURNAL_DESTINATION);
	ck_assert_int_eq(ops->prove_lock(&b.ctx, &e), 1);
	ck_assert_int_eq(ops->take_locks(&b.ctx, &e), -EAGAIN);
	ck_assert_int_eq(ops->sync_disks(&a.ctx, &e), 0);
	/* Who does not get all has none. */
	disk_let_go(a.disk[1].disk);
	ck_assert_int_eq(ops->take_locks(&b.ctx, &e), -EAGAIN);
	ck_assert_int_eq(ops->prove_lock(&b.ctx, &e), 0);
	ops->let_go(&a.ctx);
	ck_assert_int_eq(ops->take_locks(&b.ctx, &e), 0);
	ck_assert_int_eq(ops->prove_lock(&a.ctx, &e), 1);
	ck_assert_int_eq(ops->take_locks(&a.ctx, &e), -EAGAIN);
	ck_assert_int_eq(ops->take_locks(&b.ctx, &e), 0);
	ck_assert_int_lt(ops->lease_take(&a.ctx, &id, &e), 0);
	host_free(&a);
	host_free(&b);
}
END_TEST

/* The lease of generation 8, as the destination of this migration sees it. */
static enum handover_lease who(struct host *h, struct lease_server *s, const char *answer)
{
	struct err e;
	int r;

	s->answer[0] = answer;
	s->nanswers = 1;
	lease_server_start(s, state_parent);
	r = ops->lease_who(&h->ctx, &id, &e);
	lease_server_end(s);
	return (enum handover_lease)r;
}

START_TEST(test_lease)
{
	struct lease_server s = { .answer = { "yes\n" }, .nanswers = 1 };
	char mine[160], line[256];
	struct lease *other;
	struct host b;
	struct err e;

	host_new(&b, JOURNAL_SOURCE); /* whose disks are taken */
	snprintf(s.url, sizeof(s.url), "unix:%s/lease-server", state_parent);
	ck_assert_int_eq(lease_new(&b.vm.lease, s.url, UUID, &e), 0);
	ck_assert_int_eq(lease_new(&other, s.url, UUID, &e), 0);
	lease_name(b.vm.lease, id.session);
	lease_server_start(&s, state_parent);
	ck_assert_int_eq(ops->lease_take(&b.ctx, &id, &e), 1);
	lease_server_end(&s);
	ck_assert_int_eq(sscanf(s.asked[0], "take " UUID " 8 %159[^\n]\n", mine), 1);
	ck_assert_int_eq(who(&b, &s, "no\n"), LEASE_NOBODYS);
	ck_assert_int_eq(who(&b, &s, "yes 7 alpha/a/b\n"), LEASE_NOBODYS);
	ck_assert_int_eq(who(&b, &s, "yes 8 alpha/a/b\n"), LEASE_ELSEWHERE);
	snprintf(line, sizeof(line), "yes 8 %s\n", mine);
	ck_assert_int_eq(who(&b, &s, line), LEASE_HERE);
	ck_assert_int_lt((int)who(&b, &s, "unknown\n"), 0);
	/* Another process of this host runs it. */
	ck_assert_int_eq(lease_lock(other, &e), 0);
	ck_assert_int_eq(ops->take_locks(&b.ctx, &e), -EAGAIN);
	lease_let_go(other);
	ck_assert_int_eq(ops->take_locks(&b.ctx, &e), 0);
	ck_assert_int_eq(lease_lock(other, &e), -EAGAIN);
	ops->let_go(&b.ctx);
	ck_assert_int_eq(lease_lock(other, &e), 0);
	lease_free(other);
	lease_free(b.vm.lease);
	host_free(&b);
}
END_TEST

START_TEST(test_journal)
{
	struct journal_entry entry = { .state = JOURNAL_EXPECTS, .generation = 7 };
	struct host b;
	struct err e;

	host_new(&b, JOURNAL_DESTINATION);
	memcpy(entry.session, id.session, sizeof(entry.session));
	ck_assert_int_eq(ops->journal_find(&b.ctx, id.session, &entry, &e), -ENOENT);
	ck_assert_int_eq(ops->journal_write(&b.ctx, &entry, &e), 0);
	entry.state = JOURNAL_REFUSED;
	ck_assert_int_eq(ops->journal_find(&b.ctx, id.session, &entry, &e), 0);
	ck_assert_int_eq(entry.state, JOURNAL_EXPECTS);
	ck_assert_int_eq(ops->journal_last(&b.ctx, &entry, &e), 0);
	ck_assert_uint_eq(entry.generation, 7);
	host_free(&b);
}
END_TEST

static Suite *disks_suite(void)
{
	Suite *suite = suite_create("handover_disks");
	TCase *tcase = tcase_create("disks");

	tcase_add_checked_fixture(tcase, make_images, state_teardown);
	tcase_add_test(tcase, test_records);
	tcase_add_test(tcase, test_locks);
	tcase_add_test(tcase, test_lease);
	tcase_add_test(tcase, test_journal);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(disks_suite)
