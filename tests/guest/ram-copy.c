/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What moving memory costs over loopback TCP: ram-copy bare|ram MIB [CONNECTIONS]
 *
 * "bare" is one send and one recv loop of 2 MiB, "ram" the sender and receiver of a live migration
 * without KVM. Both move the same pages into fresh memory, then twice more into memory that is
 * there. Prints Gbit/s of the three passes. It is a floor for scripts/bench, not a test.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/migrate/ram_receive.h"
#include "../../src/migrate/ram_send.h"
#include "bits.h"
#include "loop.h"
#include "vm.h"

enum { PASSES = 3, BLOCK = 2 * MIB };

struct pair {
	int source, destination;
};

struct receiver {
	struct ram_receiver *r;
	unsigned index;
	struct channel ch;
	pthread_t thread;
};

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "ram-copy: %s: %s\n", what, why);
	exit(1);
}

static void check(int r, const struct err *e)
{
	if (r)
		fail("ram", e->text);
}

static struct pair connect_pair(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct pair p = { .source = socket(AF_INET, SOCK_STREAM, 0) };

	if (bind(listener, (struct sockaddr *)&a, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &len) ||
	    connect(p.source, (struct sockaddr *)&a, len))
		fail("connect", strerror(errno));
	p.destination = accept(listener, NULL, NULL);
	close(listener);
	return p;
}

static void move_all(int fd, uint8_t *mem, uint64_t size, bool out)
{
	ssize_t n;

	for (uint64_t at = 0; at < size; at += (uint64_t)n) {
		uint64_t len = MIN(BLOCK, size - at);

		n = out ? send(fd, mem + at, len, 0) : recv(fd, mem + at, len, 0);
		if (n <= 0)
			fail("bare loop", strerror(errno));
	}
}

static struct guest_mem *make_memory(uint64_t size)
{
	const struct guest_mem_config c = { .size_bytes = size, .thp = getenv("THP") };
	struct guest_mem *m;
	struct err e;

	check(guest_mem_new(&m, &c, &e), &e);
	return m;
}

static void report(int pass, uint64_t size, uint64_t began_ns)
{
	double ns = (double)(loop_now_ns() - began_ns);

	printf("%s%.1f", pass ? " " : "", (double)size * 8 / ns);
	fflush(stdout);
}

/* The receiver is a process of its own, as it is in life. */
static void bare(struct guest_mem *m, uint64_t size)
{
	struct pair p = connect_pair();
	char byte = 0;

	if (!fork()) {
		struct guest_mem *to = make_memory(size);

		for (int i = 0; i < PASSES; i++) {
			move_all(p.destination, to->region[0].host, size, false);
			if (write(p.destination, &byte, 1) != 1)
				fail("write", strerror(errno));
		}
		_exit(0);
	}
	for (int i = 0; i < PASSES; i++) {
		uint64_t began_ns = loop_now_ns();

		move_all(p.source, m->region[0].host, size, true);
		if (read(p.source, &byte, 1) != 1)
			fail("read", strerror(errno));
		report(i, size, began_ns);
	}
}

static void *receive(void *arg)
{
	struct receiver *r = arg;
	struct err e;

	check(ram_receiver_run(r->r, r->index, &r->ch, &e), &e);
	return NULL;
}

/* Each pass ends with finish, which waits for the other side; the next begins with DONE behind. */
static void receive_all(const struct pair *p, unsigned n, uint64_t size)
{
	struct receiver receivers[MIGRATION_STREAMS_MAX];
	struct ram_receiver *r;
	struct err e;

	check(ram_receiver_new(&r, make_memory(size), n, &e), &e);
	for (int pass = 0; pass < PASSES; pass++) {
		for (unsigned i = 0; i < n; i++) {
			receivers[i] = (struct receiver){ r, i, channel_of(p[i].destination), 0 };
			pthread_create(&receivers[i].thread, NULL, receive, &receivers[i]);
		}
		for (unsigned i = 0; i < n; i++)
			pthread_join(receivers[i].thread, NULL);
	}
	_exit(0);
}

static void ram(struct guest_mem *m, uint64_t size, unsigned n)
{
	struct vm vm = { .fd = -1, .kvm_fd = -1, .mem = m };
	struct channel out[MIGRATION_STREAMS_MAX], *data[MIGRATION_STREAMS_MAX];
	struct pair p[MIGRATION_STREAMS_MAX];
	struct ram_sender *s;
	struct ram_round round;
	struct err e;

	for (unsigned i = 0; i < n; i++) {
		p[i] = connect_pair();
		out[i] = channel_of(p[i].source);
		data[i] = &out[i];
	}
	if (!fork())
		receive_all(p, n, size);
	check(ram_sender_new(&s, &vm, &e), &e);
	check(ram_sender_start(s, &e), &e);
	for (int i = 0; i < PASSES; i++) {
		uint64_t began_ns = loop_now_ns();

		check(ram_sender_attach(s, data, n, &e), &e);
		guest_mem_mark_dirty(m, 0, size);
		check(ram_sender_finish(s, &round, &e), &e);
		report(i, size, began_ns);
	}
	ram_sender_free(s);
}

int main(int argc, char **argv)
{
	uint64_t size;
	struct guest_mem *m;

	if (argc < 3)
		return 2;
	size = strtoull(argv[2], NULL, 10) * MIB;
	m = make_memory(size);
	for (uint64_t at = 0; at < size; at += 8)
		put_le(m->region[0].host + at, 8, at + 1);
	if (!strcmp(argv[1], "bare"))
		bare(m, size);
	else
		ram(m, size, argc > 3 ? (unsigned)atoi(argv[3]) : 1);
	printf(" Gbit/s\n");
	wait(NULL);
	return 0;
}
