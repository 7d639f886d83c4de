/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to KVM: /dev/kvm opened with what this monitor needs of it, and ioctls that fail
 * with a sentence.  Any thread.
 */
#ifndef KVM_H
#define KVM_H

#include <stdint.h>

#include "err.h"

extern const struct broker_service kvm_service; /* broker.h */

/* Open /dev/kvm; every capability that the machine cannot do without is there. */
int kvm_open(int *fd, struct err *);

/* The two halves of kvm_open(), for who wants to know what else there is. */
int kvm_open_unchecked(int *fd, struct err *);
int kvm_check(int kvm_fd, struct err *);

/* Of a physical address on this host: a guest's has no more. */
uint8_t kvm_phys_bits(void);
/* At what rate the TSC of a vCPU runs, or those of a VM will unless told otherwise, which Linux
 * knows from 5.17 on; 0: KVM does not say. */
uint32_t kvm_tsc_khz(int fd);

int kvm_new_vm(int kvm_fd, int *fd, struct err *);

/* Returns what the ioctl does, or -errno; name: of the request, for the sentence.  Starts over
 * when interrupted: not for KVM_RUN. */
int kvm_ioctl(int fd, unsigned long req, const char *name, void *arg, struct err *);

#endif
