/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recv(2) and send(2) by the calls that also pass file descriptors: where those may be made, no
 * others have to be (sandbox_calls.c).
 */
#ifndef SOCKET_IO_H
#define SOCKET_IO_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/uio.h>

static inline ssize_t socket_receive(int fd, void *data, size_t len, int flags)
{
	struct iovec iov = { data, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return recvmsg(fd, &m, flags);
}

/* A reader that went away is EPIPE and no signal. */
static inline ssize_t socket_send(int fd, const void *data, size_t len, int flags)
{
	struct iovec iov = { (void *)data, len };
	const struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sendmsg(fd, &m, flags | MSG_NOSIGNAL);
}

#endif
