/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes in order to or from a connection, a pipe or a file: all that is asked for, or an error.
 * A socket is non-blocking and is waited for here; whoever waits can be called off.
 *
 * Any thread; one reads and one writes at a time.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "err.h"

struct tls;

struct channel {
	int fd; /* the caller's */
	struct tls *tls; /* of tls.h; NULL: bytes go as they are */
	int cancel_fd; /* an eventfd; readable: whoever waits gets -ECANCELED; -1: none */
	unsigned silence_ms; /* nothing moves for so long: -ENOTCONN; 0: for ever */
	bool is_file; /* or a pipe: found when the first bytes go */
};

static inline struct channel channel_of(int fd)
{
	return (struct channel){ .fd = fd, .cancel_fd = -1 };
}

/*
 * iov is used up.  -ENOTCONN: the other side, or the way to it, is gone, and may come back.
 * -ECANCELED: called off.  Anything else is final.
 */
int channel_write(struct channel *, struct iovec *iov, int niov, struct err *);
int channel_read(struct channel *, struct iovec *iov, int niov, struct err *);
/* What is there, at least one byte of it; *done says how much.  Else as channel_read(). */
int channel_read_some(struct channel *, void *data, size_t len, size_t *done, struct err *);
/* What was read from fd and not from the channel: poll(2) does not tell of it.  The reader's. */
bool channel_has_buffered(const struct channel *);

/* Says goodbye if there is room for it, and closes fd; fd -1 is fine. */
void channel_close(struct channel *);

#endif
