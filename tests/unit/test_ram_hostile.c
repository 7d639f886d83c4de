/* SPDX-License-Identifier: Apache-2.0 */
/* Memory from a source, and acknowledgements from a destination, that want to do harm. */
#include "../../src/migrate/page.h"
#include "../../src/migrate/page_codec.h"
#include "../../src/migrate/section.h"
#include "check_main.h"
#include "ram_rig.h"

enum { RAM_BYTES = 4 << 20 };

struct lie {
	struct guest_mem *mem;
	struct ram_receiver *receiver;
	int fds[2];
	struct channel ours, theirs;
};

static void lie_begin(struct lie *l)
{
	const struct guest_mem_config c = { .size_bytes = RAM_BYTES };
	int room = 1 << 20; /* so that one thread can write and read */
	struct err e;

	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(guest_mem_new(&l->mem, &c, &e), 0);
	ck_assert_int_eq(ram_receiver_new(&l->receiver, l->mem, 1, &e), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, l->fds), 0);
	setsockopt(l->fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	l->ours = channel_of(l->fds[0]);
	l->theirs = channel_of(l->fds[1]);
}

/* The receiver says this sentence, and no page was touched. */
static void lie_end(struct lie *l, const char *sentence)
{
	uint64_t touched[RAM_BYTES / GUEST_PAGE_BYTES / 64] = { 0 };
	struct err e;

	shutdown(l->fds[0], SHUT_WR);
	ck_assert_int_eq(ram_receiver_run(l->receiver, 0, &l->theirs, &e), -EBADMSG);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	page_find_data(l->mem, &l->mem->region[0], touched);
	for (unsigned i = 0; i < ARRAY_SIZE(touched); i++)
		ck_assert_uint_eq(touched[i], 0);
	close(l->fds[0]);
	close(l->fds[1]);
	ram_receiver_free(l->receiver);
	guest_mem_free(l->mem);
}

static void put(struct lie *l, unsigned type, const void *head, size_t len, size_t page_bytes)
{
	static uint8_t pages[3 << 20];
	struct iovec iov[3] = { [1] = { (void *)(uintptr_t)head, len }, { pages, page_bytes } };
	struct err e;

	memset(pages, 0x55, sizeof(pages));
	ck_assert_int_eq((type == SECTION_PAGES ? section_write_pages
						: section_write)(&l->ours, type, iov, 3, &e),
			 0);
}

static void lie_about_run(unsigned type, uint64_t nruns, uint64_t gpa, uint64_t len, size_t pages,
			  const char *sentence)
{
	const uint64_t v[] = { nruns, gpa, len };
	struct lie l;

	lie_begin(&l);
	put(&l, type, v, sizeof(v), pages);
	lie_end(&l, sentence);
}

START_TEST(test_lies_about_runs)
{
	static const unsigned types[] = { SECTION_PAGES, SECTION_ZEROS, SECTION_DIFF, SECTION_LZ4,
					  SECTION_ZSTD };
	unsigned type = types[_i];
	size_t page = type == SECTION_PAGES ? 4096 : 0;

	lie_about_run(type, SECTION_RUNS_MAX + 1, 0, 4096, page, "has no sense");
	lie_about_run(type, UINT64_MAX, 0, 4096, page, "has no sense");
	lie_about_run(type, 1 | BIT(33), 0, 4096, page, "has no sense");
	lie_about_run(type, 2, 0, 4096, 0, "too short");
	lie_about_run(type, 1, RAM_BYTES, 4096, page, "no pages of this VM are at 0x400000");
	lie_about_run(type, 1, RAM_BYTES - 4096, 8192, 2 * page, "no pages of this VM");
	lie_about_run(type, 1, 4096, UINT64_MAX - 4095, page, "no pages of this VM");
	lie_about_run(type, 1, 1, 4096, page, "no pages of this VM are at 0x1");
	lie_about_run(type, 1, 0, 100, page ? 100 : 0, "no pages of this VM");
	lie_about_run(type, 1, 0, 0, 0, "no pages of this VM");
	lie_about_run(type, 1, 0, SECTION_PAGES_MAX + 4096, 0, "has no sense");
}
END_TEST

START_TEST(test_lies_about_lengths)
{
	struct lie l;

	lie_about_run(SECTION_PAGES, 1, 0, 4096, 4095, "has no sense");
	lie_about_run(SECTION_PAGES, 1, 0, 4096, 4097, "has no sense");
	lie_about_run(SECTION_ZEROS, 1, 0, 4096, 1, "too long");
	lie_begin(&l);
	put(&l, SECTION_PAGES, "short", 5, 0);
	lie_end(&l, "too short");
}
END_TEST

static void lie_about_page(unsigned type, uint64_t bytes, const uint8_t *body, size_t len,
			   const char *sentence)
{
	const uint64_t v[] = { 1, 0, bytes };
	struct iovec iov[3] = { [1] = { (void *)(uintptr_t)v, sizeof(v) },
				{ (void *)(uintptr_t)body, len } };
	struct lie l;
	struct err e;

	lie_begin(&l);
	ck_assert_int_eq(section_write(&l.ours, type, iov, 3, &e), 0);
	lie_end(&l, sentence);
}

/* Of one page; the differences themselves are test_page_diff's. */
static void lie_about_difference(const uint8_t *body, size_t len, const char *sentence)
{
	lie_about_page(SECTION_DIFF, GUEST_PAGE_BYTES, body, len, sentence);
}

START_TEST(test_lies_about_differences)
{
	static const uint8_t fine[] = { 3, 0, 1, 1, 0xaa, 3, 0, 1, 1, 0xbb };
	static const uint8_t none[] = { 3, 0, 1, 2, 0xaa };
	static const uint8_t long_one[SECTION_PACKED_MAX + 1];
	const char *sentence = "a difference has no sense";

	for (size_t len = 0; len < 5; len++)
		lie_about_difference(fine, len, sentence);
	lie_about_difference(none, sizeof(none), sentence);
	lie_about_difference(long_one, sizeof(long_one), "a section is too long");
}
END_TEST

/* A difference more than there are pages: the receiver touched the one that there is. */
START_TEST(test_too_many_differences)
{
	static const uint8_t two[] = { 3, 0, 1, 1, 0xaa, 0, 0 };
	const uint64_t v[] = { 1, 0, 4096 };
	struct iovec iov[3] = { [1] = { (void *)(uintptr_t)v, sizeof(v) },
				{ (void *)(uintptr_t)two, sizeof(two) } };
	struct lie l;
	struct err e;

	lie_begin(&l);
	ck_assert_int_eq(section_write(&l.ours, SECTION_DIFF, iov, 3, &e), 0);
	ck_assert_int_eq(ram_receiver_run(l.receiver, 0, &l.theirs, &e), -EBADMSG);
	ck_assert_int_eq(ram_page(l.mem, 0)[1], 0xaa);
	ck_assert_int_eq(ram_page(l.mem, 1)[1], 0);
	close(l.fds[0]);
	close(l.fds[1]);
	ram_receiver_free(l.receiver);
	guest_mem_free(l.mem);
}
END_TEST

/* _i: codec. Cut short, damaged, with more or less in it than there are pages, too much at once. */
START_TEST(test_lies_about_compressed_pages)
{
	static uint8_t pages[SECTION_PACKED_MAX + GUEST_PAGE_BYTES], out[sizeof(pages)];
	const struct page_codec *codec = &page_codecs[_i];
	const char *sentence = "compressed pages are not what they should be";
	void *context = codec->new_compressor();
	size_t n;

	for (size_t i = 0; i < sizeof(pages); i++)
		pages[i] = (uint8_t)(i / 7 * i);
	for (size_t bytes = GUEST_PAGE_BYTES - 1; bytes <= GUEST_PAGE_BYTES + 1; bytes += 2) {
		n = codec->compress(context, pages, bytes, out, sizeof(out));
		lie_about_page(codec->type, GUEST_PAGE_BYTES, out, n, sentence);
	}
	n = codec->compress(context, pages, GUEST_PAGE_BYTES, out, sizeof(out));
	for (size_t len = 0; len < n; len += 13)
		lie_about_page(codec->type, GUEST_PAGE_BYTES, out, len, sentence);
	lie_about_page(codec->type, 2 * GUEST_PAGE_BYTES, out, n, sentence);
	memset(out + 4, 0xff, 40);
	lie_about_page(codec->type, GUEST_PAGE_BYTES, out, n, sentence);
	memset(pages, 0, sizeof(pages)); /* a bomb */
	n = codec->compress(context, pages, sizeof(pages), out, sizeof(out));
	lie_about_page(codec->type, sizeof(pages), out, n, sentence);
	lie_about_page(codec->type, GUEST_PAGE_BYTES, out, n, sentence);
	codec->free_compressor(context);
}
END_TEST

/* Damage that TCP did not see must not send pages elsewhere. */
START_TEST(test_damaged_table)
{
	uint8_t head[16 + 24 + 4096];
	struct lie l;

	for (unsigned bit = 0; bit < 8 * (16 + 24); bit++) {
		lie_begin(&l);
		put(&l, SECTION_PAGES,
		    (const uint64_t[]){ 1 | (uint64_t)SECTION_FIRST_TIME << 32, 8192, 4096 }, 24,
		    4096);
		ck_assert_int_eq(recv(l.fds[1], head, sizeof(head), MSG_WAITALL), sizeof(head));
		head[bit / 8] ^= 1u << bit % 8;
		ck_assert_int_eq(send(l.fds[0], head, sizeof(head), 0), sizeof(head));
		lie_end(&l, "");
	}
}
END_TEST

START_TEST(test_other_sections)
{
	const uint64_t three = 3;
	struct lie l;

	lie_begin(&l);
	put(&l, SECTION_DEVICE, &three, 8, 0);
	lie_end(&l, "a section of type 3 among the guest's memory");
	lie_begin(&l);
	put(&l, SECTION_DONE, &three, 8, 0);
	lie_end(&l, "sections are missing");
	lie_begin(&l);
	put(&l, SECTION_DONE, &three, 4, 0);
	lie_end(&l, "too short");
}
END_TEST

static void attach(unsigned type, uint64_t count, const char *sentence)
{
	struct ram_rig rig;
	struct iovec iov[2] = { [1] = { &count, sizeof(count) } };
	struct channel ours, theirs, *data[1] = { &ours };
	struct err e;
	int fds[2];

	ram_rig_new(&rig, RAM_BYTES, 1, false);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ours = channel_of(fds[0]);
	theirs = channel_of(fds[1]);
	ck_assert_int_eq(section_write(&theirs, type, iov, 2, &e), 0);
	ck_assert_int_eq(ram_sender_attach(rig.sender, data, 1, &e), -EBADMSG);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	close(fds[0]);
	close(fds[1]);
	ram_rig_free(&rig);
}

START_TEST(test_lies_about_acknowledgements)
{
	attach(SECTION_ACK, 1, "acknowledges 1 sections of 0");
	attach(SECTION_ACK, UINT64_MAX, "acknowledges");
	attach(SECTION_DONE, 0, "answers with a section of type 19");
}
END_TEST

static Suite *ram_hostile_suite(void)
{
	Suite *s = suite_create("ram_hostile");
	TCase *tc = tcase_create("ram_hostile");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_lies_about_runs, 0, 5);
	tcase_add_test(tc, test_lies_about_lengths);
	tcase_add_test(tc, test_lies_about_differences);
	tcase_add_test(tc, test_damaged_table);
	tcase_add_test(tc, test_too_many_differences);
	tcase_add_loop_test(tc, test_lies_about_compressed_pages, 0, PAGE_CODECS);
	tcase_add_test(tc, test_other_sections);
	tcase_add_test(tc, test_lies_about_acknowledgements);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(ram_hostile_suite)
