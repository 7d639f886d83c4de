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
#include "command/screen.h"
#include "command/verb.h"
#include "log.h"
#include "tty.h"

enum { COLUMNS = 80, LINES = 24, PAGE_LINES = 10, CTRL_C = 3, CTRL_Z = 26, NS_PER_S = 1000000000 };

bool screen_is_there(void)
{
	const char *term = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term &&
	       strcmp(term, "dumb");
}

int screen_interval(const char *text, uint64_t *ns)
{
	char *end;
	double seconds = text ? strtod(text, &end) : 1;

	if (text && (end == text || *end || !(seconds >= 0.1 && seconds <= 3600))) {
		log_error("--interval must be 0.1 to 3600 seconds, not \"%.64s\"", text);
		return CLI_USAGE;
	}
	*ns = (uint64_t)(seconds * NS_PER_S);
	return CLI_OK;
}

/* Keys */

static void quit(void *arg, unsigned unused)
{
	struct screen *s = arg;

	(void)unused;
	loop_quit(s->loop);
}

/* As it comes from a terminal that is not in raw mode; src/host/tty.c handles both. */
static void send_signal(void *arg, unsigned sig)
{
	(void)arg;
	raise((int)sig);
}

static void scroll_up(void *arg, unsigned lines)
{
	struct screen *s = arg;

	s->scroll -= MIN(s->scroll, lines);
}

static void scroll_down(void *arg, unsigned lines)
{
	((struct screen *)arg)->scroll += lines;
}

/* Cursor keys as ECMA-48 and as application mode have them. */
static const struct screen_key own_keys[] = {
	{ "q", quit, 0 },
	{ "\033[A", scroll_up, 1 },
	{ "\033OA", scroll_up, 1 },
	{ "\033[B", scroll_down, 1 },
	{ "\033OB", scroll_down, 1 },
	{ "\033[5~", scroll_up, PAGE_LINES },
	{ "\033[6~", scroll_down, PAGE_LINES },
	{ (const char[]){ CTRL_C, 0 }, send_signal, SIGINT },
	{ (const char[]){ CTRL_Z, 0 }, send_signal, SIGTSTP },
};

/* Returns the number of bytes of the one that text begins with; 0: none of these. */
static size_t press_one(const struct screen_key *keys, size_t n, void *arg, const char *text)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(keys[i].bytes);

		if (strncmp(text, keys[i].bytes, len))
			continue;
		keys[i].press(arg, keys[i].arg);
		return len;
	}
	return 0;
}

static size_t press(struct screen *s, const char *text)
{
	size_t len = press_one(own_keys, ARRAY_SIZE(own_keys), s, text);

	if (!len)
		len = press_one(s->keys, s->nkeys, s->arg, text);
	return MAX(len, 1U);
}

static void on_keys(void *arg, uint32_t events)
{
	struct screen *s = arg;
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
	struct screen *s = arg;
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

bool screen_begin(struct screen *s)
{
	uint16_t columns, lines;

	/* In the background it is not ours; from there it comes back without our screen. */
	if (!tty_is_foreground(STDIN_FILENO) || tty_screen(STDIN_FILENO, STDOUT_FILENO))
		return false;
	tty_size(STDOUT_FILENO, &columns, &lines);
	/* What is erased behind a character in the last column is that character. */
	s->columns = MAX(columns ? columns : COLUMNS, 2) - 1;
	s->lines = lines ? lines : LINES;
	return true;
}

void screen_show(const char *picture)
{
	CLEANUP(free) char *frame = NULL;
	size_t len;

	frame = picture ? make_frame(picture, &len) : NULL;
	if (frame)
		write_all(frame, len);
}

int screen_open(struct screen *s, struct err *e)
{
	int r;

	s->input = (struct watch){ .fd = STDIN_FILENO, .ready = on_keys, .arg = s };
	s->size = (struct watch){ .fd = tty_watch_size(), .ready = on_size, .arg = s };
	s->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	s->colour = !getenv("NO_COLOR");
	r = s->size.fd < 0 ? s->size.fd : loop_watch(s->loop, &s->size, EPOLLIN);
	if (!r)
		r = loop_watch(s->loop, &s->input, EPOLLIN);
	if (!r)
		r = tty_screen(STDIN_FILENO, STDOUT_FILENO);
	return r ? err_set(e, r, "the terminal cannot be used: %s", strerror(-r)) : 0;
}

void screen_close(struct screen *s)
{
	tty_restore();
	if (s->input.active)
		loop_unwatch(s->loop, &s->input);
	if (s->size.active)
		loop_unwatch(s->loop, &s->size);
	if (s->size.arg)
		cleanup_fd(&s->size.fd);
}
