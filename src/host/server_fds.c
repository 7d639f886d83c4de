/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "server_internal.h"

/* false: more than fit, or the kernel had to leave some out. */
static bool keep_fds(struct request *r, struct msghdr *m)
{
	bool all = !(m->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
			if (r->nfds < REQUEST_FDS_MAX) {
				r->fds[r->nfds++] = fd;
			} else {
				close(fd);
				all = false;
			}
		}
	}
	return all;
}

ssize_t request_receive(struct request *r, int fd, void *bytes, size_t size, int *new_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(REQUEST_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = bytes, .iov_len = size };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	unsigned before = r->nfds;
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*new_fds = 0;
	if (n >= 0)
		*new_fds = keep_fds(r, &m) ? (int)(r->nfds - before) : -1;
	return n;
}

void request_close_fds(struct request *r)
{
	for (unsigned i = 0; i < r->nfds; i++)
		if (r->fds[i] >= 0)
			close(r->fds[i]);
	r->nfds = 0;
}
