/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's memory and files in memory, for the tests of the loaders. */
#ifndef BOOT_FIXTURE_H
#define BOOT_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bits.h"
#include "boot.h"
#include "platform.h"

static struct guest_mem *mem;
static struct boot boot;
static struct kvm_regs regs;
static struct kvm_sregs sregs;
static struct err err;
static char kernel_path[64], initrd_path[64];

/* A file of these bytes, named by path. */
static void file_make(char path[64], const void *data, size_t len)
{
	int fd = memfd_create("test", 0);

	ck_assert(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
}

static void memory(uint64_t bytes)
{
	struct guest_mem_config c = { .size_bytes = bytes };

	guest_mem_free(mem);
	mem = NULL;
	ck_assert_msg(!guest_mem_new(&mem, &c, &err), "%s", err.text);
}

static int open_file(const void *kernel, size_t len, const void *initrd, size_t initrd_len,
		     const char *cmdline)
{
	boot_close(&boot);
	file_make(kernel_path, kernel, len);
	if (initrd)
		file_make(initrd_path, initrd, initrd_len);
	err = (struct err){ "" };
	return boot_open(&boot, kernel_path, initrd ? initrd_path : NULL, cmdline, &err);
}

static int load(void)
{
	regs = (struct kvm_regs){ .rax = 1, .rsi = 2, .rbx = 3 };
	sregs = (struct kvm_sregs){ .apic_base = 0xfee00900, .cr0 = 0x60000010 };
	err = (struct err){ "" };
	boot.rsdp = PLATFORM_ACPI_BASE;
	return boot_load(&boot, mem, &regs, &sregs, &err);
}

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		int code_ = (call);                                                                \
		ck_assert_msg(!code_, "%d: %s", code_, err.text);                                  \
	} while (0)

/* Fails with this code and a sentence that has these words. */
#define assert_refused(call, code, words)                                                          \
	do {                                                                                       \
		ck_assert_int_eq((call), (code));                                                  \
		ck_assert_msg(strstr(err.text, words), "\"%s\" lacks \"%s\"", err.text, words);    \
	} while (0)

static void *at(gpa_t gpa, uint64_t len)
{
	void *p = guest_mem_at(mem, gpa, len);

	ck_assert_ptr_nonnull(p);
	return p;
}

static void teardown(void)
{
	boot_close(&boot);
	guest_mem_free(mem);
	mem = NULL;
}

#endif
