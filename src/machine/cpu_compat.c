/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bits.h"
#include "cpu_compat.h"
#include "cpuid.h"
#include "guest_mem.h"

#define CAP(c, what)                                                                               \
	{                                                                                          \
		.cap = c, .name = #c, .holds = (what)                                              \
	}

const struct cpu_compat_cap cpu_compat_caps[] = {
	CAP(KVM_CAP_IRQCHIP, "interrupt controllers"),
	CAP(KVM_CAP_PIT_STATE2, "interval timer"),
	CAP(KVM_CAP_ADJUST_CLOCK, "clock"),
	CAP(KVM_CAP_MP_STATE, "vCPUs that sleep or wait for their start"),
	CAP(KVM_CAP_VCPU_EVENTS, "pending interrupts and faults"),
	CAP(KVM_CAP_DEBUGREGS, "debug registers"),
	CAP(KVM_CAP_XSAVE, "vector registers"),
	CAP(KVM_CAP_XCRS, "XCR0"),
	CAP(KVM_CAP_X2APIC_API, "vCPUs with APIC ids of 32 bits"),
	CAP(KVM_CAP_SIGNAL_MSI, "message signalled interrupts"),
	CAP(KVM_CAP_IRQFD, "interrupts of devices"),
	CAP(KVM_CAP_IOEVENTFD, "doorbells of devices"),
};
const size_t ncpu_compat_caps = ARRAY_SIZE(cpu_compat_caps);

/*
 * KVM lists what MSRs the host has, whatever the guest was given: these are the guest's only with
 * one of the features, and need not be on another host without.  "": Godwit offers no such thing.
 */
static const struct {
	uint32_t first, last;
	const char *features;
} msr_owners[] = {
	{ 0x48, 0x48, "spec_ctrl ibrs stibp amd_ssbd" },
	{ 0x8c, 0x8f, "sgx_lc" },
	{ 0xc1, 0xc8, "pdcm" }, /* performance counters, up to 0x390 */
	{ 0xcf, 0xcf, "core_capabilities" },
	{ 0xe1, 0xe1, "waitpkg" },
	{ 0x10a, 0x10a, "arch_capabilities" },
	{ 0x122, 0x122, "arch_capabilities" }, /* which says whether there is TSX to control */
	{ 0x186, 0x18d, "pdcm" },
	{ 0x1c4, 0x1c5, "xfd" },
	{ 0x309, 0x30c, "pdcm" },
	{ 0x345, 0x345, "pdcm" },
	{ 0x38d, 0x390, "pdcm" },
	{ 0x3f1, 0x3f2, "pdcm" },
	{ 0x480, 0x493, "vmx" },
	{ 0x4c1, 0x4c8, "pdcm" },
	{ 0x560, 0x587, "intel_pt" },
	{ 0x600, 0x600, "pdcm" },
	{ 0x6a0, 0x6a8, "shstk ibt" },
	{ 0xd90, 0xd90, "mpx" },
	{ 0xda0, 0xda0, "xsaves" },
	{ 0x14ce, 0x14cf, "arch_lbr" },
	{ 0x40000000, 0x400001ff, "" }, /* Hyper-V's */
	{ 0x4b564d02, 0x4b564d02, "kvm_async_pf" },
	{ 0x4b564d03, 0x4b564d03, "kvm_steal_time" },
	{ 0x4b564d04, 0x4b564d04, "kvm_pv_eoi" },
	{ 0x4b564d05, 0x4b564d05, "kvm_poll_control" },
	{ 0x4b564d06, 0x4b564d07, "kvm_async_pf_int" },
	{ 0x4b564d08, 0x4b564d08, "kvm_migration_control" },
	{ 0xc0000103, 0xc0000103, "rdtscp rdpid" },
	{ 0xc0000104, 0xc0000104, "svm" },
	{ 0xc0000300, 0xc0000303, "perfctr_core" },
	{ 0xc0010114, 0xc0010117, "svm" },
	{ 0xc001011f, 0xc001011f, "virt_ssbd" },
	{ 0xc0010200, 0xc001020f, "perfctr_core" },
};

static bool owns_msr(const struct cpu_features *guest, uint32_t msr)
{
	for (size_t i = 0; i < ARRAY_SIZE(msr_owners); i++) {
		struct cpu_features owners = { 0 };

		if (msr < msr_owners[i].first || msr > msr_owners[i].last)
			continue;
		cpu_features_add(&owners, msr_owners[i].features);
		cpu_features_intersect(&owners, guest);
		for (enum cpu_word w = 0; w < CPU_WORDS; w++)
			if (owners.word[w])
				return true;
		return false;
	}
	return true;
}

static json_t *needed_msrs(const struct cpu_compat_guest *g)
{
	json_t *msrs = json_array();
	struct cpu_features features;

	cpu_features_get(&features, g->cpuid, g->ncpuid);
	for (size_t i = 0; i < g->nmsrs; i++)
		if (owns_msr(&features, g->msr[i]))
			json_array_append_new(msrs, json_integer(g->msr[i]));
	return msrs;
}

static json_t *needed_caps(void)
{
	json_t *caps = json_array();

	for (size_t i = 0; i < ncpu_compat_caps; i++)
		json_array_append_new(caps, json_string(cpu_compat_caps[i].name));
	return caps;
}

/* Of huge pages without a size the host's own are meant, 2 MiB unless it was started otherwise. */
static uint64_t page_bytes(const struct config_memory *m)
{
	if (!m->hugepages)
		return GUEST_PAGE_BYTES;
	return m->hugepage_size ? m->hugepage_size : 2 * MIB;
}

json_t *cpu_compat_needs(const struct cpu_compat_guest *g)
{
	const struct config_memory *m = &g->config->memory;

	/* reserve=off: the guest may have more than the host, also elsewhere. */
	return json_pack(
		"{s:o, s:o, s:o, s:I, s:I, s:i, s:I, s:I, s:I}", "cpuid",
		cpuid_json(g->cpuid, g->ncpuid), "msrs", needed_msrs(g), "capabilities",
		needed_caps(), "xsave_bytes", (json_int_t)g->xsave_bytes, "tsc_khz",
		(json_int_t)g->tsc_khz, "physical_address_bits", (int)g->config->cpus.max_phys_bits,
		"vcpus", (json_int_t)g->config->cpus.max_vcpus, "memory_bytes",
		(json_int_t)(m->reserve || m->hugepages ? m->size + m->hotplugged_size : 0),
		"page_bytes", (json_int_t)page_bytes(m));
}

/* One check: what is asked, of whom, and where sentences go. */
struct check {
	const json_t *needs;
	const struct cpu_compat_host *host;
	json_t *blockers;
};

static void block(const struct check *c, json_t *sentence)
{
	json_array_append_new(c->blockers, sentence);
}

/* False: it is not there or out of range, which is a sentence. */
static bool take_number(const struct check *c, const char *key, uint64_t max, uint64_t *number)
{
	const json_t *value = json_object_get(c->needs, key);
	json_int_t n = json_integer_value(value);

	if (json_is_integer(value) && n >= 0 && (uint64_t)n <= max) {
		*number = (uint64_t)n;
		return true;
	}
	block(c, json_sprintf("the source does not say %s of its guest, as a number up to %" PRIu64,
			      key, max));
	return false;
}

static const json_t *take_array(const struct check *c, const char *key)
{
	const json_t *value = json_object_get(c->needs, key);

	if (json_is_array(value))
		return value;
	block(c, json_sprintf("the source does not say %s of its guest, as a list", key));
	return NULL;
}

static void lacks_feature(void *arg, const char *name)
{
	block(arg, json_sprintf("destination lacks %s", name));
}

/* The family does not matter: what differs between two of one vendor is a feature or an MSR. */
static void check_cpuid(struct check *c)
{
	struct cpu_features want;
	char vendor[CPU_VENDOR];
	struct cpuid cpuid;
	struct err e;

	if (cpuid_parse(&cpuid, json_object_get(c->needs, "cpuid"), &e)) {
		block(c,
		      json_sprintf("the source does not say the CPUID of its guest: %s", e.text));
		return;
	}
	cpu_vendor(vendor, cpuid.entry, cpuid.nent);
	if (strspn(vendor, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz ") !=
	    CPU_VENDOR - 1)
		block(c,
		      json_string("the source does not say the vendor of its guest's processor"));
	else if (strcmp(vendor, c->host->vendor))
		block(c, json_sprintf("destination's processor is by %s, the guest's by %s",
				      c->host->vendor, vendor));
	cpu_features_get(&want, cpuid.entry, cpuid.nent);
	cpu_features_missing(&c->host->features, &want, lacks_feature, c);
}

static bool host_has_msr(const struct cpu_compat_host *h, json_int_t msr)
{
	for (size_t i = 0; i < h->nmsrs; i++)
		if (h->msr[i] == msr)
			return true;
	return false;
}

static void check_msrs(const struct check *c)
{
	const json_t *msrs = take_array(c, "msrs"), *msr;
	size_t i;

	json_array_foreach(msrs, i, msr)
	{
		json_int_t n = json_integer_value(msr);

		if (!json_is_integer(msr) || n < 0 || n > UINT32_MAX) {
			block(c, json_string("the source says an MSR that is none"));
			return;
		}
		if (!host_has_msr(c->host, n))
			block(c,
			      json_sprintf("destination lacks MSR %#llx, which the guest's state "
					   "holds",
					   (unsigned long long)n));
	}
}

static int find_cap(const char *name)
{
	for (size_t i = 0; name && i < ncpu_compat_caps; i++)
		if (!strcmp(cpu_compat_caps[i].name, name))
			return (int)i;
	return -ENOENT;
}

static void check_caps(const struct check *c)
{
	const json_t *caps = take_array(c, "capabilities"), *cap;
	size_t n;

	json_array_foreach(caps, n, cap)
	{
		int i = find_cap(json_string_value(cap));

		if (i < 0) {
			block(c,
			      json_string("the guest needs a capability of KVM that this version "
					  "does not know; run a newer one at the destination"));
			return;
		}
		if (!(c->host->caps & BIT(i)))
			block(c, json_sprintf("destination's KVM lacks %s for the guest's %s",
					      cpu_compat_caps[i].name, cpu_compat_caps[i].holds));
	}
}

/* KVM itself takes a TSC for the same within this. */
static bool tsc_is_near(uint64_t a, uint64_t b)
{
	enum { TOLERANCE_PPM = 250 };
	uint64_t difference = a > b ? a - b : b - a;

	return difference * 1000000 <= b * TOLERANCE_PPM;
}

static void check_tsc(const struct check *c)
{
	uint64_t khz;

	if (!take_number(c, "tsc_khz", UINT32_MAX, &khz) || !khz || !c->host->tsc_khz)
		return;
	if (!c->host->tsc_scaling && !tsc_is_near(c->host->tsc_khz, khz))
		block(c, json_sprintf("destination's TSC runs at %u kHz, the guest's at %" PRIu64
				      ", and this processor cannot scale it",
				      c->host->tsc_khz, khz));
}

static void check_memory(const struct check *c)
{
	const struct cpu_compat_host *h = c->host;
	const struct {
		uint64_t page_bytes, free_bytes;
		const char *in;
	} kinds[] = { { GUEST_PAGE_BYTES, h->free_bytes, "" },
		      { 2 * MIB, h->free_2m_bytes, " in huge pages of 2 MiB" },
		      { GIB, h->free_1g_bytes, " in huge pages of 1 GiB" } };
	uint64_t bytes, page;
	size_t i;

	if (!take_number(c, "memory_bytes", INT64_MAX, &bytes) ||
	    !take_number(c, "page_bytes", GIB, &page))
		return;
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].page_bytes == page)
			break;
	if (i == ARRAY_SIZE(kinds))
		block(c, json_sprintf("the source says pages of %" PRIu64 " bytes, which there are "
				      "not",
				      page));
	else if (kinds[i].free_bytes < bytes)
		block(c, json_sprintf("destination has %" PRIu64 " MiB of memory free%s, the VM "
				      "needs %" PRIu64,
				      kinds[i].free_bytes / MIB, kinds[i].in, bytes / MIB));
}

static void check_sizes(const struct check *c)
{
	const struct cpu_compat_host *h = c->host;
	uint64_t n;

	if (take_number(c, "xsave_bytes", UINT32_MAX, &n) && n > h->xsave_bytes)
		block(c,
		      json_sprintf("destination holds %u bytes of a vCPU's vector registers, the "
				   "guest has %" PRIu64,
				   h->xsave_bytes, n));
	if (take_number(c, "physical_address_bits", 64, &n) && n > h->phys_bits)
		block(c, json_sprintf("destination's physical addresses have %u bits, the guest's "
				      "%" PRIu64,
				      h->phys_bits, n));
	if (take_number(c, "vcpus", UINT32_MAX, &n) && n > h->max_vcpus)
		block(c, json_sprintf("destination's KVM runs up to %u vCPUs, the VM has %" PRIu64,
				      h->max_vcpus, n));
}

int cpu_compat_check(const json_t *needs, const struct cpu_compat_host *host, json_t *blockers)
{
	struct check c = { needs, host, blockers };
	size_t before = json_array_size(blockers);

	if (!json_is_object(needs)) {
		block(&c, json_string("the source does not say what its guest needs"));
		return -ENOTSUP;
	}
	check_cpuid(&c);
	check_msrs(&c);
	check_caps(&c);
	check_tsc(&c);
	check_sizes(&c);
	check_memory(&c);
	return json_array_size(blockers) > before ? -ENOTSUP : 0;
}
