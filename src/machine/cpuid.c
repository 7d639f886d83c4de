/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: Intel SDM volume 2, CPUID, and volume 3A, 9.9; AMD APM volume 3, appendix E.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bits.h"
#include "cpuid.h"

enum {
	CPUID_SPARE = 16, /* entries that cpuid_for_vcpu() may add */
	CPUID_TOPOLOGY = 0xb,
	CPUID_TOPOLOGY_V2 = 0x1f,
};

enum { CPUID_LEVEL_THREAD = 1, CPUID_LEVEL_CORE = 2, CPUID_LEVEL_DIE = 5 };

/* Leaf 1, ECX */
#define CPUID_1_ECX_X2APIC BIT(21)
#define CPUID_1_ECX_TSC_DEADLINE BIT(24)
#define CPUID_1_ECX_HYPERVISOR BIT(31)

/* How many there are of each level, and the bits of the APIC id below each level's number. */
struct cpuid_topology {
	unsigned threads, cores, dies; /* per core, die, package */
	unsigned core_shift, die_shift, package_shift;
	uint32_t apic_id;
};

static unsigned cpuid_bits(unsigned n)
{
	return n > 1 ? 32 - __builtin_clz(n - 1) : 0;
}

static struct cpuid_topology cpuid_topology(const struct config_cpus *cpus, unsigned vcpu)
{
	const struct config_topology *c = &cpus->topology;
	struct cpuid_topology t = { .threads = c->threads_per_core,
				    .cores = c->cores_per_die,
				    .dies = c->dies_per_package };
	unsigned core, die;

	if (!t.threads || !t.cores || !t.dies)
		t = (struct cpuid_topology){ .threads = 1, .cores = cpus->max_vcpus, .dies = 1 };
	t.core_shift = cpuid_bits(t.threads);
	t.die_shift = t.core_shift + cpuid_bits(t.cores);
	t.package_shift = t.die_shift + cpuid_bits(t.dies);
	core = vcpu / t.threads;
	die = core / t.cores;
	t.apic_id = vcpu % t.threads | core % t.cores << t.core_shift |
		    die % t.dies << t.die_shift | die / t.dies << t.package_shift;
	return t;
}

uint32_t cpuid_apic_id(const struct config_cpus *cpus, unsigned vcpu)
{
	return cpuid_topology(cpus, vcpu).apic_id;
}

static struct kvm_cpuid_entry2 *cpuid_find(struct cpuid *c, uint32_t leaf)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entry[i].function == leaf)
			return &c->entry[i];
	return NULL;
}

int cpuid_supported(int kvm_fd, struct cpuid *c, struct err *e)
{
	struct kvm_cpuid_entry2 *features;

	*c = (struct cpuid){ .nent = CPUID_ENTRIES_MAX - CPUID_SPARE };
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return err_set(e, -errno, "KVM does not say which CPU features it supports: %s",
			       strerror(errno));
	features = cpuid_find(c, 1);
	if (!features)
		return err_set(e, -ENOTSUP, "KVM lists no CPU features; is this host's KVM whole?");
	features->ecx |= CPUID_1_ECX_HYPERVISOR;
	/* KVM emulates it with its own local APIC, but leaves the bit to the monitor. */
	if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		features->ecx |= CPUID_1_ECX_TSC_DEADLINE;
	return 0;
}

static bool cpuid_is_amd(struct cpuid *c)
{
	const struct kvm_cpuid_entry2 *vendor = cpuid_find(c, 0);
	char name[12];

	if (!vendor)
		return false;
	put_le(name, 4, vendor->ebx);
	put_le(name + 4, 4, vendor->edx);
	put_le(name + 8, 4, vendor->ecx);
	return !memcmp(name, "AuthenticAMD", 12) || !memcmp(name, "HygonGenuine", 12);
}

void cpuid_remove(struct cpuid *c, uint32_t leaf)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < c->nent; i++)
		if (c->entry[i].function != leaf)
			c->entry[kept++] = c->entry[i];
	c->nent = kept;
}

static void cpuid_add_level(struct cpuid *c, uint32_t leaf, unsigned type, unsigned shift,
			    unsigned nthreads, uint32_t apic_id)
{
	unsigned index = 0;

	for (unsigned i = 0; i < c->nent; i++)
		index += c->entry[i].function == leaf;
	if (c->nent == CPUID_ENTRIES_MAX)
		return;
	c->entry[c->nent++] = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = index,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = shift,
		.ebx = nthreads,
		.ecx = type << 8 | index,
		.edx = apic_id,
	};
}

/* Leaf 0x1f knows dies; in leaf 0xb they count as cores. */
static void cpuid_set_levels(struct cpuid *c, const struct cpuid_topology *t)
{
	unsigned per_die = t->threads * t->cores, per_package = per_die * t->dies;
	struct kvm_cpuid_entry2 *highest = cpuid_find(c, 0);
	bool v2 = highest && highest->eax >= CPUID_TOPOLOGY_V2;

	/* KVM gives every guest x2APIC, whose ids this leaf tells, also where the host lacks it. */
	if (highest)
		highest->eax = MAX(highest->eax, (uint32_t)CPUID_TOPOLOGY);
	cpuid_remove(c, CPUID_TOPOLOGY);
	cpuid_remove(c, CPUID_TOPOLOGY_V2);
	cpuid_add_level(c, CPUID_TOPOLOGY, CPUID_LEVEL_THREAD, t->core_shift, t->threads,
			t->apic_id);
	cpuid_add_level(c, CPUID_TOPOLOGY, CPUID_LEVEL_CORE, t->package_shift, per_package,
			t->apic_id);
	cpuid_add_level(c, CPUID_TOPOLOGY, 0, 0, 0, t->apic_id);
	if (!v2)
		return;
	cpuid_add_level(c, CPUID_TOPOLOGY_V2, CPUID_LEVEL_THREAD, t->core_shift, t->threads,
			t->apic_id);
	cpuid_add_level(c, CPUID_TOPOLOGY_V2, CPUID_LEVEL_CORE, t->die_shift, per_die, t->apic_id);
	if (t->dies > 1)
		cpuid_add_level(c, CPUID_TOPOLOGY_V2, CPUID_LEVEL_DIE, t->package_shift,
				per_package, t->apic_id);
	cpuid_add_level(c, CPUID_TOPOLOGY_V2, 0, 0, 0, t->apic_id);
}

static void cpuid_set_field(uint32_t *reg, unsigned shift, unsigned width, uint32_t value)
{
	uint32_t max = BIT(width) - 1;

	*reg = (*reg & ~(max << shift)) | MIN(value, max) << shift;
}

/* Who shares this cache, less one; the first two levels belong to a core, others to a die. */
static uint32_t cpuid_cache_sharing(const struct kvm_cpuid_entry2 *cache,
				    const struct cpuid_topology *t)
{
	unsigned level = cache->eax >> 5 & 7;

	return BIT(level <= 2 ? t->core_shift : t->die_shift) - 1;
}

/* Also those that tell a guest hypervisor how far its own tables reach. */
static void cpuid_limit_phys_bits(struct kvm_cpuid_entry2 *x, uint8_t max)
{
	for (unsigned shift = 0; shift <= 16; shift += 16)
		cpuid_set_field(&x->eax, shift, 8, MIN(x->eax >> shift & 0xff, max));
}

static void cpuid_patch(struct kvm_cpuid_entry2 *x, const struct cpuid_topology *t, bool amd)
{
	unsigned nthreads = t->threads * t->cores * t->dies;
	unsigned die = t->apic_id >> t->die_shift;

	switch (x->function) {
	case 1:
		cpuid_set_field(&x->ebx, 24, 8, t->apic_id & 0xff);
		cpuid_set_field(&x->ebx, 16, 8, BIT(t->package_shift));
		cpuid_set_field(&x->edx, 28, 1, nthreads > 1); /* HTT */
		x->ecx |= CPUID_1_ECX_X2APIC;
		break;
	case 4:
		if (!(x->eax & 0x1f))
			break; /* past the last cache */
		cpuid_set_field(&x->eax, 14, 12, cpuid_cache_sharing(x, t));
		cpuid_set_field(&x->eax, 26, 6, BIT(t->package_shift - t->core_shift) - 1);
		break;
	case 0x80000001:
		if (amd)
			cpuid_set_field(&x->ecx, 1, 1, nthreads > 1); /* CmpLegacy */
		break;
	case 0x80000008:
		if (amd) {
			cpuid_set_field(&x->ecx, 0, 8, nthreads - 1);
			cpuid_set_field(&x->ecx, 12, 4, t->package_shift);
		}
		break;
	case 0x8000001d:
		if (x->eax & 0x1f)
			cpuid_set_field(&x->eax, 14, 12, cpuid_cache_sharing(x, t));
		break;
	case 0x8000001e:
		x->eax = t->apic_id;
		x->ebx = (t->threads - 1) << 8 | (t->apic_id >> t->core_shift & 0xff);
		x->ecx = (t->dies - 1) << 8 | (die & 0xff);
		break;
	}
}

void cpuid_for_vcpu(struct cpuid *c, const struct config_cpus *cpus, unsigned vcpu)
{
	struct cpuid_topology t = cpuid_topology(cpus, vcpu);
	bool amd = cpuid_is_amd(c);

	cpuid_set_levels(c, &t);
	for (unsigned i = 0; i < c->nent; i++) {
		cpuid_patch(&c->entry[i], &t, amd);
		if (c->entry[i].function == 0x80000008)
			cpuid_limit_phys_bits(&c->entry[i], cpus->max_phys_bits);
	}
}

enum { CPUID_NUMBERS = 7 };

json_t *cpuid_json(const struct kvm_cpuid_entry2 *x, size_t n)
{
	json_t *all = json_array();

	for (; n--; x++) {
		const uint32_t number[CPUID_NUMBERS] = { x->function, x->index, x->flags, x->eax,
							 x->ebx,      x->ecx,   x->edx };
		json_t *entry = json_array();

		for (size_t i = 0; i < CPUID_NUMBERS; i++)
			json_array_append_new(entry, json_integer(number[i]));
		json_array_append_new(all, entry);
	}
	return all;
}

static bool cpuid_parse_entry(struct kvm_cpuid_entry2 *x, const json_t *entry)
{
	uint32_t *const to[CPUID_NUMBERS] = { &x->function, &x->index, &x->flags, &x->eax,
					      &x->ebx,      &x->ecx,   &x->edx };

	if (json_array_size(entry) != CPUID_NUMBERS)
		return false;
	for (size_t i = 0; i < CPUID_NUMBERS; i++) {
		const json_t *number = json_array_get(entry, i);
		json_int_t value = json_integer_value(number);

		if (!json_is_integer(number) || value < 0 || value > UINT32_MAX)
			return false;
		*to[i] = (uint32_t)value;
	}
	return true;
}

int cpuid_parse(struct cpuid *out, const json_t *all, struct err *e)
{
	size_t n = json_array_size(all);
	struct cpuid c = { 0 };

	if (!n || n > CPUID_ENTRIES_MAX - CPUID_SPARE)
		return err_set(e, -EINVAL, "a list of 1 to %d entries is missing",
			       CPUID_ENTRIES_MAX - CPUID_SPARE);
	for (; c.nent < n; c.nent++)
		if (!cpuid_parse_entry(&c.entry[c.nent], json_array_get(all, c.nent)))
			return err_set(e, -EINVAL, "entry %u is not of %d numbers of 32 bits",
				       c.nent, CPUID_NUMBERS);
	*out = c;
	return 0;
}
