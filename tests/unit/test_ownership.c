/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a VM may begin to run on its disks, without KVM. */
#include "ownership.h"

#include <errno.h>

#include "blk_guest.h"
#include "check_main.h"
#include "disk.h"
#include "in_child.h"
#include "journal.h"
#include "lease.h"
#include "lease_server.h"
#include "log.h"
#include "owner.h"
#include "state_dir.h"

#define VM "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
#define OTHER "6ba7b811-9dad-41d1-80b4-00c04fd430c8"
#define SESSION "6ba7b812-9dad-41d1-80b4-00c04fd430c8"

static struct guest g;

static void setup(void)
{
	log_set_level(LOG_ERROR);
	image_setup();
	state_setup();
}

static void teardown(void)
{
	state_teardown();
	blk_teardown();
}

static void new_guest(const char *options)
{
	struct err e = { "" };

	ck_assert_msg(!blk_new(&g, options, &e), "%s", e.text);
}

static struct vm_disk *the_disk(void)
{
	struct vm_disk *d = vm_disk(&g.vm, "disk0");

	ck_assert_ptr_nonnull(d);
	return d;
}

static void begins(const char *uuid)
{
	struct err e = { "" };

	ck_assert_msg(!ownership_begin(&g.vm, uuid, &e), "%s", e.text);
}

static void refuses(const char *uuid, int code, const char *sentence)
{
	struct err e = { "" };

	ck_assert_int_eq(ownership_begin(&g.vm, uuid, &e), code);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
}

static struct owner_record record(void)
{
	struct owner_record o;
	struct err e;

	ck_assert_msg(!owner_read(the_disk()->disk, &o, &e), "%s", e.text);
	return o;
}

static void journal(enum journal_role role, enum journal_state state, uint64_t generation)
{
	struct journal_entry entry = {
		.state = state, .session = SESSION, .generation = generation, .peer = "beta:4444"
	};
	struct journal *j;
	struct err e;

	ck_assert_int_eq(journal_open(&j, VM, role, &e), 0);
	ck_assert_int_eq(journal_write(j, &entry, &e), 0);
	journal_close(j);
}

START_TEST(test_counts_generations)
{
	struct owner_record o;
	char host[65];

	owner_this_host(host);
	for (unsigned i = 1; i <= 3; i++) {
		new_guest("");
		begins(i == 2 ? OTHER : VM);
		ck_assert(the_disk()->recorded);
		o = record();
		ck_assert_str_eq(o.vm, i == 2 ? OTHER : VM);
		ck_assert_str_eq(o.host, host);
		ck_assert_str_eq(o.session, "");
		ck_assert_uint_eq(o.generation, i);
		ck_assert_int_eq(o.state, OWNER_RUNNING);
		guest_free(&g);
	}
	/* No journal was needed for that. */
	ck_assert_int_eq(access(state_above, F_OK), -1);
}
END_TEST

START_TEST(test_readonly_has_no_record)
{
	new_guest(", \"readonly\": true");
	begins(VM);
	ck_assert(!the_disk()->recorded);
	ck_assert_int_eq(access(image_owner, F_OK), -1);
	guest_free(&g);
}
END_TEST

START_TEST(test_refuses_offered)
{
	struct owner_record o = { .vm = OTHER,
				  .generation = 5,
				  .host = "alpha",
				  .session = SESSION,
				  .state = OWNER_OFFERED };
	struct err e;

	new_guest("");
	ck_assert_int_eq(owner_write(the_disk()->disk, &o, &e), 0);
	refuses(VM, -EBUSY, "belongs to VM " OTHER ", which host alpha is handing over");
	refuses(VM, -EBUSY, "godwit resolve " OTHER " --run ");
	o = record();
	ck_assert_uint_eq(o.generation, 5);
	ck_assert_int_eq(o.state, OWNER_OFFERED);
	ck_assert_int_eq(ownership_add(&g.vm, VM, "disk0", &e), -EBUSY);
	ck_assert_int_eq(ownership_add(&g.vm, VM, "net0", &e), 0);
	guest_free(&g);
}
END_TEST

START_TEST(test_refuses_damaged)
{
	FILE *f = fopen(image_owner, "w");

	ck_assert_ptr_nonnull(f);
	fclose(f);
	new_guest("");
	refuses(VM, -EBADMSG, "is damaged");
	guest_free(&g);
}
END_TEST

START_TEST(test_journal_of_a_source)
{
	new_guest("");
	journal(JOURNAL_SOURCE, JOURNAL_GIVEN, 5);
	refuses(VM, -EBUSY, "was given to beta:4444 and may run there");
	refuses(VM, -EBUSY, "godwit resolve " VM " --run");
	ck_assert_int_eq(access(image_owner, F_OK), -1);
	begins(OTHER);
	journal(JOURNAL_SOURCE, JOURNAL_OFFERED, 5);
	refuses(VM, -EBUSY, "was offered to beta:4444");
	journal(JOURNAL_SOURCE, JOURNAL_ANSWERED, 5);
	refuses(VM, -EBUSY, "was offered to beta:4444");
	journal(JOURNAL_SOURCE, JOURNAL_RUNNING, 5);
	begins(VM);
	guest_free(&g);
}
END_TEST

START_TEST(test_journal_of_one_that_came_back)
{
	new_guest("");
	journal(JOURNAL_SOURCE, JOURNAL_GIVEN, 5);
	journal(JOURNAL_DESTINATION, JOURNAL_ACCEPTED, 5);
	refuses(VM, -EBUSY, "was given to");
	journal(JOURNAL_DESTINATION, JOURNAL_PROVEN, 7);
	refuses(VM, -EBUSY, "was given to");
	journal(JOURNAL_DESTINATION, JOURNAL_ACCEPTED, 7);
	begins(VM);
	/* And went again. */
	journal(JOURNAL_SOURCE, JOURNAL_GIVEN, 7);
	refuses(VM, -EBUSY, "was given to");
	guest_free(&g);
}
END_TEST

/* What may not start here takes no lease, which another host may need for it. */
START_TEST(test_lease_comes_last)
{
	struct owner_record o = {
		.vm = VM, .generation = 5, .host = "alpha", .state = OWNER_OFFERED
	};
	struct lease_server s = { .answer = { "no\n", "yes\n" }, .nanswers = 2 };
	struct err e = { "" };

	new_guest("");
	journal(JOURNAL_SOURCE, JOURNAL_ANSWERED, 5); /* which makes the directory */
	snprintf(s.url, sizeof(s.url), "unix:%s/lease-server", state_parent);
	ck_assert_msg(!lease_new(&g.vm.lease, s.url, VM, &e), "%s", e.text);
	refuses(VM, -EBUSY, "was offered to beta:4444");
	journal(JOURNAL_SOURCE, JOURNAL_RUNNING, 5);
	ck_assert_int_eq(owner_write(the_disk()->disk, &o, &e), 0);
	refuses(VM, -EBUSY, "which host alpha is handing over");
	o.state = OWNER_RUNNING;
	ck_assert_int_eq(owner_write(the_disk()->disk, &o, &e), 0);
	refuses(VM, -ENOENT, "it is not known whether this VM runs elsewhere");
	ck_assert_uint_eq(record().generation, 5);
	lease_server_start(&s, state_parent);
	begins(VM);
	lease_server_end(&s);
	ck_assert_uint_eq(record().generation, 6);
	begins(VM); /* after a snapshot: the lease is held, and nobody there to ask */
	ck_assert_uint_eq(record().generation, 7);
	lease_free(g.vm.lease);
	guest_free(&g);
}
END_TEST

static void begin_as_nobody(void)
{
	become_nobody();
	new_guest("");
	begins(VM);
	ck_assert(!the_disk()->recorded);
	guest_free(&g);
}

START_TEST(test_runs_where_no_record_can_be)
{
	ck_assert_int_eq(chmod(image_dir, 0555), 0);
	in_child(begin_as_nobody);
	ck_assert_int_eq(chmod(image_dir, 0111), 0);
	in_child(begin_as_nobody);
	ck_assert_int_eq(access(image_owner, F_OK), -1);
}
END_TEST

/* Of a VM without devices. */
static void expect_order(struct vm *vm, const char *order)
{
	struct vm_disk *d;
	char text[16] = "";

	list_for_each (d, &vm->disks, node)
		strcat(text, d->id);
	ck_assert_str_eq(text, order);
}

START_TEST(test_disks_in_order_of_id)
{
	struct vm_disk disk[] = { { .id = "c" }, { .id = "a" }, { .id = "d" }, { .id = "b" } };
	struct loop *loop;
	struct err e;
	struct vm vm;

	ck_assert_int_eq(loop_new(&loop, &e), 0);
	ck_assert_int_eq(vm_init(&vm, -1, loop, 0, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(disk); i++)
		vm_add_disk(&vm, &disk[i]);
	expect_order(&vm, "abcd");
	list_remove(&disk[3].node);
	expect_order(&vm, "acd");
	vm_free(&vm);
	loop_free(loop);
}
END_TEST

START_TEST(test_device_keeps_its_disk)
{
	struct device *dev;

	new_guest("");
	dev = vm_device(&g.vm, "disk0");
	ck_assert_ptr_eq(the_disk()->id, dev->id);
	ck_assert(!the_disk()->readonly);
	g.v = NULL;
	device_free(dev);
	ck_assert_ptr_null(vm_disk(&g.vm, "disk0"));
	expect_order(&g.vm, "");
	vm_free(&g.vm);
	guest_mem_free(g.vm.mem);
	loop_free(g.loop);
}
END_TEST

/* A disk of a guest that comes from elsewhere is nobody's yet. */
START_TEST(test_incoming)
{
	struct device *second;
	struct err e = { "" };
	json_t *same;

	new_guest(", \"readonly\": true");
	same = json_pack("{s:s}", "path", image);
	ck_assert_int_eq(device_new(&second, &virtio_blk_class, "disk1", &g.vm, same, &e), -EAGAIN);
	g.vm.incoming = true;
	ck_assert_msg(!device_new(&second, &virtio_blk_class, "disk1", &g.vm, same, &e), "%s",
		      e.text);
	expect_order(&g.vm, "disk0disk1");
	ck_assert_int_eq(disk_take(vm_disk(&g.vm, "disk1")->disk, &e), -EAGAIN);
	device_free(vm_device(&g.vm, "disk0"));
	g.v = container_of(second, struct virtio_device, dev);
	ck_assert_int_eq(disk_take(vm_disk(&g.vm, "disk1")->disk, &e), 0);
	guest_free(&g);
	json_decref(same);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("ownership");
	TCase *tc = tcase_create("ownership");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_counts_generations);
	tcase_add_test(tc, test_readonly_has_no_record);
	tcase_add_test(tc, test_refuses_offered);
	tcase_add_test(tc, test_refuses_damaged);
	tcase_add_test(tc, test_journal_of_a_source);
	tcase_add_test(tc, test_journal_of_one_that_came_back);
	tcase_add_test(tc, test_lease_comes_last);
	tcase_add_test(tc, test_runs_where_no_record_can_be);
	tcase_add_test(tc, test_disks_in_order_of_id);
	tcase_add_test(tc, test_device_keeps_its_disk);
	tcase_add_test(tc, test_incoming);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
