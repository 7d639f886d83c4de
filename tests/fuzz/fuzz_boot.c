/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel file of arbitrary bytes, loaded into guests with and without room for an initrd. */
#include <stdlib.h>

#include "bits.h"
#include "boot_kinds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(struct boot *b, uint64_t memory, const struct boot_image *initrd)
{
	struct guest_mem_config c = { .size_bytes = memory };
	struct kvm_sregs sregs = { 0 };
	struct kvm_regs regs = { 0 };
	struct guest_mem *mem;
	struct err e;

	if (guest_mem_new(&mem, &c, &e))
		abort();
	b->initrd = *initrd;
	/* What was loaded starts where the guest has memory. */
	if (!boot_load(b, mem, &regs, &sregs, &e) && !guest_mem_find(mem, regs.rip, 1))
		abort();
	guest_mem_free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t bytes[5000];
	const struct boot_image none = { 0 };
	const struct boot_image initrd = { .path = "initrd", .data = bytes, .size = sizeof(bytes) };
	/* A copy of its own, so that a read past the end is seen. */
	uint8_t *copy = malloc(size ? size : 1);
	struct boot b = { .kernel = { .path = "kernel", .data = copy, .size = size },
			  .cmdline = "quiet" };
	struct err e;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (!boot_recognise(&b.kernel, &b.kind, &e)) {
		load(&b, 2 * MIB, &none);
		load(&b, 32 * MIB, &initrd);
	}
	free(copy);
	return 0;
}
