/* SPDX-License-Identifier: Apache-2.0 */
/* Files that come with a request. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include "server.h"

/* Returns as recv() does, without waiting; *new_fds is how many came, -1: not all could be kept. */
ssize_t request_receive(struct request *, int fd, void *bytes, size_t size, int *new_fds);
void request_close_fds(struct request *);

#endif
