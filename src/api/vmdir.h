/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of a running VM (rundir.h): holds its name for one process and user. */
#ifndef VMDIR_H
#define VMDIR_H

#include "err.h"

struct vmdir {
	char name[65];
	char path[32]; /* to it, by way of fd: short enough for the address of a socket */
	int parent_fd, fd; /* -1: none */
};

int vmdir_new(struct vmdir *, const char *name, struct err *);
void vmdir_free(struct vmdir *); /* removes it and what is in it */

#endif
