/* SPDX-License-Identifier: Apache-2.0 */
#include "tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "bits.h"
#include "broker.h"
#include "channel_internal.h"
#include "cleanup.h"

enum {
	ADDRESSES_MAX = 16,
	BACKLOG = 64,
	DEAD_MS = 10000, /* sent, and not acknowledged for so long */
	KEEPALIVE_IDLE_S = 5, /* then a probe each interval, until DEAD_MS after the last answer */
	KEEPALIVE_INTERVAL_S = 2,
	KEEPALIVE_PROBES = 3,
};

struct address {
	char host[TCP_HOST_MAX], port[8];
};

static int parse(const char *url, struct address *a, struct err *e)
{
	const char *host = url + 4, *colon = strrchr(url, ':'), *port;
	size_t len;

	if (strncmp(url, "tcp:", 4) || colon < host)
		return err_set(e, -EINVAL, "\"%.128s\" is no address; write tcp:HOST:PORT", url);
	len = (size_t)(colon - host);
	port = colon + 1;
	if (len >= 2 && *host == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	} else if (memchr(host, ':', len)) {
		return err_set(e, -EINVAL,
			       "\"%.128s\" is no address; an IPv6 address is put in [ ]: "
			       "tcp:[::1]:4444",
			       url);
	}
	if (!len || len >= sizeof(a->host))
		return err_set(e, -EINVAL, "\"%.128s\" names no host; write tcp:HOST:PORT", url);
	if (!*port || strlen(port) > 5 || port[strspn(port, "0123456789")] ||
	    strtoul(port, NULL, 10) > UINT16_MAX)
		return err_set(e, -EINVAL, "\"%.128s\" has no port between 0 and 65535", url);
	memcpy(a->host, host, len);
	a->host[len] = '\0';
	strcpy(a->port, port);
	return 0;
}

static json_t *print_found(const struct addrinfo *list)
{
	json_t *all = json_array();
	char text[2 * sizeof(struct sockaddr_in6) + 1];

	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		const uint8_t *byte = (const uint8_t *)a->ai_addr;

		if (a->ai_addrlen > sizeof(struct sockaddr_in6))
			continue;
		for (socklen_t i = 0; i < a->ai_addrlen; i++)
			snprintf(text + 2 * i, 3, "%02x", byte[i]);
		json_array_append_new(all, json_string(text));
	}
	return all;
}

/* {"host": "h", "port": "1", "passive": false}: ["0200...", ...], the bytes of addresses. */
static int serve_names(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
		       struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	const char *host, *port;
	int passive, r;

	(void)fd;
	(void)nfds;
	if (json_unpack((json_t *)ask, "{s:s, s:s, s:b}", "host", &host, "port", &port, "passive",
			&passive))
		return err_set(e, -EINVAL, "no host is asked for");
	if (passive)
		hints.ai_flags |= AI_PASSIVE;
	r = getaddrinfo(host, port, &hints, &list);
	if (r)
		return err_set(e, -EADDRNOTAVAIL, "cannot find host %.128s: %s", host,
			       gai_strerror(r));
	out->json = print_found(list);
	freeaddrinfo(list);
	return 0;
}

const struct broker_service tcp_names = { "tcp_names", true, serve_names };

struct addresses {
	unsigned n;
	struct place {
		struct sockaddr_storage a;
		socklen_t len;
	} at[ADDRESSES_MAX];
};

/* False: it is none that a connection is made to. */
static bool take_address(struct place *p, const char *text)
{
	uint8_t *byte = (uint8_t *)&p->a;

	p->len = (socklen_t)(text ? strlen(text) / 2 : 0);
	if (p->len > sizeof(p->a))
		return false;
	for (socklen_t i = 0; i < p->len; i++)
		if (sscanf(text + 2 * i, "%2hhx", &byte[i]) != 1)
			return false;
	return (p->len == sizeof(struct sockaddr_in) && p->a.ss_family == AF_INET) ||
	       (p->len == sizeof(struct sockaddr_in6) && p->a.ss_family == AF_INET6);
}

/* The addresses that the url stands for. */
static int look_up(const char *url, bool passive, struct addresses *all, struct err *e)
{
	struct broker_answer answer;
	struct address a;
	int r = parse(url, &a, e);
	json_t *text;
	size_t i;

	all->n = 0;
	if (!r)
		r = broker_ask(&tcp_names,
			       json_pack("{s:s, s:s, s:b}", "host", a.host, "port", a.port,
					 "passive", passive),
			       NULL, 0, &answer, e);
	if (r)
		return r;
	json_array_foreach(answer.json, i,
			   text) if (all->n < ADDRESSES_MAX &&
				     take_address(&all->at[all->n], json_string_value(text)))
		all->n++;
	broker_answer_free(&answer);
	return all->n ? 0
		      : err_set(e, -EADDRNOTAVAIL, "cannot find host %.128s: no address", a.host);
}

int tcp_host(const char *url, char host[TCP_HOST_MAX], struct err *e)
{
	struct address a;
	int r = parse(url, &a, e);

	if (!r)
		strcpy(host, a.host);
	return r;
}

static bool is_loopback(const struct sockaddr *a)
{
	const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;

	if (a->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >>
			       24 ==
		       IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(six) ||
	       (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == IN_LOOPBACKNET);
}

bool tcp_is_loopback(const char *url)
{
	struct addresses all;
	struct err ignored;

	if (look_up(url, false, &all, &ignored))
		return false;
	for (unsigned i = 0; i < all.n; i++)
		if (!is_loopback((struct sockaddr *)&all.at[i].a))
			return false;
	return true;
}

static void set_number(int fd, int level, int name, int value)
{
	/* A kernel that lacks one of them notices a dead peer later, no more. */
	setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_options(int fd)
{
	set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_number(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
	set_number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, DEAD_MS);
}

static int open_socket(const struct place *p)
{
	return socket(p->a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
}

static int print_address(char *text, size_t size, const char *host, unsigned port, struct err *e)
{
	const char *form = strchr(host, ':') ? "tcp:[%s]:%u" : "tcp:%s:%u";
	int n = snprintf(text, size, form, host, port);

	return n < 0 || (size_t)n >= size ? err_set(e, -ENAMETOOLONG, "an address is too long") : 0;
}

/* The port of a socket: {"port": 1}. */
static int serve_port(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
		      struct err *e)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	(void)ask;
	if (nfds != 1 || getsockname(*fd, (struct sockaddr *)&a, &len))
		return err_set(e, nfds == 1 ? -errno : -EINVAL, "it has no address");
	out->json = json_pack("{s:i}", "port",
			      ntohs(a.ss_family == AF_INET
					    ? ((struct sockaddr_in *)&a)->sin_port
					    : ((struct sockaddr_in6 *)&a)->sin6_port));
	return 0;
}

const struct broker_service tcp_port = { "tcp_port", false, serve_port };

static int port_of(int fd)
{
	struct broker_answer a;
	struct err ignored;
	int r = broker_ask(&tcp_port, json_object(), &fd, 1, &a, &ignored);

	if (r)
		return r;
	r = (int)json_integer_value(json_object_get(a.json, "port"));
	broker_answer_free(&a);
	return r;
}

/* The reason is in errno. */
static int listen_at(const struct place *p)
{
	CLEANUP(fd) int fd = open_socket(p);

	if (fd < 0)
		return -1;
	/* The connections of a listener that is gone do not keep its port. */
	set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, (const struct sockaddr *)&p->a, p->len) < 0 || listen(fd, BACKLOG) < 0)
		return -1;
	return TAKE_FD(fd);
}

static int cannot_listen(const char *url, int error, struct err *e)
{
	switch (error) {
	case EADDRINUSE:
		return err_set(e, -error, "%s is in use by another process; choose another port",
			       url);
	case EADDRNOTAVAIL:
		return err_set(e, -error, "cannot listen at %s: this host has no such address",
			       url);
	default:
		return err_set(e, -error, "cannot listen at %s: %s", url, strerror(error));
	}
}

int tcp_listen(const char *url, int *fd, char *bound, size_t size, struct err *e)
{
	CLEANUP(fd) int found = -1;
	struct address address;
	struct addresses all;
	int r = look_up(url, true, &all, e), port;

	if (r)
		return r;
	for (unsigned i = 0; found < 0 && i < all.n; i++)
		found = listen_at(&all.at[i]);
	if (found < 0)
		return cannot_listen(url, errno, e);
	port = port_of(found);
	if (port < 0)
		return cannot_listen(url, -port, e);
	r = parse(url, &address, e);
	if (!r)
		r = print_address(bound, size, address.host, (unsigned)port, e);
	if (!r)
		*fd = TAKE_FD(found);
	return r;
}

static int print_peer(const struct sockaddr_storage *a, socklen_t len, char *text, size_t size,
		      struct err *e)
{
	char host[TCP_HOST_MAX], port[8];
	int r = getnameinfo((const struct sockaddr *)a, len, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);

	if (r)
		return err_set(e, -EINVAL, "cannot tell who connects: %s", gai_strerror(r));
	return print_address(text, size, host, (unsigned)strtoul(port, NULL, 10), e);
}

/* accept(2): such errors belong to one connection and not to the listener. */
static bool one_connection_failed(int error)
{
	switch (error) {
	case ECONNABORTED:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case EINTR:
	case ENETDOWN:
	case ENETUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EPROTO:
		return true;
	default:
		return false;
	}
}

int tcp_accept(int listen_fd, struct channel *c, char *peer, size_t size, struct err *e)
{
	CLEANUP(fd) int fd = -1;
	struct sockaddr_storage a;
	socklen_t len;
	int r;

	for (;;) {
		len = sizeof(a);
		fd = accept4(listen_fd, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			break;
		if (one_connection_failed(errno))
			continue;
		if (errno != EAGAIN)
			return err_set(e, -errno, "cannot take a connection: %s", strerror(errno));
		r = channel_wait(c, listen_fd, POLLIN, e);
		if (r)
			return r;
	}
	r = print_peer(&a, len, peer, size, e);
	if (r)
		return r;
	set_options(fd);
	c->fd = TAKE_FD(fd);
	return 0;
}

static int cannot_connect(const char *url, int error, struct err *e)
{
	switch (error) {
	case EADDRNOTAVAIL: /* all ports of this host are in use for now */
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENETUNREACH:
	case ETIMEDOUT:
		return err_set(e, -ENOTCONN, "cannot connect to %s: %s", url, strerror(error));
	default:
		return err_set(e, -error, "cannot connect to %s: %s", url, strerror(error));
	}
}

static int connect_to(const char *url, const struct place *p, struct channel *c, struct err *e)
{
	CLEANUP(fd) int fd = open_socket(p);
	socklen_t len = sizeof(int);
	int r, error = 0;

	if (fd < 0)
		return cannot_connect(url, errno, e);
	set_options(fd);
	if (connect(fd, (const struct sockaddr *)&p->a, p->len) < 0) {
		if (errno != EINPROGRESS)
			return cannot_connect(url, errno, e);
		r = channel_wait(c, fd, POLLOUT, e);
		if (r)
			return err_prefix(e, r, "cannot connect to %.100s", url);
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
	}
	if (error)
		return cannot_connect(url, error, e);
	c->fd = TAKE_FD(fd);
	return 0;
}

int tcp_connect(const char *url, struct channel *c, struct err *e)
{
	struct address address;
	struct addresses all;
	int r = parse(url, &address, e);

	if (!r && !strtoul(address.port, NULL, 10))
		r = err_set(e, -EINVAL, "\"%.128s\" has no port between 1 and 65535", url);
	if (!r)
		r = look_up(url, false, &all, e);
	if (r)
		return r;
	for (unsigned i = 0; i < all.n; i++) {
		r = connect_to(url, &all.at[i], c, e);
		if (!r || r == -ECANCELED)
			break;
	}
	return r;
}
