/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One byte to and fro over TCP, in the lab's guest and host.
 *
 *   ping-pong listen PORT             sends back what comes, for ever
 *   ping-pong ADDRESS PORT SECONDS    prints "round trips: N in S s"
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 5 };

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };

	if (!inet_pton(AF_INET, host, &a.sin_addr))
		errx(2, "%s is not an address", host);
	return a;
}

static int new_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)))
		err(1, "cannot make a socket");
	return fd;
}

static void answer_all(const char *port)
{
	struct sockaddr_in a = address("0.0.0.0", port);
	int listener = new_socket(), fd;
	char byte;

	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1))
		err(1, "cannot listen at port %s", port);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
			;
		close(fd);
	}
	err(1, "cannot accept at port %s", port);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void ask(const char *host, const char *port, double seconds)
{
	struct sockaddr_in a = address(host, port);
	struct timeval patience = { .tv_sec = PATIENCE_S };
	double begin, end;
	unsigned long trips = 0;
	int fd = new_socket();
	char byte = 'p';

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)))
		err(1, "cannot connect to %s port %s", host, port);
	begin = now_s();
	do {
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			err(1, "no answer after %lu round trips", trips);
		trips++;
		end = now_s();
	} while (end - begin < seconds);
	printf("round trips: %lu in %.6f s\n", trips, end - begin);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "listen"))
		answer_all(argv[2]);
	if (argc != 4)
		errx(2, "usage: ping-pong listen PORT | ping-pong ADDRESS PORT SECONDS");
	ask(argv[1], argv[2], atof(argv[3]));
	return 0;
}
