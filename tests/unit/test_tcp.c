/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "check_main.h"
#include "in_child.h"
#include "tcp.h"

static struct err e;

static struct channel nobody(void)
{
	return channel_of(-1);
}

static int listening(const char *url, char bound[TCP_URL_MAX])
{
	int fd = -1;

	ck_assert_msg(!tcp_listen(url, &fd, bound, TCP_URL_MAX, &e), "%s", e.text);
	return fd;
}

static void swap(struct channel *from, struct channel *to, const char *word)
{
	char got[64] = "";

	ck_assert_msg(!channel_write(from, &(struct iovec){ (char *)word, strlen(word) }, 1, &e),
		      "%s", e.text);
	ck_assert_msg(!channel_read(to, &(struct iovec){ got, strlen(word) }, 1, &e), "%s", e.text);
	ck_assert_str_eq(got, word);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void both_ways(const char *url, const char *prefix)
{
	struct channel a = nobody(), b = nobody();
	char bound[TCP_URL_MAX], peer[TCP_URL_MAX];
	int fd = listening(url, bound);

	ck_assert_msg(!strncmp(bound, prefix, strlen(prefix)), "%s", bound);
	ck_assert_str_ne(bound + strlen(prefix), "0");
	ck_assert_msg(!tcp_connect(bound, &a, &e), "%s", e.text);
	ck_assert_msg(!tcp_accept(fd, &b, peer, sizeof(peer), &e), "%s", e.text);
	ck_assert_msg(!strncmp(peer, "tcp:", 4) && strcmp(peer, bound), "%s", peer);
	swap(&a, &b, "to the destination");
	swap(&b, &a, "and back");
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(option(i ? b.fd : a.fd, IPPROTO_TCP, TCP_NODELAY), 1);
		ck_assert_int_eq(option(i ? b.fd : a.fd, SOL_SOCKET, SO_KEEPALIVE), 1);
		ck_assert_int_eq(option(i ? b.fd : a.fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 10000);
	}
	channel_close(&a);
	ck_assert_int_eq(a.fd, -1);
	ck_assert_int_eq(channel_read(&b, &(struct iovec){ peer, 1 }, 1, &e), -ENOTCONN);
	channel_close(&b);
	channel_close(&b);
	close(fd);
}

START_TEST(test_ipv4)
{
	both_ways("tcp:127.0.0.1:0", "tcp:127.0.0.1:");
}
END_TEST

START_TEST(test_ipv6)
{
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	bool have = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

	close(fd);
	if (have)
		both_ways("tcp:[::1]:0", "tcp:[::1]:");
}
END_TEST

START_TEST(test_name)
{
	both_ways("tcp:localhost:0", "tcp:localhost:");
}
END_TEST

static const struct {
	const char *url, *says;
} bad[] = {
	{ "unix:/tmp/x", "write tcp:HOST:PORT" },
	{ "tcp:", "write tcp:HOST:PORT" },
	{ "tcp:host", "write tcp:HOST:PORT" },
	{ "tcp::4444", "names no host" },
	{ "tcp:[]:4444", "names no host" },
	{ "tcp:::1:4444", "is put in [ ]" },
	{ "tcp:127.0.0.1:", "has no port between" },
	{ "tcp:127.0.0.1:http", "has no port between" },
	{ "tcp:127.0.0.1:+1", "has no port between" },
	{ "tcp:127.0.0.1:65536", "has no port between" },
	{ "tcp:127.0.0.1:0000000080", "has no port between" },
	{ "tcp:no-such-host.invalid:4444", "cannot find host no-such-host.invalid" },
};

START_TEST(test_bad_addresses)
{
	struct channel c = nobody();
	char bound[TCP_URL_MAX];
	int fd = -2, r;

	r = tcp_connect(bad[_i].url, &c, &e);
	ck_assert(r && r != -ENOTCONN && c.fd == -1);
	ck_assert_msg(strstr(e.text, bad[_i].says), "%s", e.text);
	r = tcp_listen(bad[_i].url, &fd, bound, sizeof(bound), &e);
	ck_assert(r && r != -ENOTCONN && fd == -2);
	ck_assert_msg(strstr(e.text, bad[_i].says), "%s", e.text);
	ck_assert(!tcp_is_loopback(bad[_i].url));
}
END_TEST

START_TEST(test_ports)
{
	struct channel c = nobody();
	char bound[TCP_URL_MAX], again[TCP_URL_MAX];
	int fd = listening("tcp:127.0.0.1:0", bound), other;

	ck_assert_int_eq(tcp_connect("tcp:127.0.0.1:0", &c, &e), -EINVAL);
	ck_assert_int_eq(tcp_listen(bound, &other, again, sizeof(again), &e), -EADDRINUSE);
	ck_assert_msg(strstr(e.text, bound) && strstr(e.text, "choose another port"), "%s", e.text);
	ck_assert_int_eq(tcp_listen("tcp:192.0.2.1:0", &other, again, sizeof(again), &e),
			 -EADDRNOTAVAIL);
	ck_assert_msg(strstr(e.text, "has no such address"), "%s", e.text);
	ck_assert_int_eq(tcp_listen("tcp:127.0.0.1:0", &other, again, 4, &e), -ENAMETOOLONG);
	close(fd);
	/* Nobody is there now: somebody may be soon. */
	ck_assert_int_eq(tcp_connect(bound, &c, &e), -ENOTCONN);
	ck_assert_msg(strstr(e.text, "refused"), "%s", e.text);
}
END_TEST

START_TEST(test_loopback)
{
	char host[TCP_HOST_MAX];

	ck_assert(tcp_is_loopback("tcp:127.0.0.1:0"));
	ck_assert(tcp_is_loopback("tcp:127.3.2.1:4444"));
	ck_assert(tcp_is_loopback("tcp:[::1]:4444"));
	ck_assert(tcp_is_loopback("tcp:[::ffff:127.0.0.1]:4444"));
	ck_assert(tcp_is_loopback("tcp:localhost:4444"));
	ck_assert(!tcp_is_loopback("tcp:0.0.0.0:4444"));
	ck_assert(!tcp_is_loopback("tcp:[::]:4444"));
	ck_assert(!tcp_is_loopback("tcp:192.0.2.127:4444"));
	ck_assert(!tcp_is_loopback("tcp:[2001:db8::1]:4444"));
	ck_assert_int_eq(tcp_host("tcp:[2001:db8::1]:4444", host, &e), 0);
	ck_assert_str_eq(host, "2001:db8::1");
}
END_TEST

START_TEST(test_accept_waits)
{
	struct channel c = nobody();
	char bound[TCP_URL_MAX], peer[TCP_URL_MAX];
	int fd = listening("tcp:127.0.0.1:0", bound);

	c.silence_ms = 20;
	ck_assert_int_eq(tcp_accept(fd, &c, peer, sizeof(peer), &e), -ENOTCONN);
	c.silence_ms = 0;
	c.cancel_fd = eventfd(1, EFD_CLOEXEC);
	ck_assert_int_eq(tcp_accept(fd, &c, peer, sizeof(peer), &e), -ECANCELED);
	ck_assert_int_eq(c.fd, -1);
	close(c.cancel_fd);
	close(fd);
}
END_TEST

/* A listener whose queue is full answers no more. */
START_TEST(test_connect_waits)
{
	struct channel full[3] = { nobody(), nobody(), nobody() }, c = nobody();
	char bound[TCP_URL_MAX];
	int fd = listening("tcp:127.0.0.1:0", bound);

	ck_assert_int_eq(listen(fd, 0), 0);
	for (int i = 0; i < 3; i++) {
		full[i].silence_ms = 20;
		tcp_connect(bound, &full[i], &e);
	}
	c.silence_ms = 20;
	ck_assert_int_eq(tcp_connect(bound, &c, &e), -ENOTCONN);
	ck_assert_msg(strstr(e.text, bound), "%s", e.text);
	c.silence_ms = 0;
	c.cancel_fd = eventfd(1, EFD_CLOEXEC);
	ck_assert_int_eq(tcp_connect(bound, &c, &e), -ECANCELED);
	ck_assert_int_eq(c.fd, -1);
	for (int i = 0; i < 3; i++)
		channel_close(&full[i]);
	close(c.cancel_fd);
	close(fd);
}
END_TEST

static void connect_without_network(void)
{
	struct channel c = nobody();
	int r;

	if (unshare(CLONE_NEWNET))
		return; /* not allowed here */
	r = tcp_connect("tcp:192.0.2.1:4444", &c, &e);
	if (r != -ENOTCONN || !strstr(e.text, "unreachable"))
		_exit(1);
}

START_TEST(test_unreachable)
{
	in_child(connect_without_network);
}
END_TEST

START_TEST(test_reset)
{
	const struct linger hard = { .l_onoff = 1 };
	struct channel a = nobody(), b = nobody();
	char bound[TCP_URL_MAX], peer[TCP_URL_MAX];
	int fd = listening("tcp:127.0.0.1:0", bound), r;

	ck_assert_int_eq(tcp_connect(bound, &a, &e), 0);
	ck_assert_int_eq(tcp_accept(fd, &b, peer, sizeof(peer), &e), 0);
	setsockopt(b.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	channel_close(&b);
	signal(SIGPIPE, SIG_IGN);
	do
		r = channel_write(&a, &(struct iovec){ peer, 1 }, 1, &e);
	while (!r);
	ck_assert_int_eq(r, -ENOTCONN);
	channel_close(&a);
	close(fd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("tcp");
	TCase *t = tcase_create("tcp");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_ipv4);
	tcase_add_test(t, test_ipv6);
	tcase_add_test(t, test_name);
	tcase_add_loop_test(t, test_bad_addresses, 0, (int)(sizeof(bad) / sizeof(*bad)));
	tcase_add_test(t, test_ports);
	tcase_add_test(t, test_loopback);
	tcase_add_test(t, test_accept_waits);
	tcase_add_test(t, test_connect_waits);
	tcase_add_test(t, test_unreachable);
	tcase_add_test(t, test_reset);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
