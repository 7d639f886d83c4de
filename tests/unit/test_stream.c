/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>

#include "check_main.h"
#include "cleanup.h"
#include "toy_vm.h"

/* Runs of all kinds: first and last page, neighbours, every other one, longer than a section. */
static void scribble(struct rig *rig)
{
	page(rig, 0)[4095] = 1;
	for (unsigned i = 4; i < 8; i++)
		page(rig, i)[i] = (uint8_t)i;
	for (unsigned i = 10; i < 400; i += 2)
		page(rig, i)[0] = (uint8_t)(i | 1);
	memset(page(rig, 401), 0x77, 600 * GUEST_PAGE_BYTES);
	page(rig, 1023)[4095] = 2;
}

static void round_trip(bool shared)
{
	struct rig a, b;
	struct err e;
	int fd, again;

	rig_new(&a, shared);
	rig_new(&b, shared);
	scribble(&a);
	a.toy[0]->s = (struct toy_state){ 7, "hello" };
	a.toy[1]->s = (struct toy_state){ 100, "" };
	/* What the destination had loaded itself must go. */
	memset(page(&b, 9), 0xff, 2 * GUEST_PAGE_BYTES);
	fd = saved(&a);
	ck_assert_uint_eq(a.toy[0]->fetched, 1);
	ck_assert_msg(load(&b, fd, &e) == 0, "%s", e.text);
	ck_assert(!memcmp(page(&a, 0), page(&b, 0), RAM_BYTES));
	ck_assert(b.toy[0]->s.level == 7 && !memcmp(b.toy[0]->s.ram, "hello", 5));
	ck_assert(b.toy[1]->s.level == 100 && b.toy[1]->loaded == 1);
	again = saved(&b);
	ck_assert_uint_eq(size_of(fd), size_of(again));
	close(fd);
	close(again);
	rig_free(&a);
	rig_free(&b);
}

START_TEST(test_round_trip_private)
{
	round_trip(false);
}
END_TEST

START_TEST(test_round_trip_shared)
{
	round_trip(true);
}
END_TEST

START_TEST(test_zero_pages_stay_away)
{
	struct stat st;
	struct rig a;
	int fd;

	rig_new(&a, true);
	page(&a, 3)[7] = 1;
	page(&a, 5)[7] = 0;
	fd = saved(&a);
	ck_assert_uint_lt(size_of(fd), 2 * GUEST_PAGE_BYTES);
	/* Holes of shared memory are not filled by looking at them. */
	ck_assert_int_eq(fstat(a.vm.mem->fd, &st), 0);
	ck_assert_int_le(st.st_blocks * 512, 2 * GUEST_PAGE_BYTES);
	close(fd);
	rig_free(&a);
}
END_TEST

struct sender {
	struct rig rig;
	int fd, result;
};

static void *save_to_pipe(void *arg)
{
	struct sender *s = arg;
	struct err e;

	s->result = stream_save(&s->rig.vm, s->fd, &e);
	if (!s->result && write(s->fd, "after", 5) != 5)
		s->result = -errno;
	close(s->fd);
	return NULL;
}

/* A pipe moves bytes in small pieces, and what follows the stream is left in it. */
START_TEST(test_pipe)
{
	struct sender a;
	struct rig b;
	pthread_t thread;
	char after[6] = "";
	struct err e;
	int fd[2];

	rig_new(&a.rig, false);
	rig_new(&b, false);
	scribble(&a.rig);
	ck_assert_int_eq(pipe(fd), 0);
	a.fd = fd[1];
	ck_assert_int_eq(pthread_create(&thread, NULL, save_to_pipe, &a), 0);
	ck_assert_msg(stream_load(&b.vm, fd[0], &e) == 0, "%s", e.text);
	ck_assert_int_eq(read(fd[0], after, sizeof(after)), 5);
	ck_assert_str_eq(after, "after");
	pthread_join(thread, NULL);
	ck_assert_int_eq(a.result, 0);
	ck_assert(!memcmp(page(&a.rig, 0), page(&b, 0), RAM_BYTES));
	close(fd[0]);
	rig_free(&a.rig);
	rig_free(&b);
}
END_TEST

/* A stream of another VM: its devices by class and id. */
static void stream_of(struct rig *dst, const struct device_class *const *class,
		      const char *const *id, const char *sentence)
{
	struct rig a;
	int fd;

	empty_new(&a, false, RAM_BYTES);
	for (; *class; class ++, id++)
		add(&a, *class, *id);
	fd = saved(&a);
	refused(dst, fd, sentence);
	close(fd);
	rig_free(&a);
}

START_TEST(test_other_devices)
{
	static const struct device_class *const c[] = { &toy_class, &mute_class, &toy_class,
							&toy_class, NULL };
	static const struct device_class *const kind[] = { &toy_class, &mute_class, &other_class,
							   NULL };
	struct rig b;

	rig_new(&b, false);
	stream_of(&b, c, (const char *const[]){ "toy0", "mute0", "toy1", "toy2" },
		  "has a device \"toy2\" (toy) that this VM lacks");
	stream_of(&b, c + 1, (const char *const[]){ "mute0", "toy1", "toy2" },
		  "has a device \"toy2\"");
	stream_of(&b, c + 2, (const char *const[]){ "toy0", "toy1" }, "lacks the device \"mute0\"");
	stream_of(&b, kind, (const char *const[]){ "toy0", "mute0", "toy1" },
		  "toy1: is a other in the stream and a toy here");
	rig_free(&b);
}
END_TEST

START_TEST(test_other_memory)
{
	struct rig a, b;
	int fd;

	empty_new(&a, false, RAM_BYTES / 2);
	rig_new(&b, false);
	fd = saved(&a);
	refused(&b, fd, "another amount of memory");
	close(fd);
	rig_free(&a);
	rig_free(&b);
}
END_TEST

START_TEST(test_device_refuses)
{
	struct rig a, b;
	struct err e;
	int fd;

	rig_new(&a, false);
	rig_new(&b, false);
	a.toy[1]->s.level = 99;
	fd = saved(&a);
	ck_assert_int_eq(load(&b, fd, &e), -EBADMSG);
	ck_assert_str_eq(e.text, "toy1: level 99 is refused");
	close(fd);
	rig_free(&a);
	rig_free(&b);
}
END_TEST

/* A refusal to save comes before the first byte. */
START_TEST(test_save_refused)
{
	struct rig a;
	struct err e;
	int fd = memory_file();

	rig_new(&a, false);
	a.toy[1]->s.level = 101;
	ck_assert_int_eq(stream_save(&a.vm, fd, &e), -ERANGE);
	ck_assert(strstr(e.text, "toy1: field level holds 101, more than 100"));
	ck_assert_uint_eq(size_of(fd), 0);
	a.toy[1]->s.level = 1;
	add(&a, &toy_class, "my toy");
	ck_assert_int_eq(stream_save(&a.vm, fd, &e), -EINVAL);
	ck_assert(strstr(e.text, "my toy: cannot be saved under this id"));
	ck_assert_uint_eq(size_of(fd), 0);
	close(fd);
	rig_free(&a);
}
END_TEST

START_TEST(test_write_fails)
{
	CLEANUP(fd) int full = open("/dev/full", O_WRONLY);
	struct rig a;
	struct err e;

	rig_new(&a, false);
	ck_assert_int_eq(stream_save(&a.vm, full, &e), -ENOSPC);
	ck_assert(strstr(e.text, "cannot write the stream: No space left"));
	rig_free(&a);
}
END_TEST

START_TEST(test_print)
{
	CLEANUP(free) char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct rig a;
	struct err e;
	int fd;

	rig_new(&a, false);
	page(&a, 1)[1] = 1;
	fd = saved(&a);
	lseek(fd, 0, SEEK_SET);
	ck_assert_msg(stream_print(f, fd, &e) == 0, "%s", e.text);
	fclose(f);
	ck_assert_str_eq(text, "memory 0 bytes 4194304\n"
			       "pages 0x1000 bytes 4096 crc32c b585adb8\n"
			       "device toy0 kind toy\n"
			       "  toy version 1\n"
			       "    level 0x1\n"
			       "    ram[8]\n"
			       "      00 00 00 00 00 00 00 00\n"
			       "device mute0 kind mute\n"
			       "device toy1 kind toy\n"
			       "  toy version 1\n"
			       "    level 0x1\n"
			       "    ram[8]\n"
			       "      00 00 00 00 00 00 00 00\n"
			       "end\n");
	close(fd);
	rig_free(&a);
}
END_TEST

static Suite *stream_suite(void)
{
	Suite *s = suite_create("stream");
	TCase *t = tcase_create("stream");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_round_trip_private);
	tcase_add_test(t, test_round_trip_shared);
	tcase_add_test(t, test_zero_pages_stay_away);
	tcase_add_test(t, test_pipe);
	tcase_add_test(t, test_other_devices);
	tcase_add_test(t, test_other_memory);
	tcase_add_test(t, test_device_refuses);
	tcase_add_test(t, test_save_refused);
	tcase_add_test(t, test_write_fails);
	tcase_add_test(t, test_print);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(stream_suite)
