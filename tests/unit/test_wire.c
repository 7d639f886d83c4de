/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, and what is none. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check_main.h"
#include "wire.h"

static struct wire a, b;
static struct err e;

static void setup(void)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	a = (struct wire){ .ch = channel_of(fd[0]) };
	b = (struct wire){ .ch = channel_of(fd[1]) };
}

static void teardown(void)
{
	wire_close(&a);
	wire_close(&b);
}

static void put_bytes(const char *text, size_t len)
{
	ck_assert_int_eq(channel_write(&a.ch, &(struct iovec){ (char *)text, len }, 1, &e), 0);
}

static void put(const char *text)
{
	put_bytes(text, strlen(text));
}

static void expect(const char *text)
{
	json_auto_t *got = NULL;
	char *said;

	ck_assert_msg(!wire_read(&b, 0, &got, &e), "%s", e.text);
	said = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS);
	ck_assert_str_eq(said, text);
	free(said);
}

START_TEST(in_order)
{
	json_auto_t *one = json_pack("{s:{s:s}}", "state", "why", "line\nfeed \xc3\xa4");

	put("{}\n {\"a\":[1, {}]} \r\n{\"b\"");
	expect("{}");
	expect("{\"a\":[1,{}]}");
	put(":\"\\\\\\\"[[[[[[[[[[[[[[[[[[[[\"}\n");
	expect("{\"b\":\"\\\\\\\"[[[[[[[[[[[[[[[[[[[[\"}");
	ck_assert_int_eq(wire_write(&a, one, 0, &e), 0);
	ck_assert_int_eq(wire_write(&a, one, 0, &e), 0);
	expect("{\"state\":{\"why\":\"line\\nfeed \xc3\xa4\"}}");
	expect("{\"state\":{\"why\":\"line\\nfeed \xc3\xa4\"}}");
}
END_TEST

static const struct {
	const char *text;
	size_t len;
} wrong[] = {
#define WRONG(text)                                                                                \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}
	WRONG("\n"),
	WRONG("[]\n"),
	WRONG("1\n"),
	WRONG("{\n"),
	WRONG("{}{}\n"),
	WRONG("{} x\n"),
	WRONG("GET / HTTP/1.1\r\n\r\n"),
	WRONG("\x16\x03\x01\x02\n"),
	WRONG("{\"a\":\"\xff\"}\n"),
	WRONG("{\"a\":\"\xc3\"}\n"),
	WRONG("{\"a\":\"\\u0000\"}\n"),
	WRONG("{\"a\":\"\0\"}\n"),
	WRONG("{\"a\":1,\"a\":2}\n"),
	WRONG("{\"a\":1e999}\n"),
	WRONG("{\"a\":99999999999999999999}\n"),
	WRONG("{\"a\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}\n"),
	WRONG("{\"a\":\"\\\"\",\"b\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}\n"),
};

START_TEST(refused)
{
	json_t *got = NULL;

	put_bytes(wrong[_i].text, wrong[_i].len);
	ck_assert_int_eq(wire_read(&b, 0, &got, &e), -EPROTO);
	ck_assert_ptr_null(got);
}
END_TEST

/* As deep as may be, and one more. */
START_TEST(depth)
{
	json_t *deep = json_object(), *got = NULL;

	for (int i = 1; i < WIRE_DEPTH_MAX; i++)
		deep = json_pack("{s:o}", "a", deep);
	ck_assert_int_eq(wire_write(&a, deep, 0, &e), 0);
	ck_assert_msg(!wire_read(&b, 0, &got, &e), "%s", e.text);
	ck_assert(json_equal(got, deep));
	json_decref(got);
	got = NULL;
	deep = json_pack("{s:o}", "a", deep);
	ck_assert_int_eq(wire_write(&a, deep, 0, &e), 0);
	ck_assert_int_eq(wire_read(&b, 0, &got, &e), -EPROTO);
	json_decref(deep);
}
END_TEST

static void *write_long(void *arg)
{
	const size_t *len = arg;
	char *text = malloc(*len);
	struct err unused;

	memset(text, ' ', *len);
	memcpy(text, "{\"a\":7", 6);
	memcpy(text + *len - 2, "}\n", 2);
	channel_write(&a.ch, &(struct iovec){ text, *len }, 1, &unused);
	free(text);
	return NULL;
}

START_TEST(longest)
{
	size_t len = WIRE_BYTES_MAX;
	json_t *got = NULL;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, write_long, &len), 0);
	expect("{\"a\":7}");
	pthread_join(thread, NULL);
	len++;
	ck_assert_int_eq(pthread_create(&thread, NULL, write_long, &len), 0);
	ck_assert_int_eq(wire_read(&b, 0, &got, &e), -EMSGSIZE);
	wire_close(&b);
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(too_long_to_send)
{
	char *text = malloc(WIRE_BYTES_MAX + 1);
	json_auto_t *message = NULL;

	memset(text, 'x', WIRE_BYTES_MAX);
	text[WIRE_BYTES_MAX] = '\0';
	message = json_pack("{s:s}", "a", text);
	free(text);
	ck_assert_int_eq(wire_write(&a, message, 0, &e), -EMSGSIZE);
	ck_assert_int_eq(recv(b.ch.fd, &(char){ 0 }, 1, MSG_DONTWAIT), -1);
}
END_TEST

START_TEST(ends)
{
	json_t *got = NULL;

	put("{\"a\":");
	ck_assert_int_eq(wire_read(&b, 1, &got, &e), -ENOTCONN); /* half of one */
	b.ch.cancel_fd = eventfd(1, EFD_CLOEXEC);
	ck_assert_int_eq(wire_read(&b, 0, &got, &e), -ECANCELED);
	close(b.ch.cancel_fd);
	b.ch.cancel_fd = -1;
	put("1}\n");
	expect("{\"a\":1}");
	put("{");
	wire_close(&a);
	ck_assert_int_eq(wire_read(&b, 0, &got, &e), -ENOTCONN);
	ck_assert_ptr_null(got);
}
END_TEST

static Suite *wire_suite(void)
{
	Suite *suite = suite_create("wire");
	TCase *tcase = tcase_create("all");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, in_order);
	tcase_add_loop_test(tcase, refused, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test(tcase, depth);
	tcase_add_test(tcase, longest);
	tcase_add_test(tcase, too_long_to_send);
	tcase_add_test(tcase, ends);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(wire_suite)
