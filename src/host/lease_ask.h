/* SPDX-License-Identifier: Apache-2.0 */
/* One question to a lease server, one line, and its answer, one line too. */
#ifndef LEASE_ASK_H
#define LEASE_ASK_H

#include <stddef.h>
#include <sys/un.h>

#include "err.h"

enum { LEASE_LINE_MAX = 256 };

int lease_address(const char *url, struct sockaddr_un *, struct err *);
/* The line has its newline, the answer, of up to LEASE_LINE_MAX bytes, loses it. */
int lease_ask(const struct sockaddr_un *, const char *line, char answer[LEASE_LINE_MAX],
	      struct err *);

#endif
