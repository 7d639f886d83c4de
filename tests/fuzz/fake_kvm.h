/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A KVM in which no guest ever runs, for machines that are built and not started: ioctl() answers
 * for it, and what is opened at /dev/kvm may be any file. It has four vCPUs to a VM and every
 * feature of the leaves that it knows but avx512_4vnniw. The rest of what it is told it takes and
 * forgets.
 */
#ifndef FAKE_KVM_H
#define FAKE_KVM_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bits.h"

enum { FAKE_VCPUS = 4, FAKE_RUN_BYTES = 12 << 10, FAKE_XSAVE_BYTES = 4096, FAKE_TSC_KHZ = 2000000 };

static unsigned fake_vcpus; /* of the last VM */

static inline int fake_capability(unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_MAX_VCPUS:
		return FAKE_VCPUS;
	case KVM_CAP_XSAVE2:
		return FAKE_XSAVE_BYTES;
	case KVM_CAP_TSC_CONTROL:
		return 0;
	default:
		return 1;
	}
}

static inline int fake_cpuid(struct kvm_cpuid2 *c)
{
	enum { ALL = -1 };
	static const struct kvm_cpuid_entry2 leaves[] = {
		{ .function = 0,
		  .eax = 0xd,
		  .ebx = 0x68747541,
		  .ecx = 0x444d4163,
		  .edx = 0x69746e65 }, /* AuthenticAMD */
		{ .function = 1, .eax = 0x806f0, .ecx = ALL, .edx = ALL },
		{ .function = 6, .eax = ALL },
		{ .function = 7, .eax = 1, .ebx = ALL, .ecx = ALL, .edx = ALL - 4, .flags = 1 },
		{ .function = 7, .index = 1, .eax = ALL, .ebx = ALL, .edx = ALL, .flags = 1 },
		{ .function = 0xd, .eax = ALL, .ebx = 4096, .ecx = 4096, .edx = ALL, .flags = 1 },
		{ .function = 0xd, .index = 1, .eax = ALL, .flags = 1 },
		{ .function = 0x40000000, .eax = 0x40000001 },
		{ .function = 0x40000001, .eax = ALL },
		{ .function = 0x80000000, .eax = 0x80000021 },
		{ .function = 0x80000001, .ecx = ALL, .edx = ALL },
		{ .function = 0x80000007, .edx = ALL },
		{ .function = 0x80000008, .eax = 0x3030, .ebx = ALL },
		{ .function = 0x80000021, .eax = ALL },
	};

	if (c->nent < ARRAY_SIZE(leaves))
		return -E2BIG;
	c->nent = ARRAY_SIZE(leaves);
	memcpy(c->entries, leaves, sizeof(leaves));
	return 0;
}

static inline int fake_msrs(struct kvm_msr_list *list)
{
	static const uint32_t msrs[] = { 0x10,       0x11,       0x12,       0x34,       0x3b,
					 0x8b,       0xce,       0x10a,      0x140,      0x174,
					 0x175,      0x176,      0x17a,      0x17b,      0x1a0,
					 0x1d9,      0x1db,      0x1dc,      0x1dd,      0x1de,
					 0x1fc,      0x277,      0x6e0,      0x4b564d00, 0x4b564d01,
					 0x4b564d02, 0x4b564d03, 0x4b564d04, 0x4b564d05, 0x4b564d06,
					 0x4b564d07, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
					 0xc0000102, 0xc0010015 };

	list->nmsrs = ARRAY_SIZE(msrs);
	memcpy(list->indices, msrs, sizeof(msrs));
	return 0;
}

static inline int fake_vcpu(void)
{
	int fd;

	if (fake_vcpus == FAKE_VCPUS)
		return -EINVAL;
	fd = memfd_create("vcpu", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, FAKE_RUN_BYTES))
		return -errno;
	fake_vcpus++;
	return fd;
}

static inline int fake_kvm(unsigned long request, void *arg)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_CHECK_EXTENSION:
		return fake_capability((unsigned long)arg);
	case KVM_CREATE_VM:
		fake_vcpus = 0;
		return eventfd(0, EFD_CLOEXEC);
	case KVM_CREATE_VCPU:
		return fake_vcpu();
	case KVM_GET_VCPU_MMAP_SIZE:
		return FAKE_RUN_BYTES;
	case KVM_GET_SUPPORTED_CPUID:
		return fake_cpuid(arg);
	case KVM_GET_MSR_INDEX_LIST:
		return fake_msrs(arg);
	case KVM_GET_TSC_KHZ:
		return FAKE_TSC_KHZ;
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
		return (int)((struct kvm_msrs *)arg)->nmsrs;
	default:
		return 0;
	}
}

/* In the place of libc's */
int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (_IOC_TYPE(request) != KVMIO)
		return (int)syscall(SYS_ioctl, fd, request, arg);
	r = fake_kvm(request, arg);
	if (r >= 0)
		return r;
	errno = -r;
	return -1;
}

#endif
