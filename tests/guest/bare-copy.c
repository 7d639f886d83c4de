/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that moves memory over TCP: one process reads what another one writes, in pieces of
 * 2 MiB, into memory that it has never touched, and then once more into the same memory. It is what
 * scripts/bench holds a migration against: what is left then is the kernel's time, not a program's.
 * Not a test of anything.
 *
 * Prints the nanoseconds of both ways: "fresh N" and "touched N". Each ends when the sender has the
 * receiver's answer.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 2 << 20 };

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* As monitors have it: huge pages where the host lets them */
static uint8_t *memory(size_t size)
{
	uint8_t *m = mmap(NULL, size + PIECE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (m == MAP_FAILED)
		err(1, "memory");
	m += PIECE - (uintptr_t)m % PIECE;
	madvise(m, size, MADV_HUGEPAGE);
	return m;
}

static void send_all(int fd, const uint8_t *m, size_t size)
{
	for (size_t at = 0; at < size;) {
		size_t n = size - at < PIECE ? size - at : PIECE;
		ssize_t done = write(fd, m + at, n);

		if (done <= 0)
			err(1, "send");
		at += (size_t)done;
	}
}

static void receive_all(int fd, uint8_t *m, size_t size)
{
	for (size_t at = 0; at < size;) {
		size_t n = size - at < PIECE ? size - at : PIECE;
		ssize_t done = read(fd, m + at, n);

		if (done <= 0)
			err(1, "receive");
		at += (size_t)done;
	}
}

static void receiver(int listener, size_t size)
{
	uint8_t *m = memory(size);
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		err(1, "accept");
	for (unsigned way = 0; way < 2; way++) {
		receive_all(fd, m, size);
		send_all(fd, m, 1);
	}
	exit(0);
}

static void sender(const struct sockaddr_in *to, size_t size)
{
	static const char *const ways[] = { "fresh", "touched" };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint8_t *m = memory(size), answer;

	memset(m, 'G', size);
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		err(1, "connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	for (unsigned way = 0; way < 2; way++) {
		uint64_t begin = now();

		send_all(fd, m, size);
		receive_all(fd, &answer, 1);
		printf("%s %llu\n", ways[way], (unsigned long long)(now() - begin));
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status;
	size_t size = argc == 2 ? strtoul(argv[1], NULL, 0) << 20 : 0;
	pid_t child;

	if (!size)
		errx(2, "usage: bare-copy MIB");
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &(socklen_t){ sizeof(a) }) < 0)
		err(1, "listen");
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child)
		receiver(listener, size);
	sender(&a, size);
	if (waitpid(child, &status, 0) < 0 || status)
		errx(1, "the receiver failed");
	return 0;
}
