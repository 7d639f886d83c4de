/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to KVM: /dev/kvm opened with what this monitor needs of it, and ioctls that fail
 * with a sentence.  Any thread.
 */
#ifndef KVM_H
#define KVM_H

#include "err.h"

/* Open /dev/kvm; every capability that the machine cannot do without is there. */
int kvm_open(int *fd, struct err *);

/* Returns what the ioctl does, or -errno; name: of the request, for the sentence.  Starts over
 * when interrupted: not for KVM_RUN. */
int kvm_ioctl(int fd, unsigned long req, const char *name, void *arg, struct err *);

#endif
