/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net on passt: the program is fake_passt.c, which stands beside this one. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "check_main.h"
#include "counter_of.h"
#include "events.h"
#include "log.h"
#include "loop_rounds.h"
#include "net_guest.h"

#define PASST "\"backend\": \"Passt\""

enum {
	FRAMES = 1000,
	FLOOD = 1000,
	SMALL_BYTES = 256, /* of a buffer */
	SOCKET_BYTES = 16 * KIB,
	BLOCK = 1000, /* bytes of a frame, of which few fit into the socket */
	AGAIN = 1000, /* number of the first frame after a reset */
};

static char folder[64], file[96]; /* FAKE_PASST_FILE, in a folder of its own */

static void setup(void)
{
	char self[PATH_MAX] = "";

	ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	ck_assert_int_eq(setenv("PATH", dirname(self), 1), 0);
	strcpy(folder, "/tmp/godwit-passt-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/file", folder);
	ck_assert_int_eq(setenv("FAKE_PASST_FILE", file, 1), 0);
}

static void teardown(void)
{
	unlink(file);
	rmdir(folder);
}

static void passt_power_on(struct guest *g, const char *fake, uint64_t without)
{
	setenv("FAKE_PASST", fake, 1);
	power_on(g, "{" PASST "}", without);
}

/* Start */

START_TEST(test_options_are_checked)
{
	static const char *const forwards[] = {
		"",       "0:22",     "22:0",      "70000:22",     "22:70000",   "abc",
		"udp:",   "udp",      "22,",       ",22",          "22,,23",     ":22",
		"22:",    "22:22:22", "-1:22",     "+22",          " 22",        "022222",
		"tcp:22", "/22",      "1.2/22",    "localhost/22", "127.0.0.1/", "127.0.0.1/22/23",
		"22-24",  "::1/0:22", "udp:udp:1",
	};
	static const struct {
		const char *options, *sentence;
	} refused[] = {
		{ "\"tap\": \"x\"", "with passt there is no tap" },
		{ "\"fd\": \"3\"", "with passt there is no tap" },
		{ "\"bridge\": \"x\"", "with passt there is no tap" },
		{ "\"ip\": \"10.0.0.1\"", "with passt there is no tap" },
		{ "\"mask\": \"255.0.0.0\"", "with passt there is no tap" },
		{ "\"host_mac\": \"52:54:00:12:34:56\"", "with passt there is no tap" },
		{ "\"num_queues\": 4", "passt has one pair of queues" },
	};
	char text[128];

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		snprintf(text, sizeof(text), "{" PASST ", %s}", refused[i].options);
		refuse(text, -EINVAL, refused[i].sentence);
	}
	for (size_t i = 0; i < ARRAY_SIZE(forwards); i++) {
		snprintf(text, sizeof(text), "{" PASST ", \"forward\": \"%s\"}", forwards[i]);
		refuse(text, -EINVAL, "is no port to forward; write HOSTPORT:GUESTPORT");
	}
}
END_TEST

START_TEST(test_too_many_ports)
{
	char text[512] = "{" PASST ", \"forward\": \"1";

	for (unsigned i = 0; i < 64; i++)
		strcat(text, ",22");
	strcat(text, "\"}");
	refuse(text, -E2BIG, "at most 64 ports");
}
END_TEST

START_TEST(test_start_fails)
{
	setenv("FAKE_PASST", "words", 1);
	refuse("{" PASST "}", -EIO,
	       "passt did not start: fake passt: the words of a program that cannot start");
	setenv("FAKE_PASST", "silent", 1);
	refuse("{" PASST "}", -EIO, "passt did not start");
	setenv("PATH", folder, 1);
	refuse("{" PASST "}", -ENOENT, "passt is not installed; as root run: apt-get install");
}
END_TEST

static void interrupted(int signal)
{
	(void)signal;
}

/* Signals while it waits are no answer. */
START_TEST(test_start_is_interrupted)
{
	const struct itimerval often = { .it_interval = { 0, 5000 }, .it_value = { 0, 5000 } };
	const struct sigaction action = { .sa_handler = interrupted };
	struct guest g;

	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	passt_power_on(&g, "late", 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL), 0);
	power_off(&g);
}
END_TEST

START_TEST(test_arguments)
{
	static const struct {
		const char *options, *arguments;
	} told[] = {
		{ "", "" },
		{ ", \"mtu\": 1400", "--mtu 1400 " },
		{ ", \"forward\": \"2222:22\"", "-t 2222:22 " },
		{ ", \"mtu\": 65520, \"forward\": \"80,udp:53:5353,127.0.0.1/8080:80\"",
		  "--mtu 65520 -t 80 -u 53:5353 -t 127.0.0.1/8080:80 " },
		{ ", \"forward\": \"udp:::1/22,65535:1\"", "-u ::1/22 -t 65535:1 " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
		char options[128], expected[128], arguments[128] = "";
		struct guest g;
		FILE *f;

		setenv("FAKE_PASST", "arguments", 1);
		snprintf(options, sizeof(options), "{" PASST "%s}", told[i].options);
		snprintf(expected, sizeof(expected), "passt --foreground --quiet --fd 3 %s",
			 told[i].arguments);
		power_on(&g, options, 0);
		f = fopen(file, "re");
		ck_assert_ptr_nonnull(f);
		ck_assert_ptr_nonnull(fgets(arguments, sizeof(arguments), f));
		ck_assert_str_eq(arguments, expected);
		fclose(f);
		power_off(&g);
	}
}
END_TEST

/* There and back */

static size_t some_length(unsigned n)
{
	return FRAME_MIN + n * 37 % 1400;
}

static void take_and_offer_again(struct guest *g, uint32_t number, size_t len, uint32_t bytes)
{
	CLEANUP(free) struct packet *p = malloc(sizeof(*p));

	take_packet(g, RX, p);
	ck_assert_uint_eq(p->len, len);
	check_frame(p->frame, number, len);
	for (unsigned i = 0; i < p->nbuffers; i++)
		offer(g, RX, (p->slot + i) % SLOTS, bytes);
	kick(g, RX);
}

/* _i: without EVENT_IDX, byte by byte. */
START_TEST(test_echo)
{
	struct guest g;

	passt_power_on(&g, _i & 2 ? "chop" : "echo", _i & 1 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0);
	offer_all(&g, RX);
	for (unsigned n = 0; n < FRAMES;) {
		unsigned first = n;

		for (; n < FRAMES && n - first < SLOTS; n++)
			put_frame(&g, TX, n % SLOTS, n, some_length(n));
		kick(&g, TX);
		for (unsigned i = first; i < n; i++)
			take_and_offer_again(&g, i, some_length(i), BUFFER_BYTES);
		wait_used(&g, TX, n);
	}
	power_off(&g);
}
END_TEST

/* The longest frame there is, and the shortest that is none too long. */
START_TEST(test_echo_of_extremes)
{
	enum { FRAME_MAX = 65535 };
	static const uint32_t lens[] = { FRAME_MIN, FRAME_MAX, FRAME_MAX + 1, FRAME_MIN };
	const gpa_t rx = 0xa0000 + 64 * KIB, tx = 0x80000;
	CLEANUP(free) struct packet *p = malloc(sizeof(*p));
	struct guest g;

	passt_power_on(&g, "echo", _i ? BIT(VIRTIO_NET_F_MRG_RXBUF) : 0);
	for (unsigned n = 0; n < ARRAY_SIZE(lens); n++) {
		put_desc(&g, RX, n, rx, HEADER_BYTES + FRAME_MAX, VRING_DESC_F_WRITE);
		publish(&g, RX, (uint16_t)n);
		kick(&g, RX);
		make_frame(ram(&g, tx + HEADER_BYTES), n, lens[n]);
		put_desc(&g, TX, 0, tx, HEADER_BYTES + lens[n], 0);
		publish(&g, TX, 0);
		kick(&g, TX);
		wait_used(&g, TX, n + 1);
		if (lens[n] > FRAME_MAX)
			continue; /* lost */
		take_packet(&g, RX, p);
		ck_assert_uint_eq(p->len, lens[n]);
		check_frame(p->frame, n, lens[n]);
	}
	ck_assert_uint_eq(used_idx(&g, RX), 3);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_frames"), 3);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "rx_frames"), 3);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_bytes"), 2 * FRAME_MIN + FRAME_MAX);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "rx_bytes"), 2 * FRAME_MIN + FRAME_MAX);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_dropped"), 1);
	power_off(&g);
}
END_TEST

/* No header, half a one, no frame: lost, and done with; those between are not. */
START_TEST(test_send_nonsense)
{
	static const uint32_t lens[] = { 0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 13 };
	struct guest g;

	passt_power_on(&g, "echo", 0);
	offer_all(&g, RX);
	for (unsigned n = 0; n < ARRAY_SIZE(lens); n++) {
		put_desc(&g, TX, 200 + n, SEND_GPA, lens[n], 0);
		publish(&g, TX, (uint16_t)(200 + n));
		put_frame(&g, TX, n, n, 60);
	}
	put_desc(&g, TX, 210, SEND_GPA, 100, VRING_DESC_F_WRITE);
	publish(&g, TX, 210);
	kick(&g, TX);
	wait_used(&g, TX, 2 * ARRAY_SIZE(lens) + 1);
	for (unsigned n = 0; n < ARRAY_SIZE(lens); n++)
		take_frame(&g, RX, n, 60);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_frames"), ARRAY_SIZE(lens));
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "tx_dropped"), ARRAY_SIZE(lens) + 1);
	ck_assert_uint_eq(counter_of(&g.vm, "net0", "rx_dropped"), 0);
	power_off(&g);
}
END_TEST

/* Buffers in which no packet begins come back empty, and the queue goes on. */
START_TEST(test_receive_in_useless_buffers)
{
	static const uint32_t useless[] = { 0, 1, HEADER_BYTES - 1, 0 };
	CLEANUP(free) struct packet *p = malloc(sizeof(*p));
	struct guest g;

	passt_power_on(&g, "echo", _i ? BIT(VIRTIO_NET_F_MRG_RXBUF) : 0);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		offer(&g, RX, slot,
		      slot < ARRAY_SIZE(useless) ? useless[slot] : (unsigned)BUFFER_BYTES);
	kick(&g, RX);
	for (unsigned n = 0; n < 10; n++)
		put_frame(&g, TX, n, n, 60);
	kick(&g, TX);
	wait_used(&g, RX, ARRAY_SIZE(useless));
	for (; seen[RX] < ARRAY_SIZE(useless); seen[RX]++)
		ck_assert_uint_eq(used_elem(&g, RX, seen[RX])->len, 0);
	do
		take_packet(&g, RX, p);
	while (number_of(p->frame) != 9);
	check_frame(p->frame, 9, 60);
	power_off(&g);
}
END_TEST

/* More than fits anywhere, for a guest that has few buffers at a time. */
START_TEST(test_flood)
{
	const unsigned enough = (HEADER_BYTES + FRAME_MIN + 900) / SMALL_BYTES + 1;
	unsigned offered = 0, given = 0, n = 0;
	struct guest g;

	passt_power_on(&g, "flood", _i ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0);
	send_frame(&g, TX, 0, 60);
	while (n < FLOOD) {
		CLEANUP(free) struct packet *p = malloc(sizeof(*p));

		for (unsigned i = 0; i <= n % 5; i++)
			offer(&g, RX, offered++ % SLOTS, SMALL_BYTES);
		kick(&g, RX);
		if (offered - given < enough)
			continue;
		wait_used(&g, RX, given + 1);
		for (; n < FLOOD && used_idx(&g, RX) != seen[RX]; n++) {
			take_packet(&g, RX, p);
			ck_assert_uint_eq(p->len, FRAME_MIN + n * 37 % 900);
			check_frame(p->frame, n, p->len);
			given += p->nbuffers;
		}
	}
	power_off(&g);
}
END_TEST

/* A socket that is full */

/* Of the card's end of it: then it is full with few frames on any host. */
static void shrink_socket(void)
{
	for (int fd = 3; fd < 64; fd++) {
		int domain = 0, bytes = SOCKET_BYTES;
		socklen_t len = sizeof(domain);

		if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_UNIX)
			setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	}
}

static void put_blocks(struct guest *g, uint32_t first)
{
	for (unsigned n = 0; n < SLOTS; n++)
		put_frame(g, TX, n, first + n, BLOCK);
	kick(g, TX);
}

/* passt does not read, and the guest has sent more than the socket takes. */
static void fill_socket(struct guest *g, uint64_t without)
{
	ck_assert_int_eq(mkfifo(file, 0600), 0);
	passt_power_on(g, "stall", without);
	shrink_socket();
	put_blocks(g, 0);
	wait_used(g, TX, 1);
	ck_assert_uint_lt(used_idx(g, TX), SLOTS);
}

static void let_passt_read(void)
{
	CLEANUP(fd) int fd = open(file, O_WRONLY);

	ck_assert_int_ge(fd, 0);
}

static void take_blocks(struct guest *g, uint32_t first, unsigned count)
{
	for (uint32_t n = 0; n < count; n++)
		take_and_offer_again(g, first + n, BLOCK, BUFFER_BYTES);
}

/* _i: without EVENT_IDX. */
START_TEST(test_full_socket)
{
	struct guest g;

	fill_socket(&g, _i ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0);
	offer_all(&g, RX);
	for (unsigned i = 0; i < 10; i++)
		kick(&g, TX);
	let_passt_read();
	take_blocks(&g, 0, SLOTS);
	wait_used(&g, TX, SLOTS);
	put_blocks(&g, AGAIN);
	take_blocks(&g, AGAIN, SLOTS);
	ck_assert_uint_eq(used_idx(&g, TX), 2 * SLOTS);
	power_off(&g);
}
END_TEST

/* A frame that went out in part is finished, those not begun are lost with the queue. */
START_TEST(test_reset_while_the_socket_is_full)
{
	uint16_t sent;
	struct guest g;

	fill_socket(&g, 0);
	set_status(&g, 0);
	wait_until(&g, status_is, 0);
	sent = used_idx(&g, TX);
	/* Nothing of it may be needed any more. */
	memset(ram(&g, SEND_GPA), 0xff, SLOTS * SEND_BYTES);
	for (unsigned i = 0; i < 3; i++)
		net_drive(&g, g.v->features);
	offer_all(&g, RX);
	put_blocks(&g, AGAIN);
	let_passt_read();
	take_blocks(&g, 0, sent);
	take_blocks(&g, AGAIN, SLOTS);
	ck_assert(link_is(&g, VIRTIO_NET_S_LINK_UP));
	power_off(&g);
}
END_TEST

START_TEST(test_stop_while_the_socket_is_full)
{
	struct guest g;

	fill_socket(&g, 0);
	for (unsigned i = 0; i < 3; i++) {
		net_stop(&g);
		ck_assert_uint_lt(used_idx(&g, TX), SLOTS);
		guest_start(&g);
	}
	offer_all(&g, RX);
	let_passt_read();
	take_blocks(&g, 0, SLOTS);
	power_off(&g);
}
END_TEST

START_TEST(test_power_off_while_the_socket_is_full)
{
	struct guest g;

	fill_socket(&g, 0);
	power_off(&g);
}
END_TEST

/* The end of passt */

/* The guest goes on, and what it sends is lost. */
static void live_without_passt(struct guest *g)
{
	uint64_t dropped = 0;

	ck_assert_uint_eq(generation(g), 1);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(link_is(g, 0));
		put_blocks(g, 0);
		wait_used(g, TX, avail_of(g, TX)->idx);
		ck_assert_uint_gt(counter_of(&g->vm, "net0", "tx_dropped"), dropped);
		dropped = counter_of(&g->vm, "net0", "tx_dropped");
		kick(g, RX);
		net_stop(g);
		guest_start(g);
		net_drive(g, g->v->features);
		offer_all(g, RX);
	}
	ck_assert_uint_eq(used_idx(g, RX), 0);
	ck_assert_uint_eq(status(g), RUNNING);
	/* Nothing is left that keeps a thread awake. */
	atomic_store(&loop_rounds, 0);
	guest_run(g, 100);
	ck_assert_uint_lt(loop_rounds, ROUNDS_MAX);
	power_off(g);
}

static void told_link_down(struct events *ev)
{
	char line[EVENT_BYTES_MAX];
	unsigned n = 0;

	for (uint64_t seq = 0; events_next(ev, &seq, line);)
		n += strstr(line, "\"source\":\"net\",\"event\":\"link-down\"") &&
		     strstr(line, "\"id\":\"net0\"") && strstr(line, "\"reason\":\"");
	ck_assert_uint_eq(n, 1);
}

/* _i: how it ends. */
START_TEST(test_end)
{
	static const char *const ends[] = { "die", "short", "long" };
	struct events *ev = NULL;
	struct guest g;
	struct err e;

	ck_assert_int_eq(events_new(&ev, &e), 0);
	passt_power_on(&g, ends[_i], 0);
	g.vm.events = ev;
	offer_all(&g, RX);
	ck_assert(link_is(&g, VIRTIO_NET_S_LINK_UP));
	send_frame(&g, TX, 0, 60);
	wait_link(&g, 0, 0);
	live_without_passt(&g);
	told_link_down(ev);
	events_free(ev);
}
END_TEST

/* It is seen also by a driver that never has buffers for packets. */
START_TEST(test_end_without_buffers)
{
	struct guest g;

	passt_power_on(&g, "die", 0);
	send_frame(&g, TX, 0, 60);
	wait_link(&g, 0, 0);
	live_without_passt(&g);
}
END_TEST

/* One that does not end when it is told to is ended. */
START_TEST(test_deaf)
{
	struct guest g;

	passt_power_on(&g, "deaf", 0);
	send_frame(&g, TX, 0, 60);
	power_off(&g);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("net_passt");
	TCase *tc = tcase_create("net_passt");

	log_set_level(LOG_ERROR); /* that passt ends is no news here */
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_options_are_checked);
	tcase_add_test(tc, test_too_many_ports);
	tcase_add_test(tc, test_start_fails);
	tcase_add_test(tc, test_start_is_interrupted);
	tcase_add_test(tc, test_arguments);
	tcase_add_loop_test(tc, test_echo, 0, 4);
	tcase_add_loop_test(tc, test_echo_of_extremes, 0, 2);
	tcase_add_test(tc, test_send_nonsense);
	tcase_add_loop_test(tc, test_receive_in_useless_buffers, 0, 2);
	tcase_add_loop_test(tc, test_flood, 0, 2);
	tcase_add_loop_test(tc, test_full_socket, 0, 2);
	tcase_add_test(tc, test_reset_while_the_socket_is_full);
	tcase_add_test(tc, test_stop_while_the_socket_is_full);
	tcase_add_test(tc, test_power_off_while_the_socket_is_full);
	tcase_add_loop_test(tc, test_end, 0, 3);
	tcase_add_test(tc, test_end_without_buffers);
	tcase_add_test(tc, test_deaf);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
