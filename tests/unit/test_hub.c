/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "chardev_front.h"
#include "hub.h"

enum { LINE_BYTES = 10, RING_LINES = HUB_RING_BYTES / LINE_BYTES };

static struct hub *hub;
static char dir[64], path[80], text[1 << 20];

static int hub_try(const char *run_dir, const char *name, struct err *e)
{
	const struct chardev_config config = { .mode = CHARDEV_NULL };
	const struct chardev_events events = { .received = front_received,
					       .writable = front_writable,
					       .leave = front_leave,
					       .arg = &front };

	return hub_new(&hub, &config, run_dir, name, front.loop, &events, e);
}

static void setup(void)
{
	struct err e;

	strcpy(dir, "/tmp/test_hub.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/port.sock", dir);
	front = (struct front){ .room = SIZE_MAX,
				.limit = { .expired = front_turn, .arg = &front } };
	ck_assert_int_eq(loop_new(&front.loop, &e), 0);
	ck_assert_msg(!hub_try(dir, "port", &e), "%s", e.text);
}

static void teardown(void)
{
	hub_free(hub);
	loop_free(front.loop);
	/* Nothing is left. */
	ck_assert_int_eq(rmdir(dir), 0);
}

static void run(void)
{
	front_run_ms(&front, 5);
}

static void guest_writes(const char *words)
{
	ck_assert_uint_eq(hub_write(hub, (const uint8_t *)words, strlen(words)), strlen(words));
}

static int connected(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, path, sizeof(path));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int attached(const char *role, const char *answer)
{
	int fd = connected();

	ck_assert_int_gt(dprintf(fd, "godwit-console 1 %s\n", role), 0);
	run();
	assert_reads(fd, answer);
	return fd;
}

static void assert_over(int fd)
{
	char byte;

	ck_assert_int_eq(read_some(fd, &byte, 1), 0);
	close(fd);
}

/* What the guest got since it was last asked. */
static void assert_typed(const char *words)
{
	run();
	front.got[front.n] = 0;
	ck_assert_str_eq(front.got, words);
	front.n = 0;
}

/* All that is there for the console now. */
static size_t read_all(int fd)
{
	size_t n = 0;
	ssize_t got;

	do {
		run();
		got = recv(fd, text + n, sizeof(text) - 1 - n, MSG_DONTWAIT);
		n += (size_t)MAX(got, 0);
	} while (got > 0);
	text[n] = 0;
	return n;
}

/* "line 0000\n" and so on. */
static void guest_writes_lines(unsigned from, unsigned to)
{
	char line[16];

	for (unsigned i = from; i < to; i++) {
		snprintf(line, sizeof(line), "line%5u\n", i);
		guest_writes(line);
	}
}

static void assert_lines(const char *at, unsigned from, unsigned to)
{
	char line[16];

	for (unsigned i = from; i < to; i++, at += LINE_BYTES) {
		snprintf(line, sizeof(line), "line%5u\n", i);
		ck_assert_msg(!strncmp(at, line, LINE_BYTES), "%.10s instead of %s", at, line);
	}
	ck_assert_str_eq(at, "");
}

START_TEST(all_see_what_was_and_what_comes)
{
	int first, second;

	guest_writes("before");
	first = attached("watch", "ok watch\nbefore");
	guest_writes(" and after");
	second = attached("watch", "ok watch\nbefore and after");
	guest_writes(", to both");
	run();
	assert_reads(first, " and after, to both");
	assert_reads(second, ", to both");
	/* Last words are delivered, also those of the last moment. */
	guest_writes("bye");
	hub_free(hub);
	hub = NULL;
	assert_reads(first, "bye");
	assert_over(first);
	assert_reads(second, "bye");
	assert_over(second);
}
END_TEST

START_TEST(replay_begins_with_a_line)
{
	int fd;

	/* One byte less than fits: all of it. */
	guest_writes_lines(0, RING_LINES);
	guest_writes("12345");
	fd = attached("watch", "ok watch\n");
	ck_assert_uint_eq(read_all(fd), RING_LINES * LINE_BYTES + 5);
	close(fd);
	/* Just as much as fits. */
	guest_writes("6");
	fd = attached("watch", "ok watch\n");
	ck_assert_uint_eq(read_all(fd), HUB_RING_BYTES);
	close(fd);
	/* One byte of the first line is gone, and so is that line. */
	guest_writes("\n");
	fd = attached("watch", "ok watch\n");
	ck_assert_uint_eq(read_all(fd), HUB_RING_BYTES + 1 - LINE_BYTES);
	ck_assert_int_eq(strncmp(text, "line    1\n", LINE_BYTES), 0);
	close(fd);
}
END_TEST

START_TEST(replay_of_one_long_line)
{
	int fd;

	memset(text, 'x', HUB_RING_BYTES + 1000);
	text[HUB_RING_BYTES + 1000] = 0;
	guest_writes(text);
	fd = attached("watch", "ok watch\n");
	ck_assert_uint_eq(read_all(fd), HUB_RING_BYTES);
	close(fd);
}
END_TEST

START_TEST(slow_console_holds_up_nobody)
{
	enum { LINES = 100000 };
	int slow = attached("watch", "ok watch\n"), quick = attached("type", "ok type\n");
	unsigned first;
	char *mark;

	/* The guest is never refused; who reads gets all. */
	for (unsigned i = 0; i < LINES; i += 1000) {
		guest_writes_lines(i, i + 1000);
		ck_assert_uint_eq(read_all(quick), 1000 * LINE_BYTES);
		assert_lines(text, i, i + 1000);
	}
	/* Who does not gets the first, one note, and the last from the start of a line. */
	read_all(slow);
	mark = strstr(text, "\r\n[godwit: ");
	ck_assert_ptr_nonnull(mark);
	ck_assert_ptr_null(strstr(mark + 5, "[godwit"));
	mark = strstr(mark, "bytes are lost here]\r\n") + strlen("bytes are lost here]\r\n");
	ck_assert_int_eq(sscanf(mark, "line %u", &first), 1);
	ck_assert_uint_le(LINES - first, RING_LINES);
	assert_lines(mark, first, LINES);
	ck_assert_int_eq(strncmp(text, "line    0\n", LINE_BYTES), 0);
	guest_writes("again");
	run();
	assert_reads(slow, "again");
	close(slow);
	close(quick);
}
END_TEST

/* A guest that is quicker than the loop. */
START_TEST(what_comes_at_once_is_not_lost)
{
	enum { LINES = 10000 };
	int fd = attached("watch", "ok watch\n");

	guest_writes_lines(0, LINES);
	ck_assert_uint_eq(read_all(fd), LINES * LINE_BYTES);
	assert_lines(text, 0, LINES);
	close(fd);
}
END_TEST

START_TEST(one_types)
{
	int first = attached("type", "ok type\n"), second = attached("type", "ok watch\n");
	int third = attached("watch", "ok watch\n"), fourth = attached("type", "ok watch\n");

	send_text(second, "dropped");
	send_text(third, "dropped");
	run();
	send_text(first, "hello");
	assert_typed("hello");
	/* Its last words count, and the next in the row types; one that only watches does not. */
	send_text(first, " bye");
	close(first);
	run();
	assert_reads(second, "\r\n[godwit: this console types now]\r\n");
	send_text(second, "!");
	assert_typed(" bye!");
	/* To end its input is to give up typing, not to leave. */
	ck_assert_int_eq(shutdown(second, SHUT_WR), 0);
	assert_idle(&front);
	assert_reads(fourth, "\r\n[godwit: this console types now]\r\n");
	send_text(fourth, "4");
	send_text(third, "3");
	assert_typed("4");
	guest_writes("to all");
	run();
	assert_reads(second, "to all");
	assert_reads(third, "to all");
	assert_reads(fourth, "to all");
	close(fourth);
	close(third);
	run();
	/* Nobody types now, but whoever comes. */
	first = attached("type", "ok type\nto all");
	close(first);
	close(second);
}
END_TEST

START_TEST(take)
{
	int first = attached("take", "ok type\n"), second = attached("take", "ok type\n");

	run();
	assert_reads(first, "\r\n[godwit: another console types now, this one watches]\r\n");
	send_text(first, "dropped");
	run();
	send_text(second, "taken");
	assert_typed("taken");
	close(second);
	run();
	assert_reads(first, "\r\n[godwit: this console types now]\r\n");
	send_text(first, "back");
	assert_typed("back");
	close(first);
}
END_TEST

START_TEST(input_waits_for_the_guest)
{
	enum { MUCH = 150000 };
	int fd = attached("type", "ok type\n"), i;

	front.room = 3;
	for (i = 0; i < MUCH; i++)
		text[i] = (char)('a' + i % 26);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(write(fd, text, MUCH), MUCH);
	run();
	ck_assert_uint_eq(front.n, 3);
	/* More than the host keeps: it is not read, and does not keep the loop busy. */
	assert_idle(&front);
	for (i = 0; i < 10000 && front.n < MUCH; i++) {
		front.room = 1000;
		hub_more(hub);
		run();
	}
	ck_assert_uint_eq(front.n, MUCH);
	for (i = 0; i < MUCH; i++)
		ck_assert_int_eq(front.got[i], 'a' + i % 26);
	close(fd);
}
END_TEST

static const char *const wrong[] = {
	"godwit-console 2 type\n",
	"godwit-console 1 tape\n",
	"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"\n",
	"a line that is longer than any request of a console",
};

START_TEST(wrong_request)
{
	int fd = connected();

	send_text(fd, wrong[_i]);
	run();
	assert_reads(fd, "error this is no request of a console that this VM knows\n");
	assert_over(fd);
	assert_idle(&front);
}
END_TEST

START_TEST(half_a_request)
{
	int whole, half = connected(), ended = connected();

	send_text(half, "godwit-con");
	send_text(ended, "godwit-con");
	ck_assert_int_eq(shutdown(ended, SHUT_WR), 0);
	assert_idle(&front);
	assert_over(ended);
	whole = attached("type", "ok type\n");
	guest_writes("text");
	/* The rest, and what is typed at once. */
	close(whole);
	send_text(half, "sole 1 type\ntyped");
	assert_typed("typed");
	assert_reads(half, "ok type\ntext");
	close(half);
	/* All at once and gone: it was typed nevertheless. */
	whole = connected();
	send_text(whole, "godwit-console 1 type\nblind");
	close(whole);
	assert_typed("blind");
}
END_TEST

START_TEST(too_many)
{
	int fd[HUB_CONSOLES], more;

	for (unsigned i = 0; i < HUB_CONSOLES; i++)
		fd[i] = attached("watch", "ok watch\n");
	more = connected();
	run();
	assert_reads(more, "error too many consoles are attached; leave one of them first\n");
	assert_over(more);
	close(fd[3]);
	run();
	fd[3] = attached("type", "ok type\n");
	for (unsigned i = 0; i < HUB_CONSOLES; i++)
		close(fd[i]);
}
END_TEST

START_TEST(only_the_owner)
{
	struct stat st;
	int fd;

	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	if (geteuid())
		return;
	/* Not even where the directory and the socket let others in; root is the owner here. */
	ck_assert(!chmod(dir, 0755) && !chmod(path, 0666));
	ck_assert_int_eq(seteuid(65534), 0);
	fd = connected();
	ck_assert_int_eq(seteuid(0), 0);
	run();
	assert_reads(fd, "error this VM belongs to another user\n");
	assert_over(fd);
}
END_TEST

START_TEST(no_socket)
{
	struct hub *served = hub;
	char longer[200];
	struct err e;

	/* Without a run directory there is none, and the guest can write. */
	ck_assert_int_eq(hub_try(NULL, "port", &e), 0);
	guest_writes("text");
	hub_free(hub);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	ck_assert_int_eq(hub_try(longer, "port", &e), -ENAMETOOLONG);
	ck_assert_int_eq(hub_try("/nonexistent", "port", &e), -ENOENT);
	/* It is there already: not ours to remove. */
	ck_assert_int_eq(hub_try(dir, "port", &e), -EADDRINUSE);
	ck_assert_int_eq(access(path, F_OK), 0);
	hub = served;
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("hub");
	TCase *t = tcase_create("hub");

	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, all_see_what_was_and_what_comes);
	tcase_add_test(t, replay_begins_with_a_line);
	tcase_add_test(t, replay_of_one_long_line);
	tcase_add_test(t, slow_console_holds_up_nobody);
	tcase_add_test(t, what_comes_at_once_is_not_lost);
	tcase_add_test(t, one_types);
	tcase_add_test(t, take);
	tcase_add_test(t, input_waits_for_the_guest);
	tcase_add_loop_test(t, wrong_request, 0, ARRAY_SIZE(wrong));
	tcase_add_test(t, half_a_request);
	tcase_add_test(t, too_many);
	tcase_add_test(t, only_the_owner);
	tcase_add_test(t, no_socket);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
