/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel_internal.h"

void channel_advance(struct iovec **iov, int *niov, size_t done)
{
	while (*niov && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*niov)--;
	}
	if (*niov) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

int channel_wait(const struct channel *c, int fd, short events, struct err *e)
{
	struct pollfd p[2] = { { .fd = fd, .events = events },
			       { .fd = c->cancel_fd, .events = POLLIN } };
	int n;

	do
		n = poll(p, 2, c->silence_ms ? (int)c->silence_ms : -1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set(e, -errno, "cannot wait for a connection: %s", strerror(errno));
	if (p[1].revents)
		return err_set(e, -ECANCELED, "it was called off");
	if (!n)
		return err_set(e, -ENOTCONN, "the other side was silent for %u s",
			       c->silence_ms / 1000);
	return 0;
}

int channel_failed(const struct channel *c, int error, short events, struct err *e)
{
	const char *what = events == POLLIN ? "read" : "write";

	switch (error) {
	case EINTR:
		return 0;
	case EAGAIN:
		return channel_wait(c, c->fd, events, e);
	case EPIPE:
	case ECONNRESET:
	case ECONNABORTED:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
		return err_set(e, -ENOTCONN, "the connection is lost: %s", strerror(error));
	default:
		return err_set(e, -error, "cannot %s the stream: %s", what, strerror(error));
	}
}

/* By the calls that the sandbox has (socket_io.h), which are for sockets only. */
static ssize_t write_some(struct channel *c, struct iovec *iov, int niov)
{
	const struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)niov };
	ssize_t n;

	if (!c->is_file) {
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
		if (n >= 0 || errno != ENOTSOCK)
			return n;
		c->is_file = true;
	}
	return write(c->fd, iov->iov_base, iov->iov_len);
}

static ssize_t read_some(struct channel *c, struct iovec *iov, int niov)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)niov };
	ssize_t n;

	if (!c->is_file) {
		n = recvmsg(c->fd, &m, 0);
		if (n >= 0 || errno != ENOTSOCK)
			return n;
		c->is_file = true;
	}
	return read(c->fd, iov->iov_base, iov->iov_len);
}

int channel_write(struct channel *c, struct iovec *iov, int niov, struct err *e)
{
	ssize_t n;
	int r = 0;

	if (c->tls)
		return tls_write(c, iov, niov, e);
	channel_advance(&iov, &niov, 0);
	while (!r && niov) {
		n = write_some(c, iov, niov);
		if (n < 0)
			r = channel_failed(c, errno, POLLOUT, e);
		else
			channel_advance(&iov, &niov, (size_t)n);
	}
	return r;
}

/* *done 0: it may be tried again. */
static int read_once(struct channel *c, struct iovec *iov, int niov, size_t *done, struct err *e)
{
	ssize_t n;

	*done = 0;
	if (c->tls)
		return tls_read_some(c, iov->iov_base, iov->iov_len, done, e);
	n = read_some(c, iov, niov);
	if (n < 0)
		return channel_failed(c, errno, POLLIN, e);
	if (n == 0)
		return err_set(e, -ENOTCONN, "the stream is cut short");
	*done = (size_t)n;
	return 0;
}

int channel_read(struct channel *c, struct iovec *iov, int niov, struct err *e)
{
	size_t done;
	int r = 0;

	channel_advance(&iov, &niov, 0);
	while (!r && niov) {
		r = read_once(c, iov, niov, &done, e);
		channel_advance(&iov, &niov, done);
	}
	return r;
}

int channel_read_some(struct channel *c, void *data, size_t len, size_t *done, struct err *e)
{
	struct iovec iov = { data, len };
	int r;

	do
		r = read_once(c, &iov, 1, done, e);
	while (!r && !*done);
	return r;
}

bool channel_has_buffered(const struct channel *c)
{
	return c->tls && tls_has_buffered(c->tls);
}

void channel_close(struct channel *c)
{
	tls_end(c);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}
