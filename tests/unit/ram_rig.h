/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sender and a receiver of guest memory, joined by socket pairs. Each connection has a relay
 * between the two that cuts it after as many bytes as a test wants.
 */
#ifndef RAM_RIG_H
#define RAM_RIG_H

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/migrate/ram_receive.h"
#include "../../src/migrate/ram_send.h"
#include "bits.h"
#include "vm.h"

struct ram_rig;

struct ram_wire {
	struct ram_rig *rig;
	unsigned index;
	int source[2], destination[2]; /* [0] is the relay's */
	struct channel out, in;
	uint64_t bytes_left; /* that pass, both ways */
	pthread_t relay, receiver;
	int result; /* the receiver's */
	struct err e;
};

struct ram_rig {
	struct vm vm;
	struct guest_mem *to;
	struct ram_sender *sender;
	struct ram_receiver *receiver;
	unsigned n;
	struct ram_wire wire[4];
};

static inline void ram_rig_of(struct ram_rig *rig, const struct guest_mem_config *c, unsigned n)
{
	struct err e;

	signal(SIGPIPE, SIG_IGN);
	*rig = (struct ram_rig){ .vm = { .fd = -1, .kvm_fd = -1 }, .n = n };
	ck_assert_int_eq(guest_mem_new(&rig->vm.mem, c, &e), 0);
	ck_assert_int_eq(guest_mem_new(&rig->to, c, &e), 0);
	ck_assert_int_eq(ram_sender_new(&rig->sender, &rig->vm, &e), 0);
	ck_assert_int_eq(ram_receiver_new(&rig->receiver, rig->to, n, &e), 0);
}

static inline void ram_rig_new(struct ram_rig *rig, uint64_t bytes, unsigned n, bool shared)
{
	const struct guest_mem_config c = { .size_bytes = bytes, .shared = shared };

	ram_rig_of(rig, &c, n);
}

static inline void ram_rig_free(struct ram_rig *rig)
{
	ram_sender_free(rig->sender);
	ram_receiver_free(rig->receiver);
	guest_mem_free(rig->vm.mem);
	guest_mem_free(rig->to);
}

static inline bool ram_pass(struct ram_wire *w, int from, int to)
{
	char buf[64 << 10];
	ssize_t n = read(from, buf, MIN(sizeof(buf), w->bytes_left));

	for (ssize_t at = 0, done; at < n; at += done) {
		done = write(to, buf + at, (size_t)(n - at));
		if (done < 0)
			return false;
	}
	w->bytes_left -= n > 0 ? (uint64_t)n : 0;
	return n > 0 && w->bytes_left;
}

static inline void *ram_relay(void *arg)
{
	struct ram_wire *w = arg;
	struct pollfd p[2] = { { .fd = w->source[0], .events = POLLIN },
			       { .fd = w->destination[0], .events = POLLIN } };
	bool open = true;

	while (open) {
		poll(p, 2, -1);
		if (p[0].revents)
			open = ram_pass(w, p[0].fd, p[1].fd);
		if (open && p[1].revents)
			open = ram_pass(w, p[1].fd, p[0].fd);
	}
	shutdown(p[0].fd, SHUT_RDWR);
	shutdown(p[1].fd, SHUT_RDWR);
	return NULL;
}

static inline void *ram_receive(void *arg)
{
	struct ram_wire *w = arg;

	w->result = ram_receiver_run(w->rig->receiver, w->index, &w->in, &w->e);
	return NULL;
}

/* bytes: that pass on each connection before it is cut; UINT64_MAX: it is not. */
static inline int ram_connect(struct ram_rig *rig, const uint64_t *bytes, struct err *e)
{
	struct channel *out[ARRAY_SIZE(rig->wire)];

	for (unsigned i = 0; i < rig->n; i++) {
		struct ram_wire *w = &rig->wire[i];

		*w = (struct ram_wire){ .rig = rig, .index = i, .bytes_left = bytes[i] };
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, w->source), 0);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, w->destination), 0);
		w->out = channel_of(w->source[1]);
		w->in = channel_of(w->destination[1]);
		out[i] = &w->out;
		pthread_create(&w->relay, NULL, ram_relay, w);
		pthread_create(&w->receiver, NULL, ram_receive, w);
	}
	return ram_sender_attach(rig->sender, out, rig->n, e);
}

/* Not while connected. */
static inline void ram_resize(struct ram_rig *rig, unsigned n)
{
	struct err e;

	if (n == rig->n)
		return;
	rig->n = n;
	ck_assert_int_eq(ram_receiver_resize(rig->receiver, n, &e), 0);
}

/* Every receiver ends with this. */
static inline void ram_disconnect(struct ram_rig *rig, int result)
{
	for (unsigned i = 0; i < rig->n; i++) {
		struct ram_wire *w = &rig->wire[i];

		if (result)
			shutdown(w->source[1], SHUT_RDWR);
		pthread_join(w->receiver, NULL);
		ck_assert_msg(w->result == 0 || w->result == result, "%s", w->e.text);
		shutdown(w->destination[1], SHUT_RDWR);
		pthread_join(w->relay, NULL);
		for (int k = 0; k < 2; k++) {
			close(w->source[k]);
			close(w->destination[k]);
		}
	}
}

static inline uint8_t *ram_page(struct guest_mem *m, uint64_t n)
{
	return guest_mem_at(m, n * GUEST_PAGE_BYTES, GUEST_PAGE_BYTES);
}

/* As the monitor writes it: bytes first, then the mark. */
static inline void ram_write(struct ram_rig *rig, uint64_t n, uint64_t value)
{
	uint64_t words[GUEST_PAGE_BYTES / 8] = { [17] = value, [GUEST_PAGE_BYTES / 8 - 1] = value };

	ck_assert_int_eq(guest_mem_write(rig->vm.mem, n * GUEST_PAGE_BYTES, words, sizeof(words)),
			 0);
}

static inline void ram_assert_same(struct ram_rig *rig)
{
	for (unsigned i = 0; i < rig->to->nregions; i++)
		ck_assert(!memcmp(rig->vm.mem->region[i].host, rig->to->region[i].host,
				  rig->to->region[i].size_bytes));
}

#endif
