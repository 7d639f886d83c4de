/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a byte stream: terminal, pty, file, socket, or nothing.  A front end such
 * as the UART knows none of them.  Runs on the main loop; output that the host cannot take
 * now is refused, so that the guest waits and nothing is lost; a pty or socket to which
 * nobody is connected takes and drops everything.
 */
#ifndef CHARDEV_H
#define CHARDEV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "loop.h"

enum chardev_mode {
	CHARDEV_OFF,
	CHARDEV_NULL,
	CHARDEV_TTY,
	CHARDEV_PTY,
	CHARDEV_FILE,
	CHARDEV_SOCKET
};
extern const char *const chardev_mode_names[]; /* Off Null Tty Pty File Socket, NULL */

struct chardev_config {
	unsigned mode; /* enum chardev_mode */
	const char *file; /* File: appended to or made; Pty: unused */
	const char *socket; /* Socket: listened on, one client at a time */
};

struct chardev_events {
	/* Bytes for the guest; returns how many it took; the rest is offered again after
	 * chardev_more(). */
	size_t (*received)(void *arg, const uint8_t *, size_t len);
	void (*writable)(void *arg); /* after chardev_write() took less than all */
	void (*leave)(void *arg); /* Ctrl-] q on a terminal */
	/* chardev_size() may say something else now; NULL: of no interest.  A terminal tells when
	 * it changes; a pty does not, so its size is looked at when input comes from it. */
	void (*resized)(void *arg);
	void (*input_over)(void *arg); /* nothing more can come; NULL: of no interest */
	void *arg;
};

struct chardev;

int chardev_new(struct chardev **, const struct chardev_config *, struct loop *,
		const struct chardev_events *, struct err *);
void chardev_free(struct chardev *); /* restores the terminal; NULL is fine */

/* Takes as much as the host does now; returns how much. */
size_t chardev_write(struct chardev *, const uint8_t *, size_t len);
void chardev_more(struct chardev *); /* the front end has room again */
/* Of the terminal or pty, in characters; 0 and 0: not known. */
void chardev_size(const struct chardev *, uint16_t *cols, uint16_t *rows);
const char *chardev_path(const struct chardev *); /* pty or socket path, or NULL */

/* Put the terminal back, if one is in raw mode.  Any thread, and in a signal handler. */
void chardev_restore_terminal(void);

#endif
