/* SPDX-License-Identifier: Apache-2.0 */
/* Says in words which guest instruction KVM could not emulate. */
#ifndef EMULATION_H
#define EMULATION_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

/* run: of an exit with KVM_INTERNAL_ERROR_EMULATION. */
void emulation_explain(const struct kvm_run *run, uint64_t rip, char *text, size_t len);

#endif
