/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bits.h"
#include "cleanup.h"
#include "cpu_compat.h"
#include "cpuid.h"
#include "facts.h"
#include "kvm.h"
#include "vcpu.h"

static void read_memory(struct cpu_compat_host *h)
{
	json_auto_t *memory = facts_section("", "memory");
	const json_t *kind;
	size_t i;

	h->free_bytes = (uint64_t)json_integer_value(json_object_get(memory, "available_bytes"));
	json_array_foreach(json_object_get(memory, "huge_pages"), i, kind)
	{
		uint64_t page = (uint64_t)json_integer_value(json_object_get(kind, "page_bytes"));
		uint64_t n = (uint64_t)json_integer_value(json_object_get(kind, "free"));

		if (page == 2 * MIB)
			h->free_2m_bytes = n * page;
		if (page == GIB)
			h->free_1g_bytes = n * page;
	}
}

static int read_features(struct cpu_compat_host *h, int kvm_fd, struct err *e)
{
	struct cpuid c;
	int r = cpuid_supported(kvm_fd, &c, e);

	if (r)
		return r;
	cpu_features_get(&h->features, c.entry, c.nent);
	cpu_features_add(&h->features, CPUID_OWN_FEATURES);
	cpu_vendor(h->vendor, c.entry, c.nent);
	h->phys_bits = kvm_phys_bits();
	return 0;
}

static int read_msrs(struct cpu_compat_host *h, int kvm_fd, struct err *e)
{
	CLEANUP(free) struct kvm_msr_list *list = NULL;
	int r = vcpu_msr_list(kvm_fd, &list, e);

	if (r)
		return r;
	h->msr = calloc(list->nmsrs, sizeof(h->msr[0]));
	if (!h->msr)
		return err_set(e, -ENOMEM, "out of memory");
	h->nmsrs = list->nmsrs;
	memcpy(h->msr, list->indices, h->nmsrs * sizeof(h->msr[0]));
	return 0;
}

static unsigned capability(int fd, int cap)
{
	int value = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	return value > 0 ? (unsigned)value : 0;
}

/* Where the kernel, before Linux 5.17, asks for a vCPU: one of a VM that never runs. */
static int read_tsc_of_vcpu(struct cpu_compat_host *h, int kvm_fd, struct err *e)
{
	CLEANUP(fd) int vm_fd = -1;
	CLEANUP(fd) int vcpu_fd = -1;
	int r = kvm_new_vm(kvm_fd, &vm_fd, e);

	if (r)
		return r;
	vcpu_fd = kvm_ioctl(vm_fd, KVM_CREATE_VCPU, "KVM_CREATE_VCPU", NULL, e);
	if (vcpu_fd < 0)
		return vcpu_fd;
	h->tsc_khz = kvm_tsc_khz(vcpu_fd);
	return 0;
}

static int read_vm(struct cpu_compat_host *h, int kvm_fd, int vm_fd, struct err *e)
{
	h->tsc_scaling = capability(kvm_fd, KVM_CAP_TSC_CONTROL);
	h->xsave_bytes = MAX(capability(vm_fd, KVM_CAP_XSAVE2), sizeof(struct kvm_xsave));
	h->max_vcpus = MIN(capability(vm_fd, KVM_CAP_MAX_VCPUS), CONFIG_VCPUS_MAX);
	for (size_t i = 0; i < ncpu_compat_caps; i++)
		if (capability(vm_fd, cpu_compat_caps[i].cap))
			h->caps |= (uint32_t)BIT(i);
	h->tsc_khz = kvm_tsc_khz(vm_fd);
	return h->tsc_khz ? 0 : read_tsc_of_vcpu(h, kvm_fd, e);
}

int cpu_compat_host_read(struct cpu_compat_host *out, int kvm_fd, int vm_fd, struct err *e)
{
	struct cpu_compat_host h = { 0 };
	int r = read_features(&h, kvm_fd, e);

	if (!r)
		r = read_vm(&h, kvm_fd, vm_fd, e);
	if (!r)
		r = read_msrs(&h, kvm_fd, e);
	if (r)
		return r;
	read_memory(&h);
	*out = h;
	return 0;
}

void cpu_compat_host_free(struct cpu_compat_host *h)
{
	free(h->msr);
	h->msr = NULL;
}
