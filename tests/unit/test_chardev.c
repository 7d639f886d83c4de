/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "chardev_front.h"

/* Fill the host until it refuses; returns how much it took. */
static size_t front_fill(struct front *f)
{
	uint8_t data[1024];
	size_t total = 0, n;

	do {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)((total + i) * 31 >> 3);
		n = chardev_write(f->host, data, sizeof(data));
		total += n;
		ck_assert_uint_lt(total, BUFFER);
	} while (n == sizeof(data));
	ck_assert_uint_eq(chardev_write(f->host, data, 1), 0);
	return total;
}

static void assert_filled(struct front *f, int fd, size_t total)
{
	uint8_t data[1024];
	size_t at = 0;

	ck_assert_uint_eq(f->writable, 0);
	while (at < total) {
		ssize_t n = read(fd, data, sizeof(data));

		ck_assert_int_gt(n, 0);
		for (ssize_t i = 0; i < n; i++)
			ck_assert_uint_eq(data[i], (uint8_t)((at + (size_t)i) * 31 >> 3));
		at += (size_t)n;
	}
	front_run_ms(f, 5);
	ck_assert_uint_eq(f->writable, 1);
	ck_assert_uint_eq(front_write(f, "end"), 3);
	assert_reads(fd, "end");
}

/* No terminal */

static void use_as(int fd, int target)
{
	ck_assert_int_eq(dup2(fd, target), target);
	close(fd);
}

START_TEST(null_takes_all)
{
	uint16_t cols = 1, rows = 1;

	front_open(&front, (struct chardev_config){ .mode = CHARDEV_NULL });
	ck_assert_uint_eq(front_write(&front, "abc"), 3);
	chardev_more(front.host);
	chardev_size(front.host, &cols, &rows);
	ck_assert_uint_eq(cols | rows, 0);
	ck_assert_ptr_null(chardev_path(front.host));
	assert_idle(&front);
	front_close(&front);
}
END_TEST

START_TEST(pipes_for_terminals)
{
	int in[2], out[2];

	ck_assert(!pipe(in) && !pipe(out));
	use_as(in[0], STDIN_FILENO);
	use_as(out[1], STDOUT_FILENO);
	front_open(&front, (struct chardev_config){ .mode = CHARDEV_TTY });
	ck_assert_uint_eq(front_write(&front, "x\ny"), 3);
	assert_reads(out[0], "x\ny");
	/* Without a terminal there are no commands. */
	front.room = 2;
	send_text(in[1], "ab\x1dq");
	front_run_ms(&front, 2);
	ck_assert_uint_eq(front.n, 2);
	assert_idle(&front);
	front.room = SIZE_MAX;
	chardev_more(front.host);
	ck_assert_str_eq(front.got, "ab\x1dq");
	ck_assert(!front.left);
	/* While the guest takes nothing, the end of input waits. */
	front.room = 0;
	send_text(in[1], "cd");
	front_run_ms(&front, 2);
	close(in[1]);
	assert_idle(&front);
	front.room = SIZE_MAX;
	chardev_more(front.host);
	ck_assert_str_eq(front.got, "ab\x1dqcd");
	assert_idle(&front);
	chardev_more(front.host);
	ck_assert_int_eq(fcntl(out[0], F_GETFL) & O_NONBLOCK, 0);
	assert_filled(&front, out[0], front_fill(&front));
	/* Nobody reads any more. */
	close(out[0]);
	ck_assert_uint_eq(front_write(&front, "lost"), 4);
	front_close(&front);
}
END_TEST

START_TEST(inherited_pipes_stay_blocking)
{
	int in[2], out[2];

	ck_assert(!socketpair(AF_UNIX, SOCK_STREAM, 0, in) &&
		  !socketpair(AF_UNIX, SOCK_STREAM, 0, out));
	/* Sockets cannot be opened again: here they are looked at before each transfer. */
	use_as(in[0], STDIN_FILENO);
	use_as(out[1], STDOUT_FILENO);
	front_open(&front, (struct chardev_config){ .mode = CHARDEV_TTY });
	send_text(in[1], "hello");
	front_run_ms(&front, 2);
	ck_assert_str_eq(front.got, "hello");
	assert_filled(&front, out[0], front_fill(&front));
	ck_assert_int_eq(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, 0);
	close(in[1]);
	assert_idle(&front);
	front_close(&front);
	ck_assert_int_eq(fcntl(STDIN_FILENO, F_GETFD), 0);
}
END_TEST

START_TEST(standard_input_is_a_file)
{
	char path[] = "/tmp/test_chardev.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_eq(unlink(path), 0);
	for (unsigned i = 0; i < 20000; i++)
		send_text(fd, "0123456789");
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	use_as(fd, STDIN_FILENO);
	front_open(&front, (struct chardev_config){ .mode = CHARDEV_TTY });
	front.room = 5;
	chardev_more(front.host);
	ck_assert_uint_eq(front.n, 5);
	assert_idle(&front);
	ck_assert_uint_eq(front.n, 5);
	while (front.n < 200000) {
		front.room = 1000;
		chardev_more(front.host);
		ck_assert_uint_eq(front.room, front.n < 200000 ? 0 : 5);
	}
	for (unsigned i = 0; i < 200000; i++)
		ck_assert_int_eq(front.got[i], '0' + (int)i % 10);
	chardev_more(front.host);
	assert_idle(&front);
	front_close(&front);
}
END_TEST

static const char *const odd_inputs[] = { "/dev/null", "/dev/zero", "/", NULL };

START_TEST(odd_standard_input)
{
	int fd = odd_inputs[_i] ? open(odd_inputs[_i], O_RDONLY) : -1;

	close(STDIN_FILENO);
	if (fd >= 0)
		use_as(fd, STDIN_FILENO);
	front_open(&front, (struct chardev_config){ .mode = CHARDEV_TTY });
	front.room = 100;
	chardev_more(front.host);
	assert_idle(&front);
	ck_assert_uint_eq(front.n, _i == 1 ? 100 : 0);
	front_close(&front);
}
END_TEST

START_TEST(standard_output_is_a_file)
{
	char path[] = "/tmp/test_chardev.XXXXXX", data[32] = { 0 };
	int fd = mkstemp(path), saved = dup(STDOUT_FILENO);

	ck_assert_int_eq(unlink(path), 0);
	send_text(fd, "before ");
	ck_assert_int_eq(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
	front_open(&front, (struct chardev_config){ .mode = CHARDEV_TTY });
	ck_assert_uint_eq(front_write(&front, "after"), 5);
	front_close(&front);
	use_as(saved, STDOUT_FILENO);
	ck_assert_int_eq(pread(fd, data, sizeof(data), 0), 12);
	ck_assert_str_eq(data, "before after");
	close(fd);
}
END_TEST

/* Pty */

static int pty_other_end(void)
{
	int fd = open(chardev_path(front.host), O_RDWR | O_NOCTTY);

	ck_assert_int_ge(fd, 0);
	return fd;
}

START_TEST(pty)
{
	struct termios t;
	int fd;

	front_open(&front, (struct chardev_config){ .mode = CHARDEV_PTY });
	assert_idle(&front);
	ck_assert_uint_eq(front_write(&front, "nobody hears"), 12);
	for (unsigned i = 1; i <= 3; i++) {
		fd = pty_other_end();
		ck_assert_int_eq(tcgetattr(fd, &t), 0);
		ck_assert_uint_eq(t.c_lflag & (ECHO | ICANON), 0);
		ck_assert_uint_eq(front_write(&front, "hello\n"), 6);
		assert_reads(fd, "hello\n");
		send_text(fd, "abc");
		front_run_ms(&front, 2);
		send_text(fd, "\x1dq");
		front_run_ms(&front, 2);
		ck_assert_uint_eq(front.n, 5 * i);
		ck_assert_mem_eq(front.got + front.n - 5, "abc\x1dq", 5);
		assert_idle(&front);
		close(fd);
		assert_idle(&front);
		ck_assert_uint_eq(front_write(&front, "nobody hears"), 12);
	}
	front_close(&front);
}
END_TEST

START_TEST(pty_has_the_size_that_its_user_gives_it)
{
	struct winsize w = { .ws_col = 132, .ws_row = 43 };
	uint16_t cols = 1, rows = 1;
	int fd;

	front_open(&front, (struct chardev_config){ .mode = CHARDEV_PTY });
	chardev_size(front.host, &cols, &rows);
	ck_assert_uint_eq(cols | rows, 0);
	fd = pty_other_end();
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(ioctl(fd, TIOCSWINSZ, &w), 0);
		send_text(fd, "x");
		front_run_ms(&front, 2);
		ck_assert_uint_eq(front.cols, w.ws_col);
		ck_assert_uint_eq(front.rows, w.ws_row);
		w.ws_col = 80;
		w.ws_row = 24;
	}
	close(fd);
	front_close(&front);
}
END_TEST

START_TEST(pty_in_both_directions_waits)
{
	char data[7000];
	size_t total;
	int fd;

	front_open(&front, (struct chardev_config){ .mode = CHARDEV_PTY });
	fd = pty_other_end();
	front.room = 10;
	memset(data, 'x', sizeof(data));
	ck_assert_int_eq(write(fd, data, sizeof(data)), sizeof(data));
	front_run_ms(&front, 2);
	ck_assert_uint_eq(front.n, 10);
	assert_idle(&front);
	front.room = SIZE_MAX;
	chardev_more(front.host);
	front_run_ms(&front, 2);
	ck_assert_uint_eq(front.n, sizeof(data));
	/* More than is read at once, without anything new to tell of the rest */
	ck_assert_int_eq(write(fd, data, sizeof(data)), sizeof(data));
	front_run_ms(&front, 5);
	ck_assert_uint_eq(front.n, 2 * sizeof(data));
	total = front_fill(&front);
	assert_filled(&front, fd, total);
	/* The reader goes away while output waits. */
	front_fill(&front);
	close(fd);
	front_run_ms(&front, 5);
	ck_assert_uint_eq(front.writable, 2);
	ck_assert_uint_eq(front_write(&front, "lost"), 4);
	assert_idle(&front);
	front_close(&front);
}
END_TEST

/* File */

START_TEST(file_is_appended_to)
{
	char path[] = "/tmp/test_chardev.XXXXXX", data[32] = { 0 };
	struct chardev_config config = { .mode = CHARDEV_FILE, .file = path };
	int fd = mkstemp(path);

	for (unsigned i = 0; i < 2; i++) {
		front_open(&front, config);
		ck_assert_uint_eq(front_write(&front, "boot\n"), 5);
		ck_assert_ptr_null(chardev_path(front.host));
		assert_idle(&front);
		front_close(&front);
		if (!i)
			ck_assert_int_eq(read(fd, data, sizeof(data)), 5);
	}
	ck_assert_int_eq(pread(fd, data, sizeof(data), 0), 10);
	ck_assert_str_eq(data, "boot\nboot\n");
	close(fd);
	unlink(path);
	front_open(&front, config);
	front_close(&front);
	ck_assert_int_eq(access(path, F_OK), 0);
	unlink(path);
}
END_TEST

START_TEST(full_file_loses_output)
{
	front_open(&front, (struct chardev_config){ .mode = CHARDEV_FILE, .file = "/dev/full" });
	ck_assert_uint_eq(front_write(&front, "lost"), 4);
	ck_assert_uint_eq(front_write(&front, "lost"), 4);
	assert_idle(&front);
	front_close(&front);
}
END_TEST

/* Socket */

static char dir[32], path[64];

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test_chardev.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
}

static void remove_dir(void)
{
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct chardev_config at_path(void)
{
	return (struct chardev_config){ .mode = CHARDEV_SOCKET, .socket = path };
}

static struct sockaddr_un address(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, path, sizeof(path));
	return a;
}

static int connected(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = address();

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

START_TEST(socket_serves_one_client_at_a_time)
{
	int a, b;

	front_open(&front, at_path());
	ck_assert_str_eq(chardev_path(front.host), path);
	ck_assert_uint_eq(front_write(&front, "nobody hears"), 12);
	a = connected();
	front_run_ms(&front, 2);
	b = connected();
	send_text(b, "from b");
	send_text(a, "from a, ");
	front_run_ms(&front, 2);
	ck_assert_str_eq(front.got, "from a, ");
	ck_assert_uint_eq(front_write(&front, "to a"), 4);
	assert_reads(a, "to a");
	assert_idle(&front);
	close(a);
	front_run_ms(&front, 2);
	ck_assert_str_eq(front.got, "from a, from b");
	ck_assert_uint_eq(front_write(&front, "to b"), 4);
	assert_reads(b, "to b");
	/* It may end its input and go on listening. */
	ck_assert_int_eq(shutdown(b, SHUT_WR), 0);
	assert_idle(&front);
	chardev_more(front.host);
	ck_assert_uint_eq(front_write(&front, "still"), 5);
	assert_reads(b, "still");
	close(b);
	assert_idle(&front);
	ck_assert_uint_eq(front_write(&front, "nobody hears"), 12);
	front_close(&front);
	remove_dir();
}
END_TEST

START_TEST(socket_in_both_directions_waits)
{
	char data[20000];
	int a, b;

	front_open(&front, at_path());
	a = connected();
	front_run_ms(&front, 2);
	front.room = 10;
	memset(data, 'x', sizeof(data));
	ck_assert_int_eq(write(a, data, sizeof(data)), sizeof(data));
	front_run_ms(&front, 2);
	ck_assert_uint_eq(front.n, 10);
	assert_idle(&front);
	assert_filled(&front, a, front_fill(&front));
	/* Gone, with output and input waiting: the next one is served, nothing sent is lost. */
	front_fill(&front);
	close(a);
	front_run_ms(&front, 5);
	ck_assert_uint_eq(front.writable, 2);
	ck_assert_uint_eq(front_write(&front, "nobody hears"), 12);
	b = connected();
	send_text(b, "y");
	assert_idle(&front);
	ck_assert_uint_eq(front.n, 10);
	front.room = SIZE_MAX;
	chardev_more(front.host);
	front_run_ms(&front, 2);
	ck_assert_uint_eq(front.n, sizeof(data) + 1);
	ck_assert_int_eq(front.got[sizeof(data)], 'y');
	close(b);
	front_close(&front);
	remove_dir();
}
END_TEST

START_TEST(socket_of_the_dead_is_replaced)
{
	struct sockaddr_un a = address();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct err e;

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 0), 0);
	for (unsigned i = 0; i < 2; i++) {
		/* The second time its queue is full. */
		ck_assert_int_eq(front_try(&front, at_path(), &e), -EADDRINUSE);
		ck_assert_ptr_nonnull(strstr(e.text, " is in use by another process; choose"));
		loop_free(front.loop);
	}
	close(fd);
	ck_assert_int_eq(access(path, F_OK), 0);
	front_open(&front, at_path());
	close(connected());
	front_close(&front);
	ck_assert_int_eq(access(path, F_OK), -1);
	remove_dir();
}
END_TEST

START_TEST(socket_refuses_other_files)
{
	struct chardev_config config = at_path();
	char text[200];
	struct err e;
	int fd = open(path, O_CREAT | O_RDWR, 0600);

	ck_assert_int_eq(front_try(&front, config, &e), -EEXIST);
	ck_assert_ptr_nonnull(strstr(e.text, "is not a socket"));
	loop_free(front.loop);
	close(fd);
	ck_assert_int_eq(unlink(path), 0);
	memset(text, 'x', sizeof(text));
	text[199] = 0;
	config.socket = text;
	ck_assert_int_eq(front_try(&front, config, &e), -ENAMETOOLONG);
	loop_free(front.loop);
	config.socket = NULL;
	ck_assert_int_eq(front_try(&front, config, &e), -EINVAL);
	loop_free(front.loop);
	config.socket = "/nonexistent/socket";
	ck_assert_int_eq(front_try(&front, config, &e), -ENOENT);
	loop_free(front.loop);
	remove_dir();
}
END_TEST

START_TEST(socket_leaves_a_successor_alone)
{
	struct sockaddr_un a = address();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	front_open(&front, at_path());
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	front_close(&front);
	ck_assert_int_eq(unlink(path), 0);
	close(fd);
	remove_dir();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("chardev");
	TCase *t = tcase_create("streams"), *sockets = tcase_create("sockets");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, null_takes_all);
	tcase_add_test(t, pipes_for_terminals);
	tcase_add_test(t, inherited_pipes_stay_blocking);
	tcase_add_test(t, standard_input_is_a_file);
	tcase_add_loop_test(t, odd_standard_input, 0, ARRAY_SIZE(odd_inputs));
	tcase_add_test(t, standard_output_is_a_file);
	tcase_add_test(t, pty);
	tcase_add_test(t, pty_has_the_size_that_its_user_gives_it);
	tcase_add_test(t, pty_in_both_directions_waits);
	tcase_add_test(t, file_is_appended_to);
	tcase_add_test(t, full_file_loses_output);
	suite_add_tcase(s, t);
	tcase_set_timeout(sockets, 30);
	tcase_add_checked_fixture(sockets, make_dir, NULL);
	tcase_add_test(sockets, socket_serves_one_client_at_a_time);
	tcase_add_test(sockets, socket_in_both_directions_waits);
	tcase_add_test(sockets, socket_of_the_dead_is_replaced);
	tcase_add_test(sockets, socket_refuses_other_files);
	tcase_add_test(sockets, socket_leaves_a_successor_alone);
	suite_add_tcase(s, sockets);
	return s;
}

CHECK_MAIN(suite)
