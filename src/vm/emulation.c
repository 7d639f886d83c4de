/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdio.h>

#include "bits.h"
#include "emulation.h"

/* Skip legacy and REX prefixes (Intel SDM 2, 2.1). */
static size_t skip_prefixes(const uint8_t *insn, size_t n)
{
	size_t i = 0;

	while (i < n &&
	       (insn[i] == 0x66 || insn[i] == 0x67 || insn[i] == 0xf0 || insn[i] == 0xf2 ||
		insn[i] == 0xf3 || insn[i] == 0x2e || insn[i] == 0x3e || (insn[i] & 0xf0) == 0x40))
		i++;
	return i;
}

/* The instructions that KVM's emulator lacks and that kernels use, by opcode. */
static const char *insn_name(const uint8_t *insn, size_t n)
{
	size_t i = skip_prefixes(insn, n);
	unsigned group;

	if (i < n && insn[i] == 0xcc)
		return "int3";
	if (i < n && (insn[i] == 0xc4 || insn[i] == 0xc5))
		return "an AVX or BMI instruction";
	if (i < n && insn[i] == 0x62)
		return "an AVX-512 instruction";
	if (i + 2 >= n || insn[i] != 0x0f)
		return NULL;
	group = insn[i + 2] >> 3 & 7;
	if (insn[i + 1] == 0xc7)
		return group == 1 ? "cmpxchg16b" : group == 3 || group == 4 ? "xsaves" : NULL;
	if (insn[i + 1] == 0xae)
		return group == 4 ? "xsave" : group == 5 ? "xrstor" : NULL;
	return NULL;
}

void emulation_explain(const struct kvm_run *run, uint64_t rip, char *text, size_t len)
{
	const uint8_t *insn = run->emulation_failure.insn_bytes;
	char bytes[3 * 15 + 1] = "bytes unknown";
	const char *name = NULL;
	size_t n = 0;

	if (run->emulation_failure.ndata > 1 &&
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		n = MIN(run->emulation_failure.insn_size, 15u);
	for (size_t i = 0; i < n; i++)
		snprintf(bytes + 3 * i, 4, "%02x ", insn[i]);
	if (n) {
		bytes[3 * n - 1] = '\0';
		name = insn_name(insn, n);
	}
	snprintf(text, len, "this host's KVM cannot emulate %s (%s at %#llx)",
		 name ? name : "a guest instruction", bytes, (unsigned long long)rip);
}
