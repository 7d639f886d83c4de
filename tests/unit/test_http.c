/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "check_main.h"
#include "cleanup.h"
#include "http.h"

#define PUT "PUT /api/v1/vm.resize HTTP/1.1\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

static size_t feed(struct http_parser *p, const char *text)
{
	return http_parse(p, text, strlen(text));
}

struct example {
	const char *text, *path, *query, *accept, *body;
	enum http_method method;
	bool close;
};

static const struct example examples[] = {
	{ "GET /api/v1/vmm.ping HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
	  "/api/v1/vmm.ping", "", "*/*", NULL, HTTP_GET, false },
	{ PUT "cOnTeNt-LeNgTh: 5 \r\nConnection: keep-alive, Close\r\n\r\nhello",
	  "/api/v1/vm.resize", "", "", "hello", HTTP_PUT, true },
	{ PUT "Content-Length:0\r\nContent-Length: 0\r\n\r\n", "/api/v1/vm.resize", "", "", NULL,
	  HTTP_PUT, false },
	{ PUT "Accept: a\r\n" CHUNKED "Expect: 100-continue\r\n\r\n0\r\n\r\n", "/api/v1/vm.resize",
	  "", "a", NULL, HTTP_PUT, false },
	{ PUT CHUNKED "\r\n3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n", "/api/v1/vm.resize", "", "",
	  "abc0123456789", HTTP_PUT, false },
	{ "GET /events?after=3&x HTTP/1.0\r\n\r\n", "/events", "after=3&x", "", NULL, HTTP_GET,
	  true },
};

static void assert_parsed(const struct http_parser *p, const struct example *x)
{
	ck_assert_int_eq(p->state, HTTP_DONE);
	ck_assert_int_eq(p->method, x->method);
	ck_assert_str_eq(p->path, x->path);
	ck_assert_str_eq(p->query, x->query);
	ck_assert_str_eq(p->accept, x->accept);
	ck_assert_int_eq(p->close, x->close);
	ck_assert_int_eq(!p->body, !x->body);
	if (x->body) {
		ck_assert_uint_eq(p->body_len, strlen(x->body));
		ck_assert_str_eq(p->body, x->body);
	}
}

START_TEST(requests_come_in_any_two_pieces)
{
	const struct example *x = &examples[_i];
	size_t len = strlen(x->text);
	struct http_parser p;

	http_start(&p);
	for (size_t cut = 0; cut <= len; cut++) {
		ck_assert_uint_eq(http_parse(&p, x->text, cut), cut);
		ck_assert_int_eq(http_begun(&p), cut > 0);
		ck_assert_int_eq(p.state == HTTP_DONE, cut == len);
		ck_assert_uint_eq(http_parse(&p, x->text + cut, len - cut), len - cut);
		assert_parsed(&p, x);
		http_reset(&p);
		ck_assert(!http_begun(&p));
	}
}
END_TEST

START_TEST(requests_come_byte_by_byte)
{
	struct http_parser p;

	http_start(&p);
	for (const char *c = examples[_i].text; *c; c++) {
		ck_assert_int_lt(p.state, HTTP_DONE);
		ck_assert_uint_eq(http_parse(&p, c, 1), 1);
	}
	assert_parsed(&p, &examples[_i]);
	http_reset(&p);
}
END_TEST

START_TEST(bytes_behind_a_request_begin_the_next)
{
	char all[2048] = "";
	struct http_parser p;
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(examples); i++)
		strcat(all, examples[i].text);
	http_start(&p);
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		size_t used = feed(&p, all + at);

		ck_assert_uint_eq(used, strlen(examples[i].text));
		assert_parsed(&p, &examples[i]);
		http_reset(&p);
		at += used;
	}
	ck_assert_uint_eq(at, strlen(all));
}
END_TEST

START_TEST(a_100_is_expected_only_for_a_body_to_come)
{
	struct http_parser p;

	http_start(&p);
	feed(&p, PUT "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n");
	ck_assert(p.expects_continue);
	http_reset(&p);
	feed(&p, PUT "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n");
	ck_assert(!p.expects_continue);
	http_reset(&p);
	feed(&p, "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
	ck_assert(!p.expects_continue);
	http_reset(&p);
}
END_TEST

static const struct {
	const char *text;
	int status;
} refused[] = {
	{ "\r\n", 400 },
	{ "GET\r\n", 400 },
	{ "GET /\r\n", 400 },
	{ "GET  / HTTP/1.1\r\n", 400 },
	{ "GET / HTTP/1.1 \r\n", 400 },
	{ "GET / HTTP/2.0\r\n", 400 },
	{ "GET / http/1.1\r\n", 400 },
	{ "get / HTTP/1.1\r\n", 400 },
	{ "POST / HTTP/1.1\r\n", 400 },
	{ "GET * HTTP/1.1\r\n", 400 },
	{ "GET http://localhost/ HTTP/1.1\r\n", 400 },
	{ "GET / HTTP/1.1\n", 400 },
	{ "GET /\r HTTP/1.1\r\n", 400 },
	{ "GET /\x01 HTTP/1.1\r\n", 400 },
	{ PUT "Accept: a\n", 400 },
	{ PUT "Accept : a\r\n", 400 },
	{ PUT ": a\r\n", 400 },
	{ PUT "Accept\r\n", 400 },
	{ PUT "Accept: a\r\n b\r\n", 400 },
	{ PUT "Content-Length:\r\n", 400 },
	{ PUT "Content-Length: +1\r\n", 400 },
	{ PUT "Content-Length: -1\r\n", 400 },
	{ PUT "Content-Length: 0x1\r\n", 400 },
	{ PUT "Content-Length: 1, 1\r\n", 400 },
	{ PUT "Content-Length: 1 1\r\n", 400 },
	{ PUT "Content-Length: 1\r\nContent-Length: 2\r\n", 400 },
	{ PUT "Content-Length: 1\r\n" CHUNKED "\r\n", 400 },
	{ PUT CHUNKED "Content-Length: 0\r\n\r\n", 400 },
	{ PUT CHUNKED CHUNKED, 400 },
	{ PUT "Transfer-Encoding: gzip, chunked\r\n", 400 },
	{ PUT "Transfer-Encoding: xchunked\r\n", 400 },
	{ "PUT / HTTP/1.0\r\n" CHUNKED, 400 },
	{ PUT "Expect: a miracle\r\n", 417 },
	{ PUT "Content-Length: 4194305\r\n\r\n", 413 },
	{ PUT "Content-Length: 18446744073709551617\r\n\r\n", 413 },
	{ PUT CHUNKED "\r\n400001\r\n", 413 },
	{ PUT CHUNKED "\r\nffffffffffffffff\r\n", 413 },
	{ PUT CHUNKED "\r\n1\r\na\r\n400000\r\n", 413 },
	{ PUT CHUNKED "\r\n00000000000000001\r\n", 400 },
	{ PUT CHUNKED "\r\n\r\n", 400 },
	{ PUT CHUNKED "\r\n-1\r\n", 400 },
	{ PUT CHUNKED "\r\n0x1\r\n", 400 },
	{ PUT CHUNKED "\r\n 1\r\n", 400 },
	{ PUT CHUNKED "\r\n1;a=b\r\n", 400 },
	{ PUT CHUNKED "\r\n1\na", 400 },
	{ PUT CHUNKED "\r\n1\r\nab\r\n", 400 },
	{ PUT CHUNKED "\r\n0\r\nTrailer: a\r\n", 400 },
};

START_TEST(traps_are_refused)
{
	struct http_parser p;

	http_start(&p);
	feed(&p, refused[_i].text);
	ck_assert_int_eq(p.state, HTTP_FAILED);
	ck_assert_int_eq(p.status, refused[_i].status);
	ck_assert(p.reason && *p.reason);
	ck_assert_uint_eq(feed(&p, "GET / HTTP/1.1\r\n\r\n"), 0);
	http_reset(&p);
}
END_TEST

START_TEST(a_nul_is_no_text)
{
	static const char head[] = "GET / HTTP/1.1\r\nAccept: a\0b\r\n\r\n";
	struct http_parser p;

	http_start(&p);
	http_parse(&p, head, sizeof(head) - 1);
	ck_assert_int_eq(p.status, 400);
}
END_TEST

/* A request whose head has so many bytes. */
static void feed_head(struct http_parser *p, size_t len)
{
	CLEANUP(free) char *head = malloc(len + 1);
	size_t begin = (size_t)sprintf(head, "%sX: ", PUT);

	memset(head + begin, 'x', len - begin - 4);
	memcpy(head + len - 4, "\r\n\r\n", 5);
	http_start(p);
	feed(p, head);
}

START_TEST(a_head_has_a_limit)
{
	struct http_parser p;

	feed_head(&p, HTTP_HEAD_MAX);
	ck_assert_int_eq(p.state, HTTP_DONE);
	feed_head(&p, HTTP_HEAD_MAX + 1);
	ck_assert_int_eq(p.status, 431);
	http_start(&p);
	feed(&p, PUT);
	for (int i = 0; i < HTTP_HEAD_MAX && p.state < HTTP_DONE; i++)
		feed(&p, "a: b\r\n");
	ck_assert_int_eq(p.status, 431);
}
END_TEST

START_TEST(chunks_fit_behind_the_largest_head)
{
	static char last[] = CHUNKED "\r\n";
	struct http_parser p;
	char pad[HTTP_HEAD_MAX];

	http_start(&p);
	feed(&p, PUT "X:");
	memset(pad, 'x', sizeof(pad));
	http_parse(&p, pad, HTTP_HEAD_MAX - strlen(PUT "X:\r\n") - strlen(last));
	feed(&p, "\r\n");
	feed(&p, last);
	ck_assert_int_eq(p.state, HTTP_CHUNK_SIZE);
	for (int i = 0; i < 1000; i++)
		feed(&p, "0000000000000001\r\na\r\n");
	feed(&p, "0\r\n\r\n");
	ck_assert_int_eq(p.state, HTTP_DONE);
	ck_assert_uint_eq(p.body_len, 1000);
	http_reset(&p);
}
END_TEST

START_TEST(the_largest_body_fits)
{
	CLEANUP(free) char *body = malloc(HTTP_BODY_MAX);
	struct http_parser p;

	memset(body, 'b', HTTP_BODY_MAX);
	http_start(&p);
	feed(&p, PUT "Content-Length: 4194304\r\n\r\n");
	ck_assert_uint_eq(http_parse(&p, body, HTTP_BODY_MAX - 1), HTTP_BODY_MAX - 1);
	ck_assert_int_eq(p.state, HTTP_BODY);
	ck_assert_uint_eq(http_parse(&p, body, 2), 1);
	ck_assert_int_eq(p.state, HTTP_DONE);
	ck_assert_uint_eq(strlen(p.body), HTTP_BODY_MAX);
	http_reset(&p);
}
END_TEST

static const struct {
	struct http_answer answer;
	const char *head;
} heads[] = {
	{ { 204, NULL, 0, false }, "HTTP/1.1 204 \r\n\r\n" },
	{ { 200, "application/json", 17, false },
	  "HTTP/1.1 200 \r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n" },
	{ { 200, "text/plain", 0, false },
	  "HTTP/1.1 200 \r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n" },
	{ { 200, NULL, 0, false }, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n" },
	{ { 400, "application/json", 2, true },
	  "HTTP/1.1 400 \r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
	  "Connection: close\r\n\r\n" },
};

START_TEST(heads_of_answers_are_exact)
{
	char head[HTTP_ANSWER_HEAD_MAX];

	ck_assert_uint_eq(http_answer_head(head, &heads[_i].answer), strlen(heads[_i].head));
	ck_assert_str_eq(head, heads[_i].head);
}
END_TEST

static Suite *http_suite(void)
{
	Suite *s = suite_create("http");
	TCase *c = tcase_create("http");

	tcase_add_loop_test(c, requests_come_in_any_two_pieces, 0, ARRAY_SIZE(examples));
	tcase_add_loop_test(c, requests_come_byte_by_byte, 0, ARRAY_SIZE(examples));
	tcase_add_test(c, bytes_behind_a_request_begin_the_next);
	tcase_add_test(c, a_100_is_expected_only_for_a_body_to_come);
	tcase_add_loop_test(c, traps_are_refused, 0, ARRAY_SIZE(refused));
	tcase_add_test(c, a_nul_is_no_text);
	tcase_add_test(c, a_head_has_a_limit);
	tcase_add_test(c, chunks_fit_behind_the_largest_head);
	tcase_add_test(c, the_largest_body_fits);
	tcase_add_loop_test(c, heads_of_answers_are_exact, 0, ARRAY_SIZE(heads));
	suite_add_tcase(s, c);
	return s;
}

CHECK_MAIN(http_suite)
