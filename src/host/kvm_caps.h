/* SPDX-License-Identifier: Apache-2.0 */
/* KVM's capabilities by name (Linux, Documentation/virt/kvm/api.rst): those that matter to a
 * monitor, and which of them this one cannot do without. */
#ifndef KVM_CAPS_H
#define KVM_CAPS_H

#include <stdbool.h>
#include <stddef.h>

struct kvm_cap {
	int cap;
	const char *name;
	bool needed;
};

extern const struct kvm_cap kvm_caps[];
extern const size_t nkvm_caps;

#endif
