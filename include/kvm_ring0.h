/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who runs ring 0 of a guest, its kernel: the processor, or KVM's instruction emulator, as with
 * back ends that need neither VT-x nor AMD-V.  Found out with a guest of two instructions in
 * a VM of its own.  Any thread, also one that runs a vCPU; takes some milliseconds.
 */
#ifndef KVM_RING0_H
#define KVM_RING0_H

#include "err.h"

enum kvm_ring0 { KVM_RING0_HARDWARE, KVM_RING0_EMULATOR };

/* Fails where not even that guest runs. */
int kvm_ring0(int kvm_fd, enum kvm_ring0 *, struct err *);

/* What KVM_RING0_EMULATOR means, for the end of a sentence. */
#define KVM_RING0_EMULATOR_MEANS                                                                   \
	"this host runs the guest's ring 0 in KVM's emulator, where a stock Linux kernel stops; "  \
	"use a host with VT-x or AMD-V"

#endif
