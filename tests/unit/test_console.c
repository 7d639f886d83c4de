/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console from the guest's side, with a socket or a pty on the other. */
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <sys/ioctl.h>

#include "check_main.h"
#include "console_guest.h"
#include "counter_of.h"

START_TEST(test_options_are_checked)
{
	static const struct {
		const char *options, *sentence;
	} refused[] = {
		{ "{\"mode\": \"File\"}", "console: mode File needs a file" },
		{ "{\"mode\": \"Null\", \"iommu\": true}", "iommu" },
		{ "{\"mode\": \"Null\", \"id\": \"a\"}", "id" },
		{ "{\"mode\": \"Null\", \"pci_segment\": 1}", "pci_segment" },
		{ "{\"mode\": \"Null\", \"pci_device_id\": 5}", "pci_device_id" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct err e = { "" };
		struct guest g;

		ck_assert_int_eq(console_new(&g, refused[i].options, &e), -EINVAL);
		ck_assert_msg(strstr(e.text, refused[i].sentence), "%s", e.text);
		vm_free(&g.vm);
		guest_mem_free(g.vm.mem);
		loop_free(g.loop);
	}
}
END_TEST

START_TEST(test_output)
{
	struct guest g;

	power_on(&g);
	/* One piece, several in a chain, some of them empty; what may be written to is ignored. */
	send_text(&g, "hello, ");
	wait_until(&g, used_is, TX << 16 | 1);
	memcpy(ram(&g, TEXT), "world.", 6);
	put_desc(&g, TX, 0, TEXT, 0, VRING_DESC_F_NEXT);
	put_desc(&g, TX, 1, TEXT, 2, VRING_DESC_F_NEXT);
	put_desc(&g, TX, 2, TEXT, 0, VRING_DESC_F_NEXT);
	put_desc(&g, TX, 3, TEXT + 2, 4, VRING_DESC_F_NEXT);
	put_desc(&g, TX, 4, TEXT + 64, 64, VRING_DESC_F_WRITE);
	publish(&g, TX, 0);
	kick(&g, TX);
	wait_until(&g, used_is, TX << 16 | 2);
	ck_assert_uint_eq(used_of(&g, TX)->ring[1].len, 0);
	wait_until(&g, client_has, 13);
	ck_assert_uint_eq(counter_of(&g.vm, "console", "tx_bytes"), 13);
	ck_assert_uint_eq(counter_of(&g.vm, "console", "rx_bytes"), 0);
	ck_assert_str_eq((char *)client.got, "hello, world.");
	ck_assert_uint_gt(interrupts(&g, 1 + TX), 0);
	/* Nothing at all. */
	put_desc(&g, TX, 0, TEXT, 0, 0);
	publish(&g, TX, 0);
	put_desc(&g, TX, 1, TEXT, 64, VRING_DESC_F_WRITE);
	publish(&g, TX, 1);
	kick(&g, TX);
	wait_until(&g, used_is, TX << 16 | 4);
	/* Nobody listens: nothing waits. */
	close(client.fd);
	client.fd = -1;
	guest_run(&g, 2);
	send_text(&g, "lost");
	wait_until(&g, used_is, TX << 16 | 5);
	guest_free(&g);
}
END_TEST

/* _i: stopped and started in between. */
START_TEST(test_refused_output_waits)
{
	uint16_t used;
	struct guest g;

	power_on(&g);
	send_everything(&g);
	guest_run(&g, 20);
	used = used_idx(&g, TX);
	ck_assert_uint_lt(used, PIECES);
	ck_assert_uint_eq(client.n, 0);
	if (_i) {
		guest_stop(&g);
		wait_until(&g, has_stopped, 0);
		ck_assert_uint_eq(g.v->s->queue[TX].next_avail, used);
		ck_assert_uint_eq(g.v->s->queue[TX].next_used, used);
		client_read(&client);
		ck_assert_uint_eq(client.n, (size_t)used * PIECE + tx_written(&g));
		guest_run(&g, 5);
		client_read(&client);
		ck_assert_uint_eq(client.n, (size_t)used * PIECE + tx_written(&g));
		guest_start(&g);
	}
	wait_until(&g, client_has, TEXT_BYTES);
	assert_everything();
	wait_until(&g, used_is, TX << 16 | PIECES);
	ck_assert_uint_eq(tx_written(&g), 0);
	guest_free(&g);
}
END_TEST

/* Each of the two has its own client; together they get all, in order. */
START_TEST(test_refused_output_moves)
{
	struct guest a, b;
	struct err e;
	size_t first;

	power_on(&a);
	send_everything(&a);
	guest_run(&a, 20);
	guest_stop(&a);
	wait_until(&a, has_stopped, 0);
	client_read(&client);
	first = client.n;
	ck_assert_uint_lt(first, TEXT_BYTES);

	make_on_socket(&b, &other);
	memcpy(ram(&b, 0), ram(&a, 0), RAM_BYTES);
	ck_assert_int_eq(device_fetch(&a.v->dev, &e), 0);
	memcpy(device_state(&b.v->dev), device_state(&a.v->dev), virtio_console_class.state->size);
	ck_assert_msg(!device_loaded(&b.v->dev, &e), "%s", e.text);
	guest_free(&a);
	close(client.fd);
	client.fd = dup(other.fd);
	guest_start(&b);
	wait_until(&b, client_has, TEXT_BYTES);
	ck_assert_uint_gt(client.n, first);
	assert_everything();
	wait_until(&b, used_is, TX << 16 | PIECES);
	guest_free(&b);
}
END_TEST

/* Of a request that was written in part, a new driver knows nothing. */
START_TEST(test_reset_forgets_refused_output)
{
	struct guest g;
	size_t before;

	power_on(&g);
	send_everything(&g);
	guest_run(&g, 20);
	ck_assert_uint_ne(tx_written(&g), 0);
	console_drive(&g, BIT(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(tx_written(&g), 0);
	client_read(&client);
	before = client.n;
	send_text(&g, "new driver");
	wait_until(&g, client_has, (unsigned)before + 10);
	ck_assert_mem_eq(client.got + before, "new driver", 10);
	guest_free(&g);
}
END_TEST

static void quit(void *arg)
{
	loop_quit(((struct guest *)arg)->loop);
}

/* A chain of 8 MiB: others on the loop have their turns in between. */
START_TEST(test_output_takes_turns)
{
	struct work after = { .run = quit };
	struct guest g;

	make(&g, "{\"mode\": \"File\", \"file\": \"/dev/null\"}");
	after.arg = &g;
	guest_start(&g);
	console_drive(&g, BIT(VIRTIO_F_VERSION_1));
	guest_run(&g, 2);
	for (unsigned i = 0; i < SIZE; i++)
		put_desc(&g, TX, i, TEXT, 128 * KIB, i + 1 < SIZE ? VRING_DESC_F_NEXT : 0);
	publish(&g, TX, 0);
	kick(&g, TX);
	for (unsigned turn = 1; turn <= 3; turn++) {
		loop_post(g.loop, &after);
		loop_run(g.loop);
		ck_assert_uint_eq(tx_written(&g), turn * TURN_BYTES);
		ck_assert_uint_eq(used_idx(&g, TX), 0);
	}
	wait_until(&g, used_is, TX << 16 | 1);
	ck_assert_uint_eq(tx_written(&g), 0);
	guest_free(&g);
}
END_TEST

static bool wants_kick(struct guest *g, uint16_t before)
{
	const struct vring_used *used = used_of(g, RX);
	const uint16_t *event = (const uint16_t *)(used->ring + SIZE);

	if (g->event_idx)
		return vring_need_event(*event, avail_of(g, RX)->idx, before);
	return !(used->flags & VRING_USED_F_NO_NOTIFY);
}

static void offer(struct guest *g, unsigned n, uint32_t len)
{
	uint16_t before = avail_of(g, RX)->idx;

	for (unsigned i = 0; i < n; i++) {
		unsigned at = avail_of(g, RX)->idx % SIZE;

		put_desc(g, RX, at, queue_gpa(RX) + DATA + at * 16, len, VRING_DESC_F_WRITE);
		publish(g, RX, (uint16_t)at);
	}
	if (wants_kick(g, before))
		kick(g, RX);
}

/* Buffers of 0 to 3 bytes, and fewer of them than there is input; _i: with EVENT_IDX. */
START_TEST(test_input)
{
	uint64_t features = BIT(VIRTIO_F_VERSION_1) | (_i ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0);
	static uint8_t sent[3000], got[3000];
	uint16_t seen = 0;
	struct guest g;
	size_t n = 0;

	make_on_socket(&g, &client);
	g.event_idx = _i;
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = text_at(i);
	/* Before there is a driver, even before the machine runs. */
	ck_assert_int_eq(write(client.fd, sent, 10), 10);
	guest_run(&g, 2);
	guest_start(&g);
	console_drive(&g, features);
	guest_run(&g, 2);
	ck_assert_int_eq(write(client.fd, sent + 10, sizeof(sent) - 10), sizeof(sent) - 10);
	for (unsigned i = 0; n < sizeof(sent); i++) {
		offer(&g, 1 + i % SIZE, i % 4);
		wait_until(&g, used_is, avail_of(&g, RX)->idx);
		for (; seen != used_idx(&g, RX); seen++) {
			const struct vring_used_elem *used = &used_of(&g, RX)->ring[seen % SIZE];

			ck_assert_uint_eq(used->id, seen % SIZE);
			ck_assert_uint_le(used->len, i % 4);
			memcpy(got + n, ram(&g, queue_gpa(RX) + DATA + used->id * 16), used->len);
			n += used->len;
		}
		/* The last round has more room than there is input. */
		if (sizeof(sent) - n < 3 * SIZE)
			break;
	}
	offer(&g, SIZE, 3);
	guest_run(&g, 5);
	for (; seen != used_idx(&g, RX); seen++) {
		const struct vring_used_elem *used = &used_of(&g, RX)->ring[seen % SIZE];

		memcpy(got + n, ram(&g, queue_gpa(RX) + DATA + used->id * 16), used->len);
		n += used->len;
	}
	ck_assert_uint_eq(n, sizeof(sent));
	ck_assert_mem_eq(got, sent, sizeof(sent));
	ck_assert_uint_gt(interrupts(&g, 1 + RX), 0);
	/* What comes now needs no kick. */
	ck_assert_int_eq(write(client.fd, "x", 1), 1);
	wait_until(&g, used_is, (uint16_t)(seen + 1));
	ck_assert_uint_eq(counter_of(&g.vm, "console", "rx_bytes"), sizeof(sent) + 1);
	guest_free(&g);
}
END_TEST

/* As many buffers at once as a queue has, however fast new ones come, and those without a kick. */
START_TEST(test_input_takes_turns)
{
	struct work after = { .run = quit };
	static const char text[50];
	struct guest g;

	after.arg = &g;
	power_on(&g);
	offer(&g, SIZE, 1);
	guest_run(&g, 2);
	ck_assert_int_eq(write(client.fd, text, 40), 40);
	wait_until(&g, used_is, RX << 16 | 40);
	ck_assert(!wants_kick(&g, 0));
	offer(&g, 40, 1);
	ck_assert_int_eq(write(client.fd, text, 50), 50);
	loop_post(g.loop, &after);
	loop_run(g.loop);
	ck_assert_uint_eq(used_idx(&g, RX), SIZE);
	wait_until(&g, used_is, RX << 16 | 90);
	guest_free(&g);
}
END_TEST

/* Buffers that cannot be written to, and more than there can be. */
START_TEST(test_hostile_queues)
{
	struct guest g;

	power_on(&g);
	put_desc(&g, RX, 0, TEXT, 64, 0);
	put_desc(&g, RX, 1, TEXT, 0, VRING_DESC_F_WRITE);
	publish(&g, RX, 0);
	publish(&g, RX, 1);
	kick(&g, RX);
	ck_assert_int_eq(write(client.fd, "abc", 3), 3);
	wait_until(&g, used_is, RX << 16 | 2);
	ck_assert_uint_eq(used_of(&g, RX)->ring[0].len | used_of(&g, RX)->ring[1].len, 0);
	/* The input has waited; then a buffer beyond memory. */
	put_desc(&g, RX, 2, RAM_BYTES - 1, 2, VRING_DESC_F_WRITE);
	publish(&g, RX, 2);
	kick(&g, RX);
	wait_until(&g, status_is, UP | NEEDS_RESET);
	console_drive(&g, BIT(VIRTIO_F_VERSION_1));
	offer(&g, 1, 3);
	wait_until(&g, used_is, RX << 16 | 1);
	ck_assert_mem_eq(ram(&g, queue_gpa(RX) + DATA), "abc", 3);
	__atomic_store_n(&avail_of(&g, TX)->idx, 500, __ATOMIC_RELEASE);
	kick(&g, TX);
	wait_until(&g, status_is, UP | NEEDS_RESET);
	console_drive(&g, BIT(VIRTIO_F_VERSION_1));
	send_text(&g, "still here");
	wait_until(&g, client_has, 10);
	guest_free(&g);
}
END_TEST

/* The other end of the only pty of this process. */
static int open_pty(void)
{
	char path[64];
	int fd = 3;

	while (fd < 256 && ptsname_r(fd, path, sizeof(path)))
		fd++;
	ck_assert_int_lt(fd, 256);
	fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void resize(int fd, uint16_t cols, uint16_t rows)
{
	struct winsize w = { .ws_col = cols, .ws_row = rows };

	ck_assert_int_eq(ioctl(fd, TIOCSWINSZ, &w), 0);
	ck_assert_int_eq(write(fd, "x", 1), 1);
}

static bool size_is(struct guest *g, unsigned size)
{
	return get_le(g->v->config, 4) == size;
}

static uint64_t generation(struct guest *g)
{
	return rd(g, g->common + VIRTIO_PCI_COMMON_CFGGENERATION, 1);
}

START_TEST(test_size)
{
	uint64_t before;
	struct guest g;
	int fd;

	make(&g, "{\"mode\": \"Pty\"}");
	ck_assert(g.v->features & BIT(VIRTIO_CONSOLE_F_SIZE));
	fd = open_pty();
	guest_start(&g);
	ck_assert(size_is(&g, 0));
	/* Nobody is interrupted before there is a driver. */
	resize(fd, 132, 43);
	wait_until(&g, size_is, 43 << 16 | 132);
	console_drive(&g, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_CONSOLE_F_SIZE));
	offer(&g, 8, 1);
	ck_assert_uint_eq(rd(&g, g.config, 2), 132);
	ck_assert_uint_eq(rd(&g, g.config + 2, 2), 43);
	ck_assert_uint_eq(interrupts(&g, 0), 0);
	before = generation(&g);
	resize(fd, 80, 24);
	wait_until(&g, size_is, 24 << 16 | 80);
	ck_assert_uint_eq(generation(&g), before + 1);
	ck_assert_uint_eq(interrupts(&g, 0), 1);
	/* The same again is no change. */
	resize(fd, 80, 24);
	guest_run(&g, 5);
	ck_assert_uint_eq(generation(&g), before + 1);
	ck_assert_uint_eq(interrupts(&g, 0), 0);
	/* While it is stopped nothing changes; then it does. */
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	resize(fd, 100, 50);
	guest_run(&g, 5);
	ck_assert(size_is(&g, 24 << 16 | 80));
	ck_assert_uint_eq(generation(&g), before + 1);
	guest_start(&g);
	ck_assert(size_is(&g, 50 << 16 | 100));
	ck_assert_uint_eq(generation(&g), before + 2);
	ck_assert_uint_eq(interrupts(&g, 0), 1);
	close(fd);
	guest_free(&g);
}
END_TEST

/* A guest that comes from elsewhere is told about the terminal it has here. */
START_TEST(test_size_after_a_move)
{
	struct guest a, b;
	struct err e;
	int fd;

	make(&a, "{\"mode\": \"Pty\"}");
	fd = open_pty();
	resize(fd, 132, 43);
	guest_start(&a);
	console_drive(&a, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_CONSOLE_F_SIZE));
	ck_assert(size_is(&a, 43 << 16 | 132));
	guest_stop(&a);
	wait_until(&a, has_stopped, 0);
	make(&b, "{\"mode\": \"Null\"}");
	ck_assert_int_eq(device_fetch(&a.v->dev, &e), 0);
	memcpy(device_state(&b.v->dev), device_state(&a.v->dev), virtio_console_class.state->size);
	ck_assert_msg(!device_loaded(&b.v->dev, &e), "%s", e.text);
	ck_assert(size_is(&b, 43 << 16 | 132));
	guest_start(&b);
	ck_assert(size_is(&b, 0));
	ck_assert_uint_eq(interrupts(&b, 0), 1);
	close(fd);
	guest_free(&b);
	guest_free(&a);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("console");
	TCase *t = tcase_create("console");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_options_are_checked);
	tcase_add_test(t, test_output);
	tcase_add_loop_test(t, test_refused_output_waits, 0, 2);
	tcase_add_test(t, test_refused_output_moves);
	tcase_add_test(t, test_reset_forgets_refused_output);
	tcase_add_test(t, test_output_takes_turns);
	tcase_add_loop_test(t, test_input, 0, 2);
	tcase_add_test(t, test_input_takes_turns);
	tcase_add_test(t, test_hostile_queues);
	tcase_add_test(t, test_size);
	tcase_add_test(t, test_size_after_a_move);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
