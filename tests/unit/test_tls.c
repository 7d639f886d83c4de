/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/eventfd.h>

#include "bits.h"
#include "check_main.h"
#include "cleanup.h"
#include "tls_rig.h"

enum { PAGE = 4096, BIG_BYTES = 32 << 20, PAGES_AT_ONCE = 100, UPDATES = 200 };

START_TEST(test_talk)
{
	char word[8] = "";

	connected();
	ck_assert_str_eq(server.identity, "CN=client");
	ck_assert_int_eq(move(channel_write, &client, "ping", 4), 0);
	ck_assert_int_eq(move(channel_read, &server, word, 2), 0);
	ck_assert_int_eq(move(channel_read, &server, word + 2, 2), 0);
	ck_assert_str_eq(word, "ping");
	ck_assert_int_eq(move(channel_write, &server, "pong", 4), 0);
	ck_assert_int_eq(move(channel_read, &client, word, 4), 0);
	ck_assert_str_eq(word, "pong");
}
END_TEST

/* Two messages come at once, and poll(2) tells of the first alone. */
START_TEST(test_buffered)
{
	char word[4];

	connected();
	ck_assert(!channel_has_buffered(&server.ch));
	ck_assert_int_eq(move(channel_write, &client, "ping", 4), 0);
	ck_assert_int_eq(move(channel_write, &client, "ping", 4), 0);
	ck_assert_int_eq(move(channel_read, &server, word, 4), 0);
	ck_assert(channel_has_buffered(&server.ch));
	ck_assert_int_eq(move(channel_read, &server, word, 4), 0);
	ck_assert(!channel_has_buffered(&server.ch));
}
END_TEST

START_TEST(test_bytes_are_hidden)
{
	static const char secret[] = "a secret that nobody should read on the way";
	char seen[256];
	ssize_t n;

	connected();
	ck_assert_int_eq(move(channel_write, &client, secret, sizeof(secret)), 0);
	n = recv(server.ch.fd, seen, sizeof(seen), MSG_DONTWAIT);
	ck_assert_int_gt(n, (ssize_t)sizeof(secret));
	ck_assert_ptr_null(memmem(seen, (size_t)n, "secret", 6));
}
END_TEST

static void *send_much(void *arg)
{
	struct end *end = arg;
	CLEANUP(free) uint8_t *pages = malloc(BIG_BYTES);
	struct iovec iov[PAGES_AT_ONCE];
	size_t at = 0, len;
	int n;

	for (size_t i = 0; i < BIG_BYTES; i++)
		pages[i] = (uint8_t)(i * 7 + (i >> 12) * end->seed);
	while (!end->result && at < BIG_BYTES) {
		for (n = 0; n < PAGES_AT_ONCE && at < BIG_BYTES; n++, at += len) {
			len = MIN((size_t)BIG_BYTES - at, (size_t)(n % 9 ? PAGE : n * PAGE + 16));
			iov[n] = (struct iovec){ pages + at, len };
		}
		end->result = channel_write(&end->ch, iov, n, &end->e);
	}
	return NULL;
}

static bool receives_much(struct end *end, uint8_t seed)
{
	CLEANUP(free) uint8_t *got = calloc(1, BIG_BYTES);

	if (move(channel_read, end, got, BIG_BYTES))
		return false;
	for (size_t i = 0; i < BIG_BYTES; i++)
		if (got[i] != (uint8_t)(i * 7 + (i >> 12) * seed))
			return false;
	return true;
}

static void *receive_much(void *arg)
{
	struct end *end = arg;

	end->result = receives_much(end, 1) ? 0 : -EBADMSG;
	return NULL;
}

START_TEST(test_both_ways_at_once)
{
	struct end reader;

	connected();
	reader = server; /* the same channel, from another thread */
	start(&client, send_much);
	start(&server, send_much);
	start(&reader, receive_much);
	ck_assert_msg(receives_much(&client, 2), "%s", client.e.text);
	ck_assert_int_eq(finish(&client), 0);
	ck_assert_int_eq(finish(&server), 0);
	ck_assert_msg(finish(&reader) == 0, "%s", reader.e.text);
}
END_TEST

static void *send_blocks(void *arg)
{
	struct end *end = arg;
	uint8_t block[PAGE];

	for (int i = 0; !end->result && i < UPDATES; i++) {
		memset(block, i, sizeof(block));
		end->result = move(channel_write, end, block, sizeof(block));
	}
	return NULL;
}

static void *receive_blocks(void *arg)
{
	struct end *end = arg;
	uint8_t block[PAGE];

	for (int i = 0; !end->result && i < UPDATES; i++) {
		end->result = move(channel_read, end, block, sizeof(block));
		if (!end->result && (block[0] != (uint8_t)i || block[PAGE - 1] != (uint8_t)i))
			end->result = -EBADMSG;
	}
	return NULL;
}

/* The peer renews keys now and then, which the reader hears of and the writer answers. */
START_TEST(test_new_keys)
{
	gnutls_certificate_credentials_t cred;
	gnutls_session_t s = stray("NORMAL:-VERS-ALL:+VERS-TLS1.3", &cred);
	uint8_t block[PAGE];
	struct end reader;
	size_t got;
	ssize_t n;

	ck_assert_int_eq(handshake(s), 0);
	ck_assert_int_eq(gnutls_record_recv(s, block, 1), 1); /* the welcome */
	ck_assert_int_eq(finish(&server), 0);
	reader = server;
	start(&server, send_blocks);
	start(&reader, receive_blocks);
	for (int i = 0; i < UPDATES; i++) {
		memset(block, i, sizeof(block));
		ck_assert_int_eq(gnutls_record_send(s, block, sizeof(block)), PAGE);
		if (i % 40 == 20) /* GnuTLS takes eight in a second */
			ck_assert_int_eq(gnutls_session_key_update(s, GNUTLS_KU_PEER), 0);
		for (got = 0; got < sizeof(block); got += (size_t)n) {
			do
				n = gnutls_record_recv(s, block + got, sizeof(block) - got);
			while (n == GNUTLS_E_AGAIN);
			ck_assert_msg(n > 0, "%s", gnutls_strerror((int)n));
		}
		ck_assert_uint_eq(block[PAGE - 1], (uint8_t)i);
	}
	ck_assert_msg(finish(&server) == 0, "%s", server.e.text);
	ck_assert_msg(finish(&reader) == 0, "%s", reader.e.text);
	stray_free(s, cred);
}
END_TEST

static void cut(bool goodbye, const char *sentence)
{
	char word[8];

	connected();
	ck_assert_int_eq(move(channel_write, &client, "abc", 3), 0);
	if (goodbye)
		channel_close(&client.ch);
	else
		shutdown(client.ch.fd, SHUT_WR);
	ck_assert_int_eq(move(channel_read, &server, word, 3), 0);
	ck_assert_int_eq(move(channel_read, &server, word, 1), -ENOTCONN);
	ck_assert_str_eq(server.e.text, sentence);
}

START_TEST(test_end)
{
	cut(true, "the stream is cut short");
}
END_TEST

START_TEST(test_cut)
{
	cut(false, "the connection is lost: it is cut short");
}
END_TEST

START_TEST(test_cut_in_a_record)
{
	uint8_t head[7] = { 23, 3, 3, 0, 100 }, byte;

	connected();
	ck_assert_int_eq(write(client.ch.fd, head, sizeof(head)), sizeof(head));
	shutdown(client.ch.fd, SHUT_WR);
	ck_assert_int_eq(move(channel_read, &server, &byte, 1), -ENOTCONN);
}
END_TEST

START_TEST(test_damaged)
{
	uint8_t record[5 + 40] = { 23, 3, 3, 0, 40 }, byte;

	connected();
	ck_assert_int_eq(write(client.ch.fd, record, sizeof(record)), sizeof(record));
	ck_assert_int_eq(move(channel_read, &server, &byte, 1), -EBADMSG);
	ck_assert_msg(strstr(server.e.text, "tampered with"), "%s", server.e.text);
}
END_TEST

START_TEST(test_cut_in_the_handshake)
{
	read_credentials();
	start(&server, serve);
	ck_assert_int_eq(write(client.ch.fd, "\x16\x03\x01", 3), 3);
	channel_close(&client.ch);
	ck_assert_int_eq(finish(&server), -ENOTCONN);
}
END_TEST

static void waits(int cancel_fd, unsigned silence_ms, int code)
{
	CLEANUP(free) uint8_t *much = calloc(1, BIG_BYTES);

	client.ch.cancel_fd = server.ch.cancel_fd = cancel_fd;
	client.ch.silence_ms = server.ch.silence_ms = silence_ms;
	ck_assert_int_eq(move(channel_read, &client, much, 1), code);
	/* Nobody reads what is written. */
	ck_assert_int_eq(move(channel_write, &client, much, BIG_BYTES), code);
	/* Half a record is on its way: the goodbye must not be taken for the rest of it. */
	channel_close(&client.ch);
	server.ch.cancel_fd = -1;
	server.ch.silence_ms = 0;
	ck_assert_int_eq(move(channel_read, &server, much, BIG_BYTES), -ENOTCONN);
}

START_TEST(test_silence)
{
	connected();
	waits(-1, 20, -ENOTCONN);
}
END_TEST

START_TEST(test_cancel)
{
	int fd = eventfd(1, EFD_CLOEXEC);

	connected();
	waits(fd, 0, -ECANCELED);
	close(fd);
}
END_TEST

START_TEST(test_handshake_waits)
{
	read_credentials();
	client.ch.cancel_fd = server.ch.cancel_fd = eventfd(1, EFD_CLOEXEC);
	ck_assert_int_eq(tls_server(&server.ch, server.own, server.identity, &server.e),
			 -ECANCELED);
	ck_assert_int_eq(tls_client(&client.ch, client.own, "b.example", &client.e), -ECANCELED);
	close(client.ch.cancel_fd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("tls");
	TCase *t = tcase_create("tls");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_talk);
	tcase_add_test(t, test_buffered);
	tcase_add_test(t, test_bytes_are_hidden);
	tcase_add_test(t, test_both_ways_at_once);
	tcase_add_test(t, test_new_keys);
	tcase_add_test(t, test_end);
	tcase_add_test(t, test_cut);
	tcase_add_test(t, test_cut_in_a_record);
	tcase_add_test(t, test_damaged);
	tcase_add_test(t, test_cut_in_the_handshake);
	tcase_add_test(t, test_silence);
	tcase_add_test(t, test_cancel);
	tcase_add_test(t, test_handshake_waits);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
