/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with a virtio console, its driver, and who listens at the console's socket. */
#ifndef CONSOLE_GUEST_H
#define CONSOLE_GUEST_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "virtio_guest.h"

extern const struct device_class virtio_console_class;

enum {
	RX,
	TX,
	SIZE = 64, /* of a queue */
	/* Output: more than any socket takes at once. */
	TEXT = 0x40000,
	PIECE = 100000,
	PIECES = 7,
	TEXT_BYTES = PIECES * PIECE,
	TURN_BYTES = 16 * KIB,
	UP = ACK | DRIVER | FEATURES_OK | DRIVER_OK,
};

/* Who listens at the socket. */
struct client {
	char dir[32], path[64];
	int fd;
	size_t n;
	uint8_t got[TEXT_BYTES + KIB];
};

static struct client client, other;
static json_t *json; /* the device borrows strings from it */

static inline void client_setup(struct client *c)
{
	*c = (struct client){ .fd = -1 };
	snprintf(c->dir, sizeof(c->dir), "/tmp/test_console.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(c->dir));
	snprintf(c->path, sizeof(c->path), "%s/socket", c->dir);
}

static inline void client_teardown(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	unlink(c->path);
	ck_assert_int_eq(rmdir(c->dir), 0);
}

static inline void setup(void)
{
	client_setup(&client);
	client_setup(&other);
}

static inline void teardown(void)
{
	client_teardown(&client);
	client_teardown(&other);
	json_decref(json);
	json = NULL;
}

/* Without I/O threads: the console needs none. */
static inline int console_new(struct guest *g, const char *options, struct err *e)
{
	const struct guest_mem_config ram = { .size_bytes = RAM_BYTES };
	struct device *dev;
	int r;

	*g = (struct guest){ 0 };
	ck_assert_int_eq(loop_new(&g->loop, e), 0);
	ck_assert_int_eq(vm_init(&g->vm, -1, g->loop, 0, e), 0);
	ck_assert_int_eq(guest_mem_new(&g->vm.mem, &ram, e), 0);
	loop_set_lock(g->loop, &g->vm.lock);
	g->vm.pci = &g->bus;
	if (!json)
		json = json_array();
	ck_assert_int_eq(json_array_append_new(json, json_loads(options, 0, NULL)), 0);
	r = device_new(&dev, &virtio_console_class, "console", &g->vm,
		       json_array_get(json, json_array_size(json) - 1), e);
	if (!r) {
		g->v = container_of(dev, struct virtio_device, dev);
		find_capabilities(g);
	}
	return r;
}

static inline void make(struct guest *g, const char *options)
{
	struct err e = { "" };

	ck_assert_msg(!console_new(g, options, &e), "%s", e.text);
}

static inline void console_drive(struct guest *g, uint64_t features)
{
	set_status(g, 0);
	wait_until(g, status_is, 0);
	set_status(g, ACK);
	set_status(g, ACK | DRIVER);
	set_features(g, features);
	set_status(g, ACK | DRIVER | FEATURES_OK);
	wr(g, g->common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned i = 0; i < 2; i++) {
		memset(ram(g, queue_gpa(i)), 0, QUEUE_GPA);
		setup_queue(g, i, queue_gpa(i));
	}
	set_status(g, UP);
	ck_assert_uint_eq(status(g), UP);
}

static inline void connect_to(struct guest *g, struct client *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, c->path, sizeof(c->path));
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	guest_run(g, 2);
}

static inline void make_on_socket(struct guest *g, struct client *c)
{
	char options[128];

	snprintf(options, sizeof(options), "{\"mode\": \"Socket\", \"socket\": \"%s\"}", c->path);
	make(g, options);
	connect_to(g, c);
}

static inline void power_on(struct guest *g)
{
	make_on_socket(g, &client);
	guest_start(g);
	console_drive(g, BIT(VIRTIO_F_VERSION_1));
}

static inline void client_read(struct client *c)
{
	ssize_t n;

	while ((n = read(c->fd, c->got + c->n, sizeof(c->got) - c->n)) > 0)
		c->n += (size_t)n;
}

static inline bool client_has(struct guest *g, unsigned n)
{
	(void)g;
	client_read(&client);
	return client.n == n;
}

static inline void put_desc(struct guest *g, unsigned queue, unsigned at, gpa_t gpa, uint32_t len,
			    unsigned flags)
{
	desc_of(g, queue)[at] = (struct vring_desc){
		.addr = gpa, .len = len, .flags = (uint16_t)flags, .next = (uint16_t)(at + 1)
	};
}

static inline void send_piece(struct guest *g, gpa_t gpa, uint32_t len)
{
	unsigned head = avail_of(g, TX)->idx % SIZE;

	put_desc(g, TX, head, gpa, len, 0);
	publish(g, TX, (uint16_t)head);
	kick(g, TX);
}

static inline void send_text(struct guest *g, const char *text)
{
	memcpy(ram(g, queue_gpa(TX) + DATA), text, strlen(text));
	send_piece(g, queue_gpa(TX) + DATA, (uint32_t)strlen(text));
}

static inline uint8_t text_at(size_t i)
{
	return (uint8_t)((i * 31) >> 3 ^ i >> 14);
}

static inline void send_everything(struct guest *g)
{
	uint8_t *text = guest_mem_at(g->vm.mem, TEXT, TEXT_BYTES);

	for (size_t i = 0; i < TEXT_BYTES; i++)
		text[i] = text_at(i);
	for (unsigned i = 0; i < PIECES; i++)
		send_piece(g, TEXT + i * PIECE, PIECE);
}

static inline void assert_everything(void)
{
	for (size_t i = 0; i < TEXT_BYTES; i++)
		ck_assert_msg(client.got[i] == text_at(i), "byte %zu is %#x", i, client.got[i]);
}

static inline uint32_t tx_written(struct guest *g)
{
	const struct state_desc *d = virtio_console_class.state;

	for (size_t i = 0; i < d->nfields; i++)
		if (!strcmp(d->field[i].name, "tx_written"))
			return *(uint32_t *)((char *)device_state(&g->v->dev) + d->field[i].offset);
	ck_abort_msg("no tx_written");
}

#endif
