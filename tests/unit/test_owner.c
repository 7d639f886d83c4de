/* SPDX-License-Identifier: Apache-2.0 */
/* The record beside an image: written, found again, damaged, and left half written. */
#include <errno.h>
#include <string.h>

#include "check_main.h"
#include "disk_queue.h"
#include "image_file.h"
#include "in_child.h"
#include "owner.h"
#include "state_dir.h"

#define VM "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
#define SESSION "6ba7b811-9dad-41d1-80b4-00c04fd430c8"

static const struct owner_record sample = { .vm = VM,
					    .generation = 7,
					    .host = "alpha.example",
					    .session = SESSION,
					    .state = OWNER_OFFERED };

static struct disk *open_disk(const char *path)
{
	const struct disk_config c = { .path = path };
	struct disk *d = NULL;
	struct err e;

	ck_assert_msg(!disk_open(&d, &c, &e), "%s", e.text);
	return d;
}

static void setup(void)
{
	image_setup();
	state_setup();
}

static void teardown(void)
{
	state_teardown();
	image_teardown();
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void writes(struct disk *d, const struct owner_record *o)
{
	struct err e;

	ck_assert_msg(!owner_write(d, o, &e), "%s", e.text);
}

static void reads(struct disk *d, const struct owner_record *expected)
{
	struct owner_record o;
	struct err e;

	ck_assert_msg(!owner_read(d, &o, &e), "%s", e.text);
	ck_assert_str_eq(o.vm, expected->vm);
	ck_assert_str_eq(o.host, expected->host);
	ck_assert_str_eq(o.session, expected->session);
	ck_assert_uint_eq(o.generation, expected->generation);
	ck_assert_int_eq(o.state, expected->state);
}

static void refuses_to_read(struct disk *d, int code, const char *sentence)
{
	struct owner_record o = { .generation = 1234 };
	struct err e = { "" };

	ck_assert_int_eq(owner_read(d, &o, &e), code);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	ck_assert_uint_eq(o.generation, 1234);
}

START_TEST(test_written_and_read)
{
	struct owner_record next = sample;
	struct disk *d = open_disk(image);
	struct stat st;

	refuses_to_read(d, -ENOENT, "has no owner record");
	writes(d, &sample);
	reads(d, &sample);
	next = (struct owner_record){ .vm = VM, .generation = 8, .host = "beta" };
	writes(d, &next);
	disk_close(d);
	d = open_disk(image);
	reads(d, &next);
	disk_close(d);
	/* Whoever may use the image may use the record. */
	ck_assert_int_eq(stat(image_owner, &st), 0);
	ck_assert_int_eq(st.st_mode, S_IFREG | 0666);
}
END_TEST

/* A crash while the record was written, a moment before it would have counted. */
START_TEST(test_left_half_written)
{
	struct disk *d = open_disk(image);
	char path[128];

	snprintf(path, sizeof(path), "%s.new", image_owner);
	put(path, "{\"vm\":\"6ba7");
	refuses_to_read(d, -ENOENT, "has no owner record");
	writes(d, &sample);
	ck_assert_int_eq(access(path, F_OK), -1);
	put(path, "{\"vm\":\"6ba7");
	reads(d, &sample);
	unlink(path);
	/* Or one that points elsewhere. */
	ck_assert_int_eq(symlink(image, path), 0);
	writes(d, &sample);
	reads(d, &sample);
	ck_assert_int_eq(access(path, F_OK), -1);
	disk_close(d);
}
END_TEST

#define RECORD(vm, generation, host, session, state)                                               \
	"{\"vm\":\"" vm "\",\"generation\":" generation ",\"host\":\"" host                        \
	"\",\"session\":\"" session "\",\"state\":\"" state "\"}"

static const char *const damaged[] = {
	"",
	"\n",
	"[]",
	"{}",
	"{\"vm\":",
	RECORD("../../etc/passwd", "1", "a", "", "running"),
	RECORD("6BA7B810-9DAD-41D1-80B4-00C04FD430C8", "1", "a", "", "running"),
	RECORD(VM, "0", "a", "", "running"),
	RECORD(VM, "-1", "a", "", "running"),
	RECORD(VM, "1.5", "a", "", "running"),
	RECORD(VM, "9223372036854775807", "a", "", "running"),
	RECORD(VM, "99999999999999999999", "a", "", "running"),
	RECORD(VM, "1", "\\u001b[2J", "", "running"),
	RECORD(VM, "1", "a\\u0000", "", "running"),
	RECORD(VM, "1", "01234567890123456789012345678901234567890123456789012345678901234", "",
	       "running"),
	RECORD(VM, "1", "a", "x", "running"),
	RECORD(VM, "1", "a", "", "stopped"),
	RECORD(VM, "1", "a", "", "running") "more",
	"{\"vm\":\"" VM "\",\"generation\":1,\"host\":\"a\",\"session\":\"\"}",
	"{\"more\":1,\"vm\":\"" VM "\",\"generation\":1,\"host\":\"a\",\"session\":\"\","
	"\"state\":\"running\"}",
	"{\"vm\":\"" VM "\",\"vm\":\"" VM "\",\"generation\":1,\"host\":\"a\",\"session\":\"\","
	"\"state\":\"running\"}",
};

START_TEST(test_damaged)
{
	struct disk *d = open_disk(image);

	put(image_owner, damaged[_i]);
	refuses_to_read(d, -EBADMSG, "is damaged; if no VM uses the disk anywhere, remove");
	put(image_owner, RECORD(VM, "1", "a", "", "running"));
	reads(d, &(struct owner_record){ .vm = VM, .generation = 1, .host = "a" });
	disk_close(d);
}
END_TEST

START_TEST(test_not_a_file)
{
	struct disk *d = open_disk(image);

	ck_assert_int_eq(mkfifo(image_owner, 0600), 0);
	refuses_to_read(d, -EBADMSG, "is damaged");
	unlink(image_owner);
	ck_assert_int_eq(symlink(image, image_owner), 0);
	refuses_to_read(d, -EBADMSG, "is damaged");
	unlink(image_owner);
	put(image_owner, "");
	ck_assert_int_eq(truncate(image_owner, GIB), 0);
	refuses_to_read(d, -EBADMSG, "is damaged");
	disk_close(d);
}
END_TEST

START_TEST(test_bad_record_is_not_written)
{
	struct owner_record o = sample;
	struct disk *d = open_disk(image);
	struct err e = { "" };

	writes(d, &sample);
	o.generation = 0;
	ck_assert_int_eq(owner_write(d, &o, &e), -EINVAL);
	reads(d, &sample);
	disk_close(d);
}
END_TEST

/* Beside the image itself. */
START_TEST(test_behind_a_link)
{
	char path[128];
	struct disk *d;

	snprintf(path, sizeof(path), "%s/link", state_parent);
	ck_assert_int_eq(symlink(image, path), 0);
	d = open_disk(path);
	writes(d, &sample);
	disk_close(d);
	unlink(path);
	ck_assert_int_eq(access(image_owner, F_OK), 0);
	d = open_disk(image);
	reads(d, &sample);
	disk_close(d);
}
END_TEST

START_TEST(test_image_is_gone)
{
	struct disk *d = open_disk(image);
	struct err e = { "" };

	ck_assert_int_eq(unlink(image), 0);
	refuses_to_read(d, -ENOENT, "was moved or removed");
	ck_assert_int_eq(owner_write(d, &sample, &e), -ENOENT);
	make_image(IMAGE_BYTES); /* another of that name */
	ck_assert_int_eq(owner_write(d, &sample, &e), -ENOENT);
	ck_assert_int_eq(access(image_owner, F_OK), -1);
	disk_close(d);
}
END_TEST

static void write_as_nobody(void)
{
	struct disk *d;
	struct err e = { "" };

	become_nobody();
	d = open_disk(image);
	refuses_to_read(d, -ENOENT, "has no owner record");
	ck_assert_int_eq(owner_write(d, &sample, &e), -EACCES);
	ck_assert_ptr_nonnull(strstr(e.text, "cannot be written: Permission denied"));
	disk_close(d);
}

START_TEST(test_directory_of_another)
{
	ck_assert_int_eq(chmod(image_dir, 0555), 0);
	in_child(write_as_nobody);
}
END_TEST

START_TEST(test_block_device)
{
	int fd = -1;
	const char *path = attach_loop_device(&fd);
	char name[32], record[512];
	struct disk *d;

	if (!path)
		return;
	d = open_disk(path);
	refuses_to_read(d, -ENOENT, "No such file");
	writes(d, &sample);
	reads(d, &sample);
	snprintf(name, sizeof(name), "dev!%s.owner", strrchr(path, '/') + 1);
	state_path(record, name);
	ck_assert_int_eq(access(record, F_OK), 0);
	disk_close(d);
	close(fd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("owner");
	TCase *tc = tcase_create("owner");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_written_and_read);
	tcase_add_test(tc, test_left_half_written);
	tcase_add_loop_test(tc, test_damaged, 0, (int)ARRAY_SIZE(damaged));
	tcase_add_test(tc, test_not_a_file);
	tcase_add_test(tc, test_bad_record_is_not_written);
	tcase_add_test(tc, test_behind_a_link);
	tcase_add_test(tc, test_image_is_gone);
	tcase_add_test(tc, test_directory_of_another);
	tcase_add_test(tc, test_block_device);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
