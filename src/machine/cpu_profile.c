/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: x86-64 psABI, 3.1.1 (the levels); Intel SDM volume 1, 13.2 (XSAVE's leaf) and volume 2,
 * CPUID.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "cpu_profile.h"

#define PROFILE_HOST "host"

/* Each has the features of those before it, too. */
static const struct {
	const char *name, *features;
} levels[] = {
	{ "x86-64-v2", "fpu cx8 cmov mmx fxsr sse sse2 syscall lm " /* the first level's */
		       "cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2" },
	{ "x86-64-v3", "xsave avx avx2 bmi1 bmi2 f16c fma abm movbe" },
	{ "x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl" },
};

/*
 * What a guest gets beside its level where the host has it, and so what may still differ between
 * hosts.  All else is masked, SMEP and AES too: who wants them for a fleet writes a baseline.
 */
static const char *const beside_level[] = {
	/* Older than the levels, which name only what programs use: kernels want these. */
	"vme de pse tsc msr pae mce apic sep mtrr pge mca pat pse36 clflush nx",
	/* KVM's doing, not the processor's; or, as constant_tsc, checked with the TSC itself. */
	CPUID_OWN_FEATURES " tsc_deadline_timer tsc_adjust arat constant_tsc",
	/* As far as the oldest kernel goes that runs this monitor, 5.10. */
	"kvm_clocksource kvm_nop_io_delay kvm_clocksource2 kvm_async_pf kvm_steal_time kvm_pv_eoi "
	"kvm_pv_unhalt kvm_pv_tlb_flush kvm_async_pf_vmexit kvm_pv_send_ipi kvm_poll_control "
	"kvm_pv_sched_yield kvm_async_pf_int kvm_clocksource_stable",
	/* Against speculation: without them a guest is open to attacks on the host's processor. */
	"spec_ctrl intel_stibp ssbd arch_capabilities md_clear flush_l1d srbds_ctrl intel_psfd "
	"ipred_ctrl rrsba_ctrl bhi_ctrl mcdt_no ibpb ibrs stibp stibp_always_on amd_ssbd "
	"virt_ssbd amd_ssb_no amd_psfd btc_no lfence_rdtsc null_sel_clr_base autoibrs sbpb "
	"ibpb_brtype srso_no",
};

/* What XSAVE saves for a feature goes with it. */
static const struct {
	const char *feature, *components;
} saved[] = {
	{ "xsave", "xcr0_x87 xcr0_sse" },
	{ "avx", "xcr0_avx" },
	{ "mpx", "xcr0_bndregs xcr0_bndcsr" },
	{ "avx512f", "xcr0_opmask xcr0_zmm_hi256 xcr0_hi16_zmm" },
	{ "pku", "xcr0_pkru" },
	{ "amx_tile", "xcr0_tilecfg xcr0_tiledata" },
};

/* Leaves that tell more of a feature, and features of its own kind that are no words. */
static const struct {
	uint32_t leaf;
	const char *feature; /* NULL: in no profile */
} leaves[] = {
	{ 0xa, "pdcm" },       { 0xd, "xsave" },     { 0x12, "sgx" },
	{ 0x14, "intel_pt" },  { 0x19, NULL },       { 0x1d, "amx_tile" },
	{ 0x1e, "amx_tile" },  { 0x24, "avx10" },    { 0x8000000a, "svm" },
	{ 0x8000001b, "ibs" }, { 0x8000001f, NULL }, { 0x80000022, "perfctr_core" },
};

static int open_file(struct cpu_profile *p, struct err *e)
{
	struct cpu_features own = { 0 };
	json_auto_t *facts = NULL;
	json_error_t where;
	struct err why;

	facts = json_load_file(p->name, JSON_REJECT_DUPLICATES, &where);
	if (!facts)
		return err_set(e, -EINVAL,
			       "cpus: profile \"%s\" is neither host, x86-64-v2, -v3 or -v4 nor a "
			       "file with JSON: %s",
			       p->name, where.text);
	if (cpu_features_parse(&p->allowed,
			       json_object_get(json_object_get(facts, "cpu"), "features"), &why))
		return err_set(e, -EINVAL,
			       "cpus: profile %s is no output of \"godwit probe --baseline\": %s",
			       p->name, why.text);
	cpu_features_add(&own, CPUID_OWN_FEATURES);
	p->needed = p->allowed;
	for (enum cpu_word w = 0; w < CPU_WORDS; w++)
		p->needed.word[w] &= ~own.word[w];
	cpu_features_add(&p->allowed, CPUID_OWN_FEATURES " tsc_deadline_timer");
	return 0;
}

static int open_level(struct cpu_profile *p)
{
	struct cpu_features sum = { 0 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(levels); i++) {
		cpu_features_add(&sum, levels[i].features);
		if (!strcmp(levels[i].name, p->name))
			break;
	}
	if (i == ARRAY_SIZE(levels))
		return -ENOENT;
	p->needed = p->allowed = sum;
	for (i = 0; i < ARRAY_SIZE(beside_level); i++)
		cpu_features_add(&p->allowed, beside_level[i]);
	for (i = 0; i < ARRAY_SIZE(saved); i++)
		cpu_features_add(&p->allowed, saved[i].components);
	p->allowed.word[CPU_80000001_EDX] |= p->allowed.word[CPU_1_EDX] & CPU_REPEATED_BITS;
	return 0;
}

int cpu_profile_open(struct cpu_profile *out, const char *name, struct err *e)
{
	struct cpu_profile p = { .name = name };
	int r = 0;

	if (strcmp(name, PROFILE_HOST) && open_level(&p))
		r = open_file(&p, e);
	if (!r)
		*out = p;
	return r;
}

struct list_of_names {
	char text[256];
	size_t len;
};

static void add_name(void *arg, const char *name)
{
	struct list_of_names *l = arg;

	if (l->len < sizeof(l->text))
		l->len += (size_t)snprintf(l->text + l->len, sizeof(l->text) - l->len, "%s%s",
					   l->len ? ", " : "", name);
}

static void drop_components(struct cpu_features *guest)
{
	for (size_t i = 0; i < ARRAY_SIZE(saved); i++) {
		struct cpu_features gone = { 0 };

		if (cpu_features_have(guest, saved[i].feature))
			continue;
		cpu_features_add(&gone, saved[i].components);
		guest->word[CPU_D_0_EAX] &= ~gone.word[CPU_D_0_EAX];
	}
	if (!cpu_features_have(guest, "xsaves"))
		guest->word[CPU_D_1_ECX] = 0;
}

/* Registers of leaf 7's later subleaves that are no words are features without a name yet. */
static void put_words(struct cpuid *c, const struct cpu_features *guest)
{
	for (struct kvm_cpuid_entry2 *x = c->entry; x < c->entry + c->nent; x++) {
		if (x->function == 7 && x->index)
			x->eax = x->ebx = x->ecx = x->edx = 0;
		for (enum cpu_word w = 0; w < CPU_WORDS; w++) {
			uint32_t *word = cpu_word(w, x);

			if (word)
				*word = guest->word[w];
		}
	}
}

/*
 * Subleaves of components that are not saved go; sizes become those of the rest.  KVM itself
 * keeps up the sizes for what the guest has switched on (0.ebx and 1.ebx).
 */
static void shrink_xsave(struct cpuid *c, const struct cpu_features *guest)
{
	enum { XSAVE_LEAF = 0xd, LEGACY_AND_HEADER = 512 + 64 };
	uint32_t components = guest->word[CPU_D_0_EAX] | guest->word[CPU_D_1_ECX];
	uint32_t size = LEGACY_AND_HEADER;
	struct kvm_cpuid_entry2 *main_leaf = NULL;
	unsigned kept = 0;

	for (unsigned i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *x = &c->entry[i];

		if (x->function == XSAVE_LEAF && x->index > 1) {
			if (x->index > 31 || !(components & BIT(x->index)))
				continue;
			if (guest->word[CPU_D_0_EAX] & BIT(x->index))
				size = MAX(size, x->ebx + x->eax);
		}
		c->entry[kept] = *x;
		if (x->function == XSAVE_LEAF && !x->index)
			main_leaf = &c->entry[kept];
		kept++;
	}
	c->nent = kept;
	if (main_leaf) {
		main_leaf->ebx = main_leaf->ecx = size;
		main_leaf->edx = 0;
	}
}

int cpu_profile_apply(const struct cpu_profile *p, struct cpuid *c, struct err *e)
{
	struct list_of_names lacks = { 0 };
	struct cpu_features guest;

	if (!strcmp(p->name, PROFILE_HOST))
		return 0;
	cpu_features_get(&guest, c->entry, c->nent);
	if (cpu_features_missing(&guest, &p->needed, add_name, &lacks))
		return err_set(e, -ENOTSUP,
			       "cpus: this host lacks %s, which profile %s has; choose another "
			       "profile",
			       lacks.text, p->name);
	cpu_features_intersect(&guest, &p->allowed);
	drop_components(&guest);
	put_words(c, &guest);
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
		if (!leaves[i].feature || !cpu_features_have(&guest, leaves[i].feature))
			cpuid_remove(c, leaves[i].leaf);
	shrink_xsave(c, &guest);
	return 0;
}
