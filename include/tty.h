/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal on standard input: raw mode, and the way back from it whatever ends the
 * process (exit, a fatal signal, a stop by job control).  There is one terminal per process.
 */
#ifndef TTY_H
#define TTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Reads and writes are ours: we are its foreground process group, or it has none. */
bool tty_is_foreground(int fd);
/* Before a sandbox: asks what is asked for in it no more, the process's group, and has what
 * tty_watch_size() gives away the first time. */
void tty_prepare(void);

/* Enter raw mode, unless it is on already.  fd stays the caller's and open until tty_restore().
 * Call in the foreground only. */
int tty_raw(int fd);
/* The same, and screen_fd, which is that terminal, shows an empty screen until tty_restore(). */
int tty_screen(int fd, int screen_fd);
/* Leave raw mode, if it is on.  Any thread, and in a signal handler. */
void tty_restore(void);

/* A descriptor that can be read after the terminal's size changed; blocks SIGWINCH, which only
 * comes this way then.  -errno. */
int tty_watch_size(void);
/* Of the terminal or pty at fd, in characters; 0 and 0: not known. */
void tty_size(int fd, uint16_t *cols, uint16_t *rows);

/* Ctrl-] begins a command: q leaves, a second Ctrl-] is sent, any other key is sent with it. */
struct tty_keys {
	bool commanded; /* the last key was Ctrl-] */
};

/* Take the commands out of in; out has room for len + 1.  Returns the number of bytes in out;
 * sets *leave and stops there at Ctrl-] q. */
size_t tty_filter(struct tty_keys *, const uint8_t *in, size_t len, uint8_t *out, bool *leave);

/* Another description of the terminal or pipe at fd: non-blocking, which the inherited one must
 * not become, because whoever shares it would notice.  -1: it cannot be had. */
int tty_reopen(int fd, int flags);

/* The master of a new pty, non-blocking; its other end, at path, is raw and not open. */
int tty_pty_open(int *master, char *path, size_t len, struct err *);

#endif
