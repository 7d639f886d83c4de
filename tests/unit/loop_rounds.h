/* SPDX-License-Identifier: Apache-2.0 */
/* Counts how often threads other than main go round their loops: one that spins is found out. */
#ifndef LOOP_ROUNDS_H
#define LOOP_ROUNDS_H

#include <stdatomic.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { ROUNDS_MAX = 100 }; /* a thread that spins makes as many within a millisecond or two */

static atomic_uint loop_rounds;

/* In place of the C library's, for the loop under test, too. */
int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	if (gettid() != getpid())
		atomic_fetch_add(&loop_rounds, 1);
	return epoll_pwait(fd, events, max, timeout, NULL);
}

#endif
