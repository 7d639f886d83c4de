/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that are made of the names of their CPU features. */
#ifndef CPU_HOST_H
#define CPU_HOST_H

#include <check.h>

#include "bits.h"
#include "cpu_features.h"
#include "cpuid.h"

#define LEVEL_2                                                                                    \
	"fpu cx8 cmov mmx fxsr sse sse2 syscall lm cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2 "
#define LEVEL_3 LEVEL_2 "xsave avx avx2 bmi1 bmi2 f16c fma abm movbe "
#define LEVEL_4 LEVEL_3 "avx512f avx512bw avx512cd avx512dq avx512vl "
/* What XSAVE saves on a processor that has the fourth level and protection keys. */
#define COMPONENTS "xcr0_x87 xcr0_sse xcr0_avx xcr0_opmask xcr0_zmm_hi256 xcr0_hi16_zmm xcr0_pkru "

static inline struct cpu_features features_of(const char *names)
{
	struct cpu_features f = { 0 };

	cpu_features_add(&f, names);
	return f;
}

static inline struct kvm_cpuid_entry2 *cpu_host_add(struct cpuid *c, uint32_t leaf, uint32_t index)
{
	struct kvm_cpuid_entry2 *x = &c->entry[c->nent++];

	*x = (struct kvm_cpuid_entry2){ .function = leaf, .index = index };
	return x;
}

/* Intel's, with every leaf that tells more of a feature. */
static inline void cpu_host(struct cpuid *c, const char *names)
{
	static const struct {
		uint32_t leaf, index, eax, ebx;
	} leaves[] = {
		{ 1, 0, 0x906ea, 0 },
		{ 6, 0, 0, 0 },
		{ 7, 0, 2, 0 },
		{ 7, 1, 0, 0 },
		{ 7, 2, 0, 0 },
		{ 0xa, 0, 0x07300802, 0 },
		{ 0xd, 0, 0, 2696 },
		{ 0xd, 1, 0, 2696 },
		{ 0xd, 2, 256, 576 },
		{ 0xd, 5, 64, 1088 },
		{ 0xd, 6, 512, 1152 },
		{ 0xd, 7, 1024, 1664 },
		{ 0xd, 9, 8, 2688 },
		{ 0xd, 11, 16, 0 },
		{ 0x14, 0, 1, 0 },
		{ 0x40000001, 0, 0, 0 },
		{ 0x80000001, 0, 0, 0 },
		{ 0x80000007, 0, 0, 0 },
		{ 0x80000008, 0, 0x3027, 0 },
		{ 0x8000000a, 0, 1, 8 },
		{ 0x80000021, 0, 0, 0 },
	};
	struct cpu_features f = features_of(names);

	*c = (struct cpuid){ 0 };
	*cpu_host_add(c, 0, 0) = (struct kvm_cpuid_entry2){
		.eax = 0x1f, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69
	};
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		struct kvm_cpuid_entry2 *x = cpu_host_add(c, leaves[i].leaf, leaves[i].index);

		x->eax = leaves[i].eax;
		x->ebx = leaves[i].ebx;
		for (enum cpu_word w = 0; w < CPU_WORDS; w++)
			if (cpu_word(w, x))
				*cpu_word(w, x) = f.word[w];
	}
}

#endif
