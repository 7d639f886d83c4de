/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <langinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "top_screen.h"
#include "tty.h"

enum { COLUMNS = 80, LINES = 24, PAGE_LINES = 10, CTRL_C = 3, CTRL_Z = 26 };

bool top_screen_is_there(void)
{
	const char *term = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term &&
	       strcmp(term, "dumb");
}

/* Keys */

static void quit(struct top_screen *s, unsigned unused)
{
	(void)unused;
	loop_quit(s->loop);
}

/* As it comes from a terminal that is not in raw mode; src/host/tty.c handles both. */
static void send_signal(struct top_screen *s, unsigned sig)
{
	(void)s;
	raise((int)sig);
}

static void sort(struct top_screen *s, unsigned order)
{
	s->view.order = order;
}

static void toggle_vcpus(struct top_screen *s, unsigned unused)
{
	(void)unused;
	s->view.vcpus = s->view.vcpus_shown ? TOP_VCPUS_OFF : TOP_VCPUS_ON;
}

static void toggle_pause(struct top_screen *s, unsigned unused)
{
	(void)unused;
	s->view.paused = !s->view.paused;
}

static void scroll_up(struct top_screen *s, unsigned lines)
{
	s->view.scroll -= MIN(s->view.scroll, lines);
}

static void scroll_down(struct top_screen *s, unsigned lines)
{
	s->view.scroll += lines;
}

/* Cursor keys as ECMA-48 and as application mode have them. */
static const struct key {
	const char *bytes;
	void (*press)(struct top_screen *, unsigned arg);
	unsigned arg;
} keys[] = {
	{ "q", quit, 0 },
	{ "c", sort, TOP_BY_CPU },
	{ "m", sort, TOP_BY_MEMORY },
	{ "d", sort, TOP_BY_DISK },
	{ "n", sort, TOP_BY_NET },
	{ "v", toggle_vcpus, 0 },
	{ " ", toggle_pause, 0 },
	{ "\033[A", scroll_up, 1 },
	{ "\033OA", scroll_up, 1 },
	{ "\033[B", scroll_down, 1 },
	{ "\033OB", scroll_down, 1 },
	{ "\033[5~", scroll_up, PAGE_LINES },
	{ "\033[6~", scroll_down, PAGE_LINES },
	{ (const char[]){ CTRL_C, 0 }, send_signal, SIGINT },
	{ (const char[]){ CTRL_Z, 0 }, send_signal, SIGTSTP },
};

/* Returns the number of bytes of it. */
static size_t press(struct top_screen *s, const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t len = strlen(keys[i].bytes);

		if (strncmp(text, keys[i].bytes, len))
			continue;
		keys[i].press(s, keys[i].arg);
		return len;
	}
	return 1;
}

static void on_keys(void *arg, uint32_t events)
{
	struct top_screen *s = arg;
	char text[64];
	ssize_t n = read(STDIN_FILENO, text, sizeof(text) - 1);

	(void)events;
	if (n <= 0) {
		if (n == 0 || errno != EINTR)
			loop_quit(s->loop);
		return;
	}
	text[n] = '\0';
	for (ssize_t i = 0; i < n;)
		i += (ssize_t)press(s, text + i);
	s->changed(s->arg);
}

static void on_size(void *arg, uint32_t events)
{
	struct top_screen *s = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(s->size.fd, &info, sizeof(info)) == sizeof(info))
		s->changed(s->arg);
}

/* Pictures */

/* Each line erases what was right of it, the last what was below; nothing is erased before. */
static char *make_frame(const char *picture, size_t *len)
{
	char *frame = NULL;
	FILE *f = open_memstream(&frame, len);

	if (!f)
		return NULL;
	fputs("\033[H", f);
	for (; *picture; picture++) {
		if (*picture == '\n')
			fputs("\033[K\r\n", f);
		else
			fputc(*picture, f);
	}
	fputs("\033[K\033[J", f);
	fclose(f);
	return frame;
}

static void write_all(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0 && errno != EINTR)
			return;
		text += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
	}
}

static void measure(struct top_view *view)
{
	uint16_t columns, lines;

	tty_size(STDOUT_FILENO, &columns, &lines);
	/* What is erased behind a character in the last column is that character. */
	view->columns = MAX(columns ? columns : COLUMNS, 2) - 1;
	view->lines = lines ? lines : LINES;
}

void top_screen_show(struct top_screen *s, struct vm_rates **rows, size_t n)
{
	CLEANUP(free) char *picture = NULL, *frame = NULL;
	size_t len;

	/* In the background it is not ours; from there it comes back without our screen. */
	if (!tty_is_foreground(STDIN_FILENO) || tty_screen(STDIN_FILENO, STDOUT_FILENO))
		return;
	measure(&s->view);
	picture = top_draw(rows, n, &s->view);
	frame = picture ? make_frame(picture, &len) : NULL;
	if (frame)
		write_all(frame, len);
}

int top_screen_open(struct top_screen *s, struct err *e)
{
	int r;

	s->keys = (struct watch){ .fd = STDIN_FILENO, .ready = on_keys, .arg = s };
	s->size = (struct watch){ .fd = tty_watch_size(), .ready = on_size, .arg = s };
	s->view.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	s->view.colour = !getenv("NO_COLOR");
	r = s->size.fd < 0 ? s->size.fd : loop_watch(s->loop, &s->size, EPOLLIN);
	if (!r)
		r = loop_watch(s->loop, &s->keys, EPOLLIN);
	if (!r)
		r = tty_screen(STDIN_FILENO, STDOUT_FILENO);
	return r ? err_set(e, r, "the terminal cannot be used: %s", strerror(-r)) : 0;
}

void top_screen_close(struct top_screen *s)
{
	tty_restore();
	if (s->keys.active)
		loop_unwatch(s->loop, &s->keys);
	if (s->size.active)
		loop_unwatch(s->loop, &s->size);
	if (s->size.arg)
		cleanup_fd(&s->size.fd);
}
