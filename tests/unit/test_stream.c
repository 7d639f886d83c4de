/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/migrate/section.h"
#include "cleanup.h"
#include "state_codec.h"
#include "stream.h"
#include "vm.h"

/* A device that knows in which order it was told about a load. */
struct toy_state {
	uint32_t level;
	uint8_t ram[8];
};

struct toy {
	struct device dev;
	struct toy_state s;
	unsigned loaded, fetched;
};

static const struct state_field toy_fields[] = {
	STATE(struct toy_state, level, .max = 100),
	STATE_ARRAY(struct toy_state, ram),
};
static const struct state_desc toy_desc = STATE_DESC(struct toy_state, "toy", 1, 1, toy_fields);

static int toy_attach(struct device *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static void toy_reset(struct device *dev)
{
	((struct toy *)dev)->s = (struct toy_state){ .level = 1 };
}

static int toy_fetch(struct device *dev, struct err *e)
{
	(void)e;
	((struct toy *)dev)->fetched++;
	return 0;
}

static int toy_loaded(struct device *dev, struct err *e)
{
	struct toy *toy = (struct toy *)dev;
	struct device *first = list_item(dev->vm->devices.next, struct device, node);

	if (toy->s.level == 99)
		return err_set(e, -EBADMSG, "%s: level 99 is refused", dev->id);
	/* Devices are told in order, and all states are in place before the first is. */
	ck_assert(dev == first || ((struct toy *)first)->loaded);
	toy->loaded++;
	return 0;
}

static const struct device_class toy_class = { .kind = "toy",
					       .size = sizeof(struct toy),
					       .state = &toy_desc,
					       .state_offset = offsetof(struct toy, s),
					       .attach = toy_attach,
					       .reset = toy_reset,
					       .loaded = toy_loaded,
					       .fetch = toy_fetch };
static const struct device_class other_class = { .kind = "other",
						 .size = sizeof(struct toy),
						 .state = &toy_desc,
						 .state_offset = offsetof(struct toy, s),
						 .attach = toy_attach,
						 .reset = toy_reset };

static void mute_reset(struct device *dev)
{
	(void)dev;
}

static const struct device_class mute_class = {
	.kind = "mute", .size = sizeof(struct device), .attach = toy_attach, .reset = mute_reset
};

struct rig {
	struct loop *loop;
	struct vm vm;
	struct toy *toy[2];
};

enum { RAM_BYTES = 4 << 20 };

static struct toy *add(struct rig *rig, const struct device_class *class, const char *id)
{
	struct device *dev;
	struct err e;

	ck_assert_msg(device_new(&dev, class, id, &rig->vm, NULL, &e) == 0, "%s", e.text);
	return (struct toy *)dev;
}

static void empty_new(struct rig *rig, bool shared, uint64_t ram_bytes)
{
	struct guest_mem_config c = { .size_bytes = ram_bytes, .shared = shared };
	struct err e;

	ck_assert_msg(loop_new(&rig->loop, &e) == 0, "%s", e.text);
	ck_assert_msg(vm_init(&rig->vm, -1, rig->loop, 0, &e) == 0, "%s", e.text);
	ck_assert_msg(guest_mem_new(&rig->vm.mem, &c, &e) == 0, "%s", e.text);
}

static void rig_new(struct rig *rig, bool shared)
{
	empty_new(rig, shared, RAM_BYTES);
	rig->toy[0] = add(rig, &toy_class, "toy0");
	add(rig, &mute_class, "mute0");
	rig->toy[1] = add(rig, &toy_class, "toy1");
}

static void rig_free(struct rig *rig)
{
	vm_free(&rig->vm);
	guest_mem_free(rig->vm.mem);
	loop_free(rig->loop);
}

static int memory_file(void)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static int saved(struct rig *rig)
{
	int fd = memory_file();
	struct err e;

	ck_assert_msg(stream_save(&rig->vm, fd, &e) == 0, "%s", e.text);
	return fd;
}

static int load(struct rig *rig, int fd, struct err *e)
{
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	return stream_load(&rig->vm, fd, e);
}

static size_t size_of(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (size_t)st.st_size;
}

/* The stream is refused with this in the sentence, and no device has changed. */
static void refused(struct rig *rig, int fd, const char *sentence)
{
	struct toy_state before[2] = { rig->toy[0]->s, rig->toy[1]->s };
	struct err e;

	ck_assert_int_eq(load(rig, fd, &e), -EBADMSG);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	for (int i = 0; i < 2; i++) {
		ck_assert(!memcmp(&before[i], &rig->toy[i]->s, sizeof(before[i])));
		ck_assert_uint_eq(rig->toy[i]->loaded, 0);
	}
}

static uint8_t *page(struct rig *rig, unsigned n)
{
	return guest_mem_at(rig->vm.mem, (gpa_t)n * GUEST_PAGE_BYTES, GUEST_PAGE_BYTES);
}

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

START_TEST(test_truncations)
{
	struct rig a;
	size_t len;
	int fd;

	rig_new(&a, false);
	page(&a, 1)[1] = 1;
	fd = saved(&a);
	len = size_of(fd);
	while (len-- > 0) {
		ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
		refused(&a, fd, "cut short");
	}
	close(fd);
	rig_free(&a);
}
END_TEST

START_TEST(test_bit_flips)
{
	struct rig a;
	uint8_t *map;
	size_t len;
	int fd;

	rig_new(&a, false);
	page(&a, 1)[1] = 1;
	fd = saved(&a);
	len = size_of(fd);
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(map != MAP_FAILED);
	for (size_t bit = 0; bit<8 * len; bit += bit> 8 * 1024 && bit < 8 * 4096 ? 61 : 1) {
		map[bit / 8] ^= 1u << bit % 8;
		refused(&a, fd, "");
		map[bit / 8] ^= 1u << bit % 8;
	}
	munmap(map, len);
	close(fd);
	rig_free(&a);
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

/* Sections that a liar puts together, with checksums that are right. */
struct lie {
	int fd;
	struct state_buf b; /* the payload of the next section */
};

static void put_section(struct lie *l, unsigned type)
{
	struct iovec iov[2] = { [1] = { l->b.data, l->b.len } };
	struct err e;

	ck_assert_int_eq(section_write(l->fd, type, iov, 2, &e), 0);
	state_buf_free(&l->b);
}

static void put_u64s(struct lie *l, unsigned n, const uint64_t *v)
{
	for (unsigned i = 0; i < n; i++)
		state_buf_put_le(&l->b, 8, v[i]);
}

static void lie_begin(struct lie *l, bool memory)
{
	struct err e;

	*l = (struct lie){ .fd = memory_file() };
	ck_assert_int_eq(section_write_magic(l->fd, &e), 0);
	if (memory) {
		put_u64s(l, 2, (uint64_t[]){ 0, RAM_BYTES });
		put_section(l, SECTION_MEMORY);
	}
}

static void lie_end(struct lie *l, struct rig *rig, const char *sentence)
{
	refused(rig, l->fd, sentence);
	close(l->fd);
}

static void lie_about_pages(struct rig *rig, uint64_t nruns, uint64_t gpa, uint64_t len,
			    size_t payload, const char *sentence)
{
	struct lie l;

	lie_begin(&l, true);
	put_u64s(&l, 3, (uint64_t[]){ nruns, gpa, len });
	for (size_t i = 0; i < payload; i++)
		state_buf_put_le(&l.b, 1, 0x55);
	put_section(&l, SECTION_RAM);
	lie_end(&l, rig, sentence);
}

START_TEST(test_lies_about_memory)
{
	struct rig b;
	struct lie l;

	rig_new(&b, false);
	lie_about_pages(&b, SECTION_RUNS_MAX + 1, 0, 4096, 4096, "has no sense");
	lie_about_pages(&b, UINT64_MAX, 0, 4096, 4096, "has no sense");
	lie_about_pages(&b, 2, 0, 4096, 0, "too short");
	lie_about_pages(&b, 1, RAM_BYTES, 4096, 4096, "no pages of this VM are at 0x400000");
	lie_about_pages(&b, 1, RAM_BYTES - 4096, 8192, 8192, "no pages of this VM");
	lie_about_pages(&b, 1, 4096, UINT64_MAX - 4095, 4096, "no pages of this VM");
	lie_about_pages(&b, 1, 1, 4096, 4096, "no pages of this VM are at 0x1");
	lie_about_pages(&b, 1, 0, 100, 100, "no pages of this VM");
	lie_about_pages(&b, 1, 0, 0, 0, "no pages of this VM");
	lie_about_pages(&b, 1, 0, 4096, 4095, "has no sense");
	lie_about_pages(&b, 1, 0, 4096, 4097, "has no sense");
	lie_begin(&l, false);
	put_u64s(&l, 1, (uint64_t[]){ 0 });
	put_section(&l, SECTION_RAM);
	lie_end(&l, &b, "pages come too early");
	lie_begin(&l, true);
	put_u64s(&l, 2, (uint64_t[]){ 0, RAM_BYTES });
	put_section(&l, SECTION_MEMORY);
	lie_end(&l, &b, "memory twice");
	lie_begin(&l, false);
	put_section(&l, SECTION_MEMORY);
	lie_end(&l, &b, "another amount of memory");
	rig_free(&b);
}
END_TEST

static void put_device(struct lie *l, const char *kind, const char *id, const struct toy_state *s)
{
	struct err e;

	state_buf_put_name(&l->b, kind);
	state_buf_put_name(&l->b, id);
	if (s)
		ck_assert_int_eq(
			state_save(&toy_desc, s, &(struct state_target){ .device = id }, &l->b, &e),
			0);
	put_section(l, SECTION_DEVICE);
}

START_TEST(test_lies_about_devices)
{
	static uint8_t big[SECTION_RECORD_MAX + 1];
	struct toy_state s = { .level = 50 };
	struct rig b;
	struct lie l;

	rig_new(&b, false);
	lie_begin(&l, true);
	put_device(&l, "toy", "toy0", &s);
	put_device(&l, "toy", "toy0", &s);
	lie_end(&l, &b, "toy0: comes twice");
	lie_begin(&l, true);
	put_device(&l, "toy", "t\033]0;x", &s);
	lie_end(&l, &b, "a device has no name");
	lie_begin(&l, true);
	put_device(&l, "mute", "mute0", &s);
	lie_end(&l, &b, "mute0: unexpected state");
	lie_begin(&l, true);
	put_device(&l, "toy", "toy0", NULL);
	lie_end(&l, &b, "toy0: its state is cut short");
	lie_begin(&l, true);
	state_buf_put(&l.b, big, sizeof(big));
	put_section(&l, SECTION_DEVICE);
	lie_end(&l, &b, "a device is too big");
	rig_free(&b);
}
END_TEST

START_TEST(test_lies_about_the_end)
{
	struct rig b;
	struct lie l;

	rig_new(&b, false);
	for (uint64_t sections = 0; sections < 3; sections++) {
		lie_begin(&l, true);
		put_u64s(&l, 2, (uint64_t[]){ sections, 0 });
		put_section(&l, SECTION_END);
		lie_end(&l, &b, sections == 1 ? "lacks the device \"toy0\"" : "are missing");
	}
	lie_begin(&l, true);
	put_u64s(&l, 2, (uint64_t[]){ 1, 4096 });
	put_section(&l, SECTION_END);
	lie_end(&l, &b, "are missing");
	lie_begin(&l, false);
	put_u64s(&l, 2, (uint64_t[]){ 0, 0 });
	put_section(&l, SECTION_END);
	lie_end(&l, &b, "are missing");
	lie_begin(&l, true);
	put_section(&l, 77);
	lie_end(&l, &b, "unknown type 77");
	rig_free(&b);
}
END_TEST

START_TEST(test_not_a_stream)
{
	struct rig b;
	int fd = memory_file();

	rig_new(&b, false);
	ck_assert_int_eq(write(fd, "#!/bin/sh\nexit 0\n", 17), 17);
	refused(&b, fd, "this is not a stream of godwit");
	ck_assert_int_eq(pwrite(fd, "godwitVM\2\0\0\0\0\0\0\0", 16, 0), 16);
	refused(&b, fd, "has format 2 and this godwit reads 1");
	close(fd);
	rig_free(&b);
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
			       "pages 0x1000 bytes 4096\n"
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

int main(void)
{
	Suite *s = suite_create("stream");
	TCase *t = tcase_create("stream");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_round_trip_private);
	tcase_add_test(t, test_round_trip_shared);
	tcase_add_test(t, test_zero_pages_stay_away);
	tcase_add_test(t, test_pipe);
	tcase_add_test(t, test_truncations);
	tcase_add_test(t, test_bit_flips);
	tcase_add_test(t, test_other_devices);
	tcase_add_test(t, test_other_memory);
	tcase_add_test(t, test_device_refuses);
	tcase_add_test(t, test_save_refused);
	tcase_add_test(t, test_write_fails);
	tcase_add_test(t, test_lies_about_memory);
	tcase_add_test(t, test_lies_about_devices);
	tcase_add_test(t, test_lies_about_the_end);
	tcase_add_test(t, test_not_a_stream);
	tcase_add_test(t, test_print);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
