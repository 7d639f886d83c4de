/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "chardev_front.h"
#include "tty.h"

START_TEST(filter)
{
	struct tty_keys k = { 0 };
	uint8_t out[16];
	bool leave = false;

	ck_assert_uint_eq(tty_filter(&k, (const uint8_t *)"a\x1d", 2, out, &leave), 1);
	ck_assert_uint_eq(tty_filter(&k, (const uint8_t *)"\x1d q", 3, out, &leave), 3);
	ck_assert_mem_eq(out, "\x1d q", 3);
	ck_assert_uint_eq(tty_filter(&k, (const uint8_t *)"\x1dxq\x1d", 4, out, &leave), 3);
	ck_assert_mem_eq(out, "\x1dxq", 3);
	ck_assert(!leave);
	ck_assert_uint_eq(tty_filter(&k, (const uint8_t *)"qrs", 3, out, &leave), 0);
	ck_assert(leave);
}
END_TEST

/* Terminal: the test is its other end, a child has it as standard input and output. */

struct terminal {
	int master, slave;
	struct termios modes;
	pid_t child;
};

enum child_kind { CHILD_ECHO, CHILD_DEAF, CHILD_EXITS, CHILD_SURVIVES, CHILD_MEASURES };

/* Says how large the terminal is whenever that changes. */
static void child_measures(void)
{
	char text[32];

	for (;;) {
		unsigned before = front.resized;

		while (front.resized == before)
			front_run_ms(&front, 1);
		snprintf(text, sizeof(text), "%ux%u ", front.cols, front.rows);
		front_write(&front, text);
	}
}

/* Says R when it is ready, and what comes; leaves with status 7. */
static void child_main(enum child_kind kind)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Without the test runner's own handlers */
	for (int sig = 1; sig < SIGRTMIN; sig++)
		signal(sig, SIG_DFL);
	if (kind == CHILD_SURVIVES)
		signal(SIGHUP, SIG_IGN);
	front_open(&front, (struct chardev_config){ .mode = CHARDEV_TTY });
	front.echo = kind == CHILD_ECHO;
	front.room = kind == CHILD_DEAF ? 0 : SIZE_MAX;
	front_write(&front, "R");
	if (kind == CHILD_EXITS)
		exit(3);
	if (kind == CHILD_MEASURES)
		child_measures();
	front_run_ms(&front, kind == CHILD_SURVIVES ? 500 : 30000);
	chardev_free(front.host);
	_exit(front.left ? 7 : 8);
}

static void terminal_open(struct terminal *t, enum child_kind kind)
{
	ck_assert_int_eq(openpty(&t->master, &t->slave, NULL, NULL, NULL), 0);
	ck_assert_int_eq(tcgetattr(t->slave, &t->modes), 0);
	t->child = fork();
	if (!t->child) {
		close(t->master);
		setsid();
		ioctl(t->slave, TIOCSCTTY, 0);
		dup2(t->slave, STDIN_FILENO);
		dup2(t->slave, STDOUT_FILENO);
		child_main(kind);
	}
	assert_reads(t->master, "R");
}

static bool is_raw(const struct terminal *t)
{
	struct termios now;

	ck_assert_int_eq(tcgetattr(t->slave, &now), 0);
	if (now.c_lflag == t->modes.c_lflag && now.c_iflag == t->modes.c_iflag &&
	    now.c_oflag == t->modes.c_oflag)
		return false;
	ck_assert_uint_eq(now.c_lflag & (ICANON | ECHO | ISIG), 0);
	ck_assert_uint_eq(now.c_oflag & OPOST, 0);
	return true;
}

static void await_raw(const struct terminal *t)
{
	for (unsigned i = 0; i < 300 && !is_raw(t); i++)
		usleep(10000);
	ck_assert(is_raw(t));
}

static int terminal_status(struct terminal *t)
{
	int status;

	ck_assert_int_eq(waitpid(t->child, &status, 0), t->child);
	return status;
}

static void terminal_close(struct terminal *t, int expected)
{
	int status = terminal_status(t);

	ck_assert_int_eq(status, expected);
	ck_assert(!is_raw(t));
	close(t->master);
	close(t->slave);
}

START_TEST(terminal_is_raw_until_left)
{
	struct terminal t;

	terminal_open(&t, CHILD_ECHO);
	ck_assert(is_raw(&t));
	send_text(t.master, "a\r\n\x03");
	assert_reads(t.master, "a\r\n\x03");
	send_text(t.master, "\x1d\x1d");
	assert_reads(t.master, "\x1d");
	send_text(t.master, "\x1d");
	send_text(t.master, "x");
	assert_reads(t.master, "\x1dx");
	send_text(t.master, "q\x1d");
	assert_reads(t.master, "q");
	send_text(t.master, "q");
	terminal_close(&t, 7 << 8);
}
END_TEST

START_TEST(terminal_is_resized)
{
	struct winsize w = { .ws_col = 100, .ws_row = 30 };
	struct terminal t;

	terminal_open(&t, CHILD_MEASURES);
	ck_assert_int_eq(ioctl(t.master, TIOCSWINSZ, &w), 0);
	assert_reads(t.master, "100x30 ");
	w.ws_col = 90;
	ck_assert_int_eq(ioctl(t.master, TIOCSWINSZ, &w), 0);
	assert_reads(t.master, "90x30 ");
	kill(t.child, SIGTERM);
	ck_assert_int_eq(terminal_status(&t), SIGTERM);
	close(t.master);
	close(t.slave);
}
END_TEST

START_TEST(deaf_guest_can_be_left)
{
	struct terminal t;
	char data[1000];

	memset(data, 'x', sizeof(data));
	terminal_open(&t, CHILD_DEAF);
	for (unsigned i = 0; i < 200; i++)
		ck_assert_int_eq(write(t.master, data, sizeof(data)), sizeof(data));
	send_text(t.master, "\x1dq");
	terminal_close(&t, 7 << 8);
}
END_TEST

START_TEST(exit_restores_terminal)
{
	struct terminal t;

	terminal_open(&t, CHILD_EXITS);
	terminal_close(&t, 3 << 8);
}
END_TEST

static const int fatal[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT };

START_TEST(fatal_signal_restores_terminal)
{
	struct terminal t;
	int status;

	terminal_open(&t, CHILD_ECHO);
	ck_assert(is_raw(&t));
	kill(t.child, fatal[_i]);
	status = terminal_status(&t);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), fatal[_i]);
	ck_assert(!is_raw(&t));
}
END_TEST

START_TEST(stop_and_continue)
{
	struct terminal t;
	int status;

	terminal_open(&t, CHILD_ECHO);
	kill(t.child, SIGTSTP);
	ck_assert_int_eq(waitpid(t.child, &status, WUNTRACED), t.child);
	ck_assert(WIFSTOPPED(status));
	ck_assert(!is_raw(&t));
	kill(t.child, SIGCONT);
	await_raw(&t);
	send_text(t.master, "a");
	assert_reads(t.master, "a");
	/* Whatever somebody else did to the modes meanwhile */
	kill(t.child, SIGSTOP);
	ck_assert_int_eq(waitpid(t.child, &status, WUNTRACED), t.child);
	tcsetattr(t.slave, TCSANOW, &t.modes);
	kill(t.child, SIGCONT);
	await_raw(&t);
	send_text(t.master, "\x1dq");
	terminal_close(&t, 7 << 8);
}
END_TEST

START_TEST(hangup_is_the_end_of_input)
{
	struct rusage usage;
	struct terminal t;
	int status;

	terminal_open(&t, CHILD_SURVIVES);
	close(t.slave);
	close(t.master);
	ck_assert_int_eq(wait4(t.child, &status, 0, &usage), t.child);
	ck_assert_int_eq(status, 8 << 8);
	ck_assert_int_eq(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec, 0);
	ck_assert_int_lt(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec, 200000);
}
END_TEST

/* The leader of the session, in the foreground, with the child in the background. */
static void session_main(struct terminal *t, int orders)
{
	char order;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(t->master);
	setsid();
	ioctl(t->slave, TIOCSCTTY, 0);
	t->child = fork();
	if (!t->child) {
		setpgid(0, 0);
		dup2(t->slave, STDIN_FILENO);
		dup2(t->slave, STDOUT_FILENO);
		child_main(CHILD_ECHO);
	}
	setpgid(t->child, t->child);
	signal(SIGTTOU, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	while (read(orders, &order, 1) == 1)
		tcsetpgrp(t->slave, order == 'f' ? t->child : getpgrp());
	_exit(terminal_status(t) >> 8);
}

START_TEST(background)
{
	struct terminal t;
	int orders[2];

	ck_assert_int_eq(openpty(&t.master, &t.slave, NULL, NULL, NULL), 0);
	t.modes = (struct termios){ 0 };
	tcgetattr(t.slave, &t.modes);
	t.modes.c_lflag |= TOSTOP; /* output from the background stops a process */
	tcsetattr(t.slave, TCSANOW, &t.modes);
	ck_assert_int_eq(pipe(orders), 0);
	t.child = fork();
	if (!t.child) {
		close(orders[1]);
		session_main(&t, orders[0]);
	}
	assert_reads(t.master, "R");
	ck_assert(!is_raw(&t));
	send_text(t.master, "x"); /* for the foreground */
	assert_reads(t.master, "x"); /* the terminal's own echo */
	usleep(1300000);
	ck_assert(!is_raw(&t));
	send_text(orders[1], "f");
	await_raw(&t);
	send_text(t.master, "y");
	assert_reads(t.master, "xy");
	/* Sent to the background while raw: what is typed is not read, nor are modes changed. */
	send_text(orders[1], "b");
	usleep(100000);
	send_text(t.master, "z");
	usleep(100000);
	send_text(orders[1], "f");
	assert_reads(t.master, "z");
	close(orders[1]);
	send_text(t.master, "\x1dq");
	terminal_close(&t, 7 << 8);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("tty");
	TCase *t = tcase_create("terminal");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, filter);
	tcase_add_test(t, terminal_is_raw_until_left);
	tcase_add_test(t, terminal_is_resized);
	tcase_add_test(t, deaf_guest_can_be_left);
	tcase_add_test(t, exit_restores_terminal);
	tcase_add_loop_test(t, fatal_signal_restores_terminal, 0, ARRAY_SIZE(fatal));
	tcase_add_test(t, stop_and_continue);
	tcase_add_test(t, hangup_is_the_end_of_input);
	tcase_add_test(t, background);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
