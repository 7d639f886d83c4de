/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP proxy for a migration that holds one message of it, so that a host can be reset just then.
 *
 *   hold PORT ADDRESS ADDRESS-PORT TYPE    TYPE as in docs/migration-format.md
 *
 * Prints "held" when a section of that type has come, and passes neither it nor what follows it.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <err.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAGIC_BYTES = 16, PIECE_BYTES = 1 << 16 };

struct header {
	uint32_t type, checksum;
	uint64_t length;
};

struct pipe {
	int from, to;
	uint32_t held_type;
	uint64_t left; /* bytes before the next header */
};

static int new_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)))
		err(1, "cannot make a socket");
	return fd;
}

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };

	if (!inet_pton(AF_INET, host, &a.sin_addr))
		errx(2, "%s is not an address", host);
	return a;
}

static bool pass(struct pipe *p, const void *data, size_t size)
{
	return send(p->to, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static bool pass_payload(struct pipe *p)
{
	static _Thread_local char piece[PIECE_BYTES];

	while (p->left) {
		size_t most = p->left < sizeof(piece) ? p->left : sizeof(piece);
		ssize_t n = recv(p->from, piece, most, 0);

		if (n <= 0 || !pass(p, piece, (size_t)n))
			return false;
		p->left -= (uint64_t)n;
	}
	return true;
}

static void *run_pipe(void *arg)
{
	struct pipe *p = arg;
	struct header h;

	while (pass_payload(p) && recv(p->from, &h, sizeof(h), MSG_WAITALL) == sizeof(h)) {
		if (le32toh(h.type) == p->held_type) {
			puts("held");
			fflush(stdout);
			pause();
		}
		if (!pass(p, &h, sizeof(h)))
			break;
		p->left = le64toh(h.length);
	}
	shutdown(p->from, SHUT_RDWR);
	shutdown(p->to, SHUT_RDWR);
	return NULL; /* the sockets stay until the program ends */
}

static void start_pipe(int from, int to, uint32_t held_type, uint64_t left)
{
	struct pipe *p = malloc(sizeof(*p));
	pthread_t thread;

	if (!p)
		err(1, "cannot start");
	*p = (struct pipe){ .from = from, .to = to, .held_type = held_type, .left = left };
	if (pthread_create(&thread, NULL, run_pipe, p))
		errx(1, "cannot start a thread");
}

int main(int argc, char **argv)
{
	struct sockaddr_in here, there;
	int listener = new_socket(), from, to;

	if (argc != 5)
		errx(2, "usage: hold PORT ADDRESS ADDRESS-PORT TYPE");
	here = address("0.0.0.0", argv[1]);
	there = address(argv[2], argv[3]);
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) || listen(listener, 8))
		err(1, "cannot listen at port %s", argv[1]);
	while ((from = accept(listener, NULL, NULL)) >= 0) {
		to = new_socket();
		/* The host may be down, or its monitor gone. */
		if (connect(to, (struct sockaddr *)&there, sizeof(there))) {
			close(from);
			close(to);
			continue;
		}
		start_pipe(from, to, (uint32_t)atoi(argv[4]), MAGIC_BYTES);
		start_pipe(to, from, (uint32_t)atoi(argv[4]), 0);
	}
	err(1, "cannot accept at port %s", argv[1]);
}
