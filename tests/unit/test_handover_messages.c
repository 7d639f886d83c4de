/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/migrate/handover.h"
#include "bits.h"
#include "check_main.h"

static const struct handover_message refused = {
	.type = SECTION_REFUSED,
	.session = "2f6d2bb2-0f7c-4a52-9b0a-5d8a1a6a3c11",
	.generation = 7,
	.sentence = "the disk\x1b[2J is full",
};

/* Two ends of a connection. */
static void connected(struct channel ch[2])
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	ch[0] = channel_of(fd[0]);
	ch[1] = channel_of(fd[1]);
}

static void close_both(struct channel ch[2])
{
	close(ch[0].fd);
	close(ch[1].fd);
}

START_TEST(test_round_trip)
{
	struct handover_message m;
	struct channel ch[2];
	struct section s;
	struct err e;

	connected(ch);
	ck_assert_int_eq(handover_send(&ch[0], &refused, &e), 0);
	ck_assert_int_eq(section_begin(&s, &ch[1], &e), 0);
	ck_assert_int_eq(handover_receive(&s, &m, &e), 0);
	ck_assert_int_eq(m.type, SECTION_REFUSED);
	ck_assert_str_eq(m.session, refused.session);
	ck_assert_uint_eq(m.generation, 7);
	ck_assert_str_eq(m.sentence, "the disk?[2J is full");
	close_both(ch);
}
END_TEST

/* A payload of len bytes, in which the byte at has another value. */
static void refuse(unsigned type, size_t len, size_t at, uint8_t value)
{
	struct handover_message m = { .generation = 99 };
	uint8_t payload[512] = "2f6d2bb2-0f7c-4a52-9b0a-5d8a1a6a3c11\2";
	struct iovec iov[2] = { [1] = { payload, len } };
	struct channel ch[2];
	struct section s;
	struct err e;
	int r;

	payload[at] = value;
	connected(ch);
	r = section_write(&ch[0], (enum section_type)type, iov, 2, &e);
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(section_begin(&s, &ch[1], &e), 0);
	ck_assert_int_eq(handover_receive(&s, &m, &e), -EBADMSG);
	ck_assert_uint_eq(m.generation, 99);
	close_both(ch);
}

START_TEST(test_hostile)
{
	refuse(SECTION_END, 48, 0, '2');
	refuse(SECTION_ASK + 1, 48, 0, '2');
	refuse(SECTION_ASK, 0, 0, '2');
	refuse(SECTION_ASK, 47, 0, '2');
	refuse(SECTION_ASK, 48 + HANDOVER_SENTENCE_MAX + 1, 0, '2');
	refuse(SECTION_ASK, 48, 0, 'g');
	refuse(SECTION_ASK, 48, 8, '0');
	refuse(SECTION_ASK, 48, 36, ARBITER_LEASE + 1);
	refuse(SECTION_ASK, 48, 39, 1);
}
END_TEST

/* What is of another migration counts as a lost connection. */
START_TEST(test_another_migration)
{
	struct handover_message m = refused;
	struct channel ch[2];
	struct handover h = { .id = { "", 8 }, .ch = &ch[1], .connected = true };
	struct err e;

	memcpy(h.id.session, refused.session, sizeof(h.id.session));
	connected(ch);
	ck_assert_int_eq(handover_send(&ch[0], &refused, &e), 0);
	ck_assert_int_eq(handover_hear(&h, &m, &e), -ENOTCONN);
	ck_assert_str_eq(e.text, "REFUSED is of another migration");
	ck_assert(!h.connected);
	close_both(ch);
}
END_TEST

static Suite *messages_suite(void)
{
	Suite *suite = suite_create("handover_messages");
	TCase *tcase = tcase_create("messages");

	tcase_add_test(tcase, test_round_trip);
	tcase_add_test(tcase, test_hostile);
	tcase_add_test(tcase, test_another_migration);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(messages_suite)
