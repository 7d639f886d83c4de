/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; Linux, <asm/cpufeatures.h> and
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cpu_features.h"

enum cpu_register { EAX, EBX, ECX, EDX };

/* Features in the order of their bits; a number says the bit of the one behind it. */
static const struct {
	uint32_t leaf, subleaf;
	enum cpu_register reg;
	const char *name, *features;
} words[CPU_WORDS] = {
	[CPU_1_EDX] = { 1, 0, EDX, "1.edx",
			"fpu vme de pse tsc msr pae mce cx8 apic 11 sep mtrr pge mca cmov pat "
			"pse36 pn clflush 21 dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe" },
	[CPU_1_ECX] = { 1, 0, ECX, "1.ecx",
			"pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma "
			"cx16 xtpr pdcm 17 pcid dca sse4_1 sse4_2 x2apic movbe popcnt "
			"tsc_deadline_timer aes xsave osxsave avx f16c rdrand hypervisor" },
	[CPU_6_EAX] = { 6, 0, EAX, "6.eax", "2 arat" },
	[CPU_7_0_EBX] = { 7, 0, EBX, "7.0.ebx",
			  "fsgsbase tsc_adjust sgx bmi1 hle avx2 fdp_excptn_only smep bmi2 erms "
			  "invpcid rtm cqm zero_fcs_fds mpx rdt_a avx512f avx512dq rdseed adx smap "
			  "avx512ifma 23 clflushopt clwb intel_pt avx512pf avx512er avx512cd "
			  "sha_ni avx512bw avx512vl" },
	[CPU_7_0_ECX] = { 7, 0, ECX, "7.0.ecx",
			  "1 avx512vbmi umip pku ospke waitpkg avx512_vbmi2 shstk gfni vaes "
			  "vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq 16 la57 "
			  "22 rdpid 24 bus_lock_detect cldemote 27 movdiri movdir64b enqcmd "
			  "sgx_lc pks" },
	[CPU_7_0_EDX] = { 7, 0, EDX, "7.0.edx",
			  "2 avx512_4vnniw avx512_4fmaps fsrm uintr 8 avx512_vp2intersect "
			  "srbds_ctrl md_clear rtm_always_abort 13 tsx_force_abort serialize "
			  "hybrid_cpu tsxldtrk 18 pconfig arch_lbr ibt 22 amx_bf16 avx512_fp16 "
			  "amx_tile amx_int8 spec_ctrl intel_stibp flush_l1d arch_capabilities "
			  "core_capabilities ssbd" },
	[CPU_7_1_EAX] = { 7, 1, EAX, "7.1.eax",
			  "sha512 sm3 sm4 4 avx_vnni avx512_bf16 lass cmpccxadd 10 fzrm fsrs "
			  "fsrc 17 fred lkgs wrmsrns 21 amx_fp16 hreset avx_ifma 26 lam" },
	[CPU_7_1_EDX] = { 7, 1, EDX, "7.1.edx",
			  "4 avx_vnni_int8 avx_ne_convert 8 amx_complex 10 avx_vnni_int16 "
			  "14 prefetchiti 19 avx10" },
	[CPU_7_2_EDX] = { 7, 2, EDX, "7.2.edx",
			  "intel_psfd ipred_ctrl rrsba_ctrl ddpd_u bhi_ctrl mcdt_no" },
	[CPU_D_0_EAX] = { 0xd, 0, EAX, "d.0.eax",
			  "xcr0_x87 xcr0_sse xcr0_avx xcr0_bndregs xcr0_bndcsr xcr0_opmask "
			  "xcr0_zmm_hi256 xcr0_hi16_zmm 9 xcr0_pkru 17 xcr0_tilecfg "
			  "xcr0_tiledata" },
	[CPU_D_1_EAX] = { 0xd, 1, EAX, "d.1.eax", "xsaveopt xsavec xgetbv1 xsaves xfd" },
	[CPU_D_1_ECX] = { 0xd, 1, ECX, "d.1.ecx",
			  "8 xss_pt 10 xss_pasid xss_cet_u xss_cet_s xss_hdc xss_uintr xss_lbr "
			  "xss_hwp" },
	[CPU_40000001_EAX] = { 0x40000001, 0, EAX, "40000001.eax",
			       "kvm_clocksource kvm_nop_io_delay kvm_mmu_op kvm_clocksource2 "
			       "kvm_async_pf kvm_steal_time kvm_pv_eoi kvm_pv_unhalt "
			       "9 kvm_pv_tlb_flush kvm_async_pf_vmexit kvm_pv_send_ipi "
			       "kvm_poll_control kvm_pv_sched_yield kvm_async_pf_int "
			       "kvm_msi_ext_dest_id kvm_hc_map_gpa_range kvm_migration_control "
			       "24 kvm_clocksource_stable" },
	[CPU_80000001_EDX] = { 0x80000001, 0, EDX, "80000001.edx",
			       "11 syscall 19 mp nx 22 mmxext 25 fxsr_opt pdpe1gb rdtscp 29 lm "
			       "3dnowext 3dnow" },
	[CPU_80000001_ECX] = { 0x80000001, 0, ECX, "80000001.ecx",
			       "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse "
			       "3dnowprefetch osvw ibs xop skinit wdt 15 lwp fma4 tce "
			       "19 nodeid_msr 21 tbm topoext perfctr_core perfctr_nb 26 bpext ptsc "
			       "perfctr_llc mwaitx" },
	[CPU_80000007_EDX] = { 0x80000007, 0, EDX, "80000007.edx", "8 constant_tsc" },
	[CPU_80000008_EBX] = { 0x80000008, 0, EBX, "80000008.ebx",
			       "clzero irperf xsaveerptr 4 rdpru 9 wbnoinvd 12 ibpb 14 ibrs stibp "
			       "17 stibp_always_on 23 amd_ppin amd_ssbd virt_ssbd amd_ssb_no cppc "
			       "amd_psfd btc_no 31 brs" },
	[CPU_80000021_EAX] = { 0x80000021, 0, EAX, "80000021.eax",
			       "no_nested_data_bp 2 lfence_rdtsc 6 null_sel_clr_base 8 autoibrs "
			       "no_smm_ctl_msr 27 sbpb ibpb_brtype srso_no" },
};

/* The next word of a list parted by blanks: its length, 0 at the end. */
static size_t next(const char **list)
{
	*list += strspn(*list, " ");
	return strcspn(*list, " ");
}

/* The same in a list of features, with its bit, which begins at -1. */
static size_t next_feature(const char **list, int *bit)
{
	size_t len = next(list);
	char *end;
	long number = strtol(*list, &end, 10);

	++*bit;
	if (end == *list + len && len) {
		*bit = (int)number;
		*list = end;
		len = next(list);
	}
	return len;
}

/* NULL: it has none. */
static const char *name_of(enum cpu_word w, int bit, size_t *len)
{
	const char *list = words[w].features;

	for (int at = -1; (*len = next_feature(&list, &at)); list += *len)
		if (at == bit)
			return list;
	return NULL;
}

/* False: no feature is called that. */
static bool find(const char *name, size_t name_len, enum cpu_word *w, int *bit)
{
	size_t len;

	for (*w = 0; *w < CPU_WORDS; ++*w) {
		const char *list = words[*w].features;

		for (*bit = -1; (len = next_feature(&list, bit)); list += len)
			if (len == name_len && !memcmp(list, name, len))
				return true;
	}
	return false;
}

const char *cpu_word_name(enum cpu_word w)
{
	return words[w].name;
}

uint32_t *cpu_word(enum cpu_word w, struct kvm_cpuid_entry2 *x)
{
	uint32_t *const reg[] = { &x->eax, &x->ebx, &x->ecx, &x->edx };

	return x->function == words[w].leaf && x->index == words[w].subleaf ? reg[words[w].reg]
									    : NULL;
}

void cpu_features_get(struct cpu_features *f, const struct kvm_cpuid_entry2 *x, size_t n)
{
	*f = (struct cpu_features){ 0 };
	for (; n--; x++)
		for (enum cpu_word w = 0; w < CPU_WORDS; w++) {
			struct kvm_cpuid_entry2 entry = *x;
			const uint32_t *word = cpu_word(w, &entry);

			if (word)
				f->word[w] = *word;
		}
}

void cpu_features_add(struct cpu_features *f, const char *names)
{
	enum cpu_word w;
	size_t len;
	int bit;

	for (; (len = next(&names)); names += len) {
		bool found = find(names, len, &w, &bit);

		assert(found);
		f->word[w] |= (uint32_t)BIT(bit);
	}
}

bool cpu_features_have(const struct cpu_features *f, const char *name)
{
	struct cpu_features one = { 0 };

	cpu_features_add(&one, name);
	return !cpu_features_missing(f, &one, NULL, NULL);
}

void cpu_features_intersect(struct cpu_features *f, const struct cpu_features *other)
{
	for (enum cpu_word w = 0; w < CPU_WORDS; w++)
		f->word[w] &= other->word[w];
}

const char *cpu_feature_name(enum cpu_word w, int bit, char name[CPU_FEATURE_NAME])
{
	size_t len;
	const char *known = name_of(w, bit, &len);

	if (!known && w == CPU_80000001_EDX && CPU_REPEATED_BITS & BIT(bit))
		known = name_of(CPU_1_EDX, bit, &len);
	if (known)
		snprintf(name, CPU_FEATURE_NAME, "%.*s", (int)len, known);
	else
		snprintf(name, CPU_FEATURE_NAME, "bit %d of CPUID %s", bit, words[w].name);
	return name;
}

unsigned cpu_features_missing(const struct cpu_features *have, const struct cpu_features *want,
			      void (*each)(void *arg, const char *name), void *arg)
{
	char name[CPU_FEATURE_NAME];
	unsigned n = 0;

	for (enum cpu_word w = 0; w < CPU_WORDS; w++)
		for (uint32_t left = want->word[w] & ~have->word[w]; left; left &= left - 1) {
			n++;
			if (each)
				each(arg, cpu_feature_name(w, __builtin_ctz(left), name));
		}
	return n;
}

json_t *cpu_features_json(const struct cpu_features *f)
{
	json_t *object = json_object();

	for (enum cpu_word w = 0; w < CPU_WORDS; w++)
		json_object_set_new(object, words[w].name, json_integer(f->word[w]));
	return object;
}

static int word_named(const char *name)
{
	for (int w = 0; w < CPU_WORDS; w++)
		if (!strcmp(words[w].name, name))
			return w;
	return -ENOENT;
}

int cpu_features_parse(struct cpu_features *f, const json_t *object, struct err *e)
{
	struct cpu_features parsed = { 0 };
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return err_set(e, -EINVAL, "there is no object of CPU features");
	json_object_foreach((json_t *)object, name, value)
	{
		json_int_t number = json_integer_value(value);
		int w = word_named(name);

		if (w < 0)
			return err_set(e, -EINVAL, "\"%.32s\" is no word of CPU features", name);
		if (!json_is_integer(value) || number < 0 || number > UINT32_MAX)
			return err_set(e, -EINVAL, "CPU features %s are no number of 32 bits",
				       name);
		parsed.word[w] = (uint32_t)number;
	}
	*f = parsed;
	return 0;
}

void cpu_vendor(char vendor[CPU_VENDOR], const struct kvm_cpuid_entry2 *x, size_t n)
{
	memset(vendor, 0, CPU_VENDOR);
	for (; n--; x++) {
		if (x->function)
			continue;
		put_le(vendor, 4, x->ebx);
		put_le(vendor + 4, 4, x->edx);
		put_le(vendor + 8, 4, x->ecx);
	}
}
