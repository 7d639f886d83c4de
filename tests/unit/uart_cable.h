/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of the UART, and a UART whose host end the test holds. */
#ifndef UART_CABLE_H
#define UART_CABLE_H

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "device_fixture.h"
#include "platform.h"

extern const struct device_class uart_class;

enum {
	RBR = PLATFORM_COM1,
	THR = RBR,
	IER = RBR + 1,
	IIR = RBR + 2,
	FCR = IIR,
	LCR = RBR + 3,
	MCR = RBR + 4,
	LSR = RBR + 5,
	MSR = RBR + 6,
	SCR = RBR + 7,
};
enum { OUT2 = 8, LOOP = 0x10, DLAB = 0x80 };
enum { TRIGGER_1 = 0x01, TRIGGER_4 = 0x41, TRIGGER_8 = 0x81, TRIGGER_14 = 0xc1 };

#define NULL_MODE "{\"mode\":\"Null\"}"

static inline bool interrupts(struct fixture *f)
{
	return irq_level(&f->vm.irq, PLATFORM_IRQ_COM1);
}

/* A UART whose host end is a socket that the test is connected to. */
struct cable {
	struct fixture f;
	char dir[32], path[48];
	int fd;
};

static inline void cable_open(struct cable *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char options[160];

	strcpy(c->dir, "/tmp/test_uart.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(c->dir));
	snprintf(c->path, sizeof(c->path), "%s/s", c->dir);
	snprintf(options, sizeof(options), "{\"mode\":\"Socket\",\"socket\":\"%s\"}", c->path);
	fixture_open(&c->f, &uart_class, options);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	memcpy(a.sun_path, c->path, sizeof(c->path));
	ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	fixture_run_ms(&c->f, 1);
}

static inline void cable_close(struct cable *c)
{
	close(c->fd);
	fixture_close(&c->f);
	ck_assert_int_eq(rmdir(c->dir), 0);
}

static inline void cable_send(struct cable *c, const char *text)
{
	ck_assert_int_eq(write(c->fd, text, strlen(text)), (ssize_t)strlen(text));
	fixture_run_ms(&c->f, 1);
}

#endif
