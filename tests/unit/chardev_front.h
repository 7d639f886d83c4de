/* SPDX-License-Identifier: Apache-2.0 */
/* A front end for the tests of character devices. */
#ifndef CHARDEV_FRONT_H
#define CHARDEV_FRONT_H

#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bits.h"
#include "chardev.h"
#include "check_main.h"

enum { BUFFER = 1 << 20, TURNS = 5 };

/* What a UART would be: takes room bytes, counts. */
struct front {
	struct loop *loop;
	struct chardev *host;
	struct timer limit; /* of a turn, of so many */
	uint64_t turn_ns;
	unsigned turns;
	char got[BUFFER];
	size_t n, room;
	unsigned writable, resized;
	uint16_t cols, rows; /* when it was last resized */
	bool left;
	bool echo; /* send back what comes */
};

static struct front front; /* one per test process, and too large for a stack */

static inline size_t front_received(void *arg, const uint8_t *data, size_t len)
{
	struct front *f = arg;
	size_t n = MIN(len, f->room);

	ck_assert_uint_le(n, sizeof(f->got) - f->n);
	memcpy(f->got + f->n, data, n);
	f->n += n;
	f->room -= n;
	if (f->echo)
		ck_assert_uint_eq(chardev_write(f->host, data, n), n);
	return n;
}

static inline void front_writable(void *arg)
{
	((struct front *)arg)->writable++;
}

static inline void front_resized(void *arg)
{
	struct front *f = arg;

	f->resized++;
	chardev_size(f->host, &f->cols, &f->rows);
}

static inline void front_enough(void *arg)
{
	loop_quit(((struct front *)arg)->loop);
}

static inline void front_set_limit(struct front *f)
{
	loop_timer_set(f->loop, &f->limit, loop_now_ns() + f->turn_ns);
}

static inline void front_turn(void *arg)
{
	struct front *f = arg;

	if (--f->turns)
		front_set_limit(f);
	else
		front_enough(f);
}

static inline void front_leave(void *arg)
{
	((struct front *)arg)->left = true;
	front_enough(arg);
}

static inline int front_try(struct front *f, struct chardev_config config, struct err *e)
{
	struct chardev_events events = { .received = front_received,
					 .writable = front_writable,
					 .leave = front_leave,
					 .resized = front_resized,
					 .arg = f };

	*f = (struct front){ .room = SIZE_MAX, .limit = { .expired = front_turn, .arg = f } };
	ck_assert_int_eq(loop_new(&f->loop, e), 0);
	return chardev_new(&f->host, &config, f->loop, &events, e);
}

static inline void front_open(struct front *f, struct chardev_config config)
{
	struct err e;

	ck_assert_msg(!front_try(f, config, &e), "%s", e.text);
}

static inline void front_close(struct front *f)
{
	chardev_free(f->host);
	loop_free(f->loop);
}

/* However slow the machine, the loop does what one thing after another asks for. */
static inline void front_run_ms(struct front *f, unsigned ms)
{
	f->turns = TURNS;
	f->turn_ns = ms * UINT64_C(1000000) / TURNS;
	front_set_limit(f);
	loop_run(f->loop);
}

static inline size_t front_write(struct front *f, const char *text)
{
	return chardev_write(f->host, (const uint8_t *)text, strlen(text));
}

/* Most of the time is spent asleep. */
static inline void assert_idle(struct front *f)
{
	struct rusage a, b;
	int64_t us;

	getrusage(RUSAGE_SELF, &a);
	front_run_ms(f, 200);
	getrusage(RUSAGE_SELF, &b);
	us = (b.ru_utime.tv_sec - a.ru_utime.tv_sec + b.ru_stime.tv_sec - a.ru_stime.tv_sec) *
		     1000000 +
	     b.ru_utime.tv_usec - a.ru_utime.tv_usec + b.ru_stime.tv_usec - a.ru_stime.tv_usec;
	ck_assert_int_lt(us, 15000);
}

/* What comes from fd within a second, at most len bytes. */
static inline size_t read_some(int fd, void *data, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0;

	while (n < len && poll(&p, 1, 1000) > 0) {
		ssize_t r = read(fd, (char *)data + n, len - n);

		if (r <= 0)
			break;
		n += (size_t)r;
	}
	return n;
}

static inline void assert_reads(int fd, const char *text)
{
	char data[256] = { 0 };

	ck_assert_uint_eq(read_some(fd, data, strlen(text)), strlen(text));
	ck_assert_str_eq(data, text);
}

static inline void send_text(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

#endif
