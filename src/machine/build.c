/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "acpi.h"
#include "bits.h"
#include "build.h"
#include "classes.h"
#include "cleanup.h"
#include "cpu_compat.h"
#include "cpu_hotplug.h"
#include "cpu_profile.h"
#include "kvm.h"
#include "lease.h"
#include "migration.h"
#include "numa.h"
#include "platform.h"
#include "state_codec.h"
#include "vcpu.h"

static int build_memory(struct build *b, bool loaded, struct err *e)
{
	const struct config_memory *c = &b->config->memory;
	const struct guest_mem_config want = { .size_bytes = c->size,
					       .hugepage_size_bytes = c->hugepage_size,
					       .shared = c->shared,
					       .hugepages = c->hugepages,
					       .prefault = c->prefault,
					       .mergeable = c->mergeable,
					       .thp = c->thp,
					       .pluggable_bytes = c->hotplug_size,
					       .plugged = loaded,
					       .from_file = b->memory_fd >= 0,
					       .file_fd = b->memory_fd };
	int r = guest_mem_new(&b->vm->mem, &want, e);

	for (unsigned i = 0; !r && i < b->vm->mem->nregions; i++) {
		const struct guest_mem_region *region = &b->vm->mem->region[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = region->base,
			.memory_size = region->size_bytes,
			.userspace_addr = (uintptr_t)region->host,
		};

		r = kvm_ioctl(b->vm->fd, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION",
			      &slot, e);
	}
	return r;
}

/* An older snapshot does not say what its guest needs. */
static int build_check(struct build *b, const struct machine_hooks *hooks, struct err *e)
{
	json_auto_t *needs = json_copy((json_t *)hooks->needs);
	json_auto_t *own = json_array();
	json_t *blockers = hooks->blockers ? hooks->blockers : own;
	struct cpu_compat_host host;
	int r;

	if (!needs)
		return 0;
	/* A view of a file takes memory only for what the guest writes. */
	if (b->memory_fd >= 0)
		json_object_set_new(needs, "memory_bytes", json_integer(0));
	r = cpu_compat_host_read(&host, b->kvm_fd, b->vm->fd, e);
	if (r)
		return r;
	cpu_compat_check(needs, &host, blockers);
	cpu_compat_host_free(&host);
	return json_array_size(own) ? migration_refuse(own, e) : 0;
}

static int build_kvm(struct build *b, struct err *e)
{
	uint64_t identity_map = PLATFORM_KVM_IDENTITY_MAP;
	/* vCPUs with APIC ids from 255 on, and no broadcast at 255. */
	struct kvm_enable_cap x2apic = { .cap = KVM_CAP_X2APIC_API,
					 .args = { KVM_X2APIC_API_USE_32BIT_IDS |
						   KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK } };
	/* A reset clears one that is pending (vcpu_state.c). */
	struct kvm_enable_cap triple_fault = { .cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT,
					       .args = { 1 } };
	int r = kvm_ioctl(b->vm->fd, KVM_SET_IDENTITY_MAP_ADDR, "KVM_SET_IDENTITY_MAP_ADDR",
			  &identity_map, e);

	if (!r)
		r = kvm_ioctl(b->vm->fd, KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR",
			      (void *)(uintptr_t)PLATFORM_KVM_TSS, e);
	if (!r)
		r = kvm_ioctl(b->vm->fd, KVM_ENABLE_CAP, "KVM_CAP_X2APIC_API", &x2apic, e);
	/* Linux before 6.1 has none. */
	ioctl(b->vm->fd, KVM_ENABLE_CAP, &triple_fault);
	return r;
}

static int build_open(struct build *b, const struct device_class *class, const char *id,
		      const json_t *options, struct device **out, struct err *e)
{
	if (!state_name_ok(id))
		return err_set(e, -EINVAL,
			       "\"%s\" is no id for a device; use up to %d letters, digits, - _ .",
			       id, STATE_NAME_MAX);
	return device_open(out, class, id, b->vm, options, e);
}

static int build_device(struct build *b, const struct device_class *class, const char *id,
			const json_t *options, struct err *e)
{
	struct device *dev;
	int r = build_open(b, class, id, options, &dev, e);

	return r ? r : device_attach(dev, e);
}

static int build_cpu_hotplug(struct build *b, struct err *e)
{
	const struct config_cpus *c = &b->config->cpus;
	json_auto_t *options = json_pack("{s:i, s:i}", "boot", (int)c->boot_vcpus, "max",
					 (int)c->max_vcpus);

	return build_device(b, &cpu_hotplug_class, "cpu-hotplug", options, e);
}

/* What every machine has, in the order of loading. */
static int build_platform(struct build *b, struct err *e)
{
	static const struct {
		const struct device_class *class;
		const char *id;
	} platform[] = {
		{ &irqchip_class, "irqchip" }, { &pit_class, "pit" },
		{ &clock_class, "clock" },     { &pci_host_class, "pci" },
		{ &acpi_pm_class, "acpi" },    { &cmos_class, "cmos" },
		{ &i8042_class, "i8042" },     { &pci_hotplug_class, "pci-hotplug" },
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(platform); i++)
		r = build_device(b, platform[i].class, platform[i].id, NULL, e);
	if (!r && b->config->cpus.hotplug)
		r = build_cpu_hotplug(b, e);
	if (!r && json_is_true(json_object_get(b->config->json, "pvpanic")))
		r = build_device(b, &pvpanic_class, "pvpanic", NULL, e);
	return r;
}

/* A serial port or a console may be written out and not be there. */
static bool is_off(const json_t *options)
{
	const char *mode = json_string_value(json_object_get(options, "mode"));

	return mode && !strcmp(mode, "Off");
}

/* Of a device that there are many of; the configuration gives each one. */
static const char *id_of(const json_t *options)
{
	return json_string_value(json_object_get(options, "id"));
}

static int build_section(struct build *b, const struct config_section *s, struct err *e)
{
	const json_t *given = json_object_get(b->config->json, s->key), *device;
	size_t n;
	int r = 0;

	if (!s->many)
		return given && !is_off(given) ? build_device(b, s->class, s->key, given, e) : 0;
	json_array_foreach(given, n, device)
	{
		json_auto_t *options = NULL;

		r = config_device_options(b->config, device, &options, e);
		if (!r)
			r = build_device(b, s->class, id_of(options), options, e);
		if (r)
			break;
	}
	return r;
}

int build_added(struct build *b, const struct config_section *s, const json_t *options,
		struct device **out, struct err *e)
{
	struct device *first = vm_device(b->vm, "vcpu0"), *dev;
	int r;

	pthread_mutex_unlock(&b->vm->lock);
	r = build_open(b, s->class, id_of(options), options, &dev, e);
	pthread_mutex_lock(&b->vm->lock);
	if (!r)
		r = device_attach(dev, e);
	if (r)
		return r;
	/* vCPUs stay the last. */
	list_remove(&dev->node);
	list_append(&first->node, &dev->node);
	*out = dev;
	return 0;
}

static const struct kvm_cpuid2 *build_cpuid(void *arg, unsigned vcpu)
{
	struct build *b = arg;

	b->cpuid = b->guest_cpuid;
	cpuid_for_vcpu(&b->cpuid, &b->config->cpus, vcpu);
	return (const struct kvm_cpuid2 *)&b->cpuid;
}

static int build_profile(struct build *b, struct err *e)
{
	struct cpu_profile profile;
	int r = cpu_profile_open(&profile, b->config->cpus.profile, e);

	if (!r)
		r = cpuid_supported(b->kvm_fd, &b->guest_cpuid, e);
	if (!r)
		r = cpu_profile_apply(&profile, &b->guest_cpuid, e);
	return r;
}

/* What vCPUs will be; needs: as on another host, unless it is NULL. */
static int build_cpu(struct build *b, const json_t *needs, struct err *e)
{
	b->vm->cpuid = build_cpuid;
	b->vm->cpuid_arg = b;
	if (!needs)
		return build_profile(b, e);
	b->vm->tsc_khz = (uint32_t)json_integer_value(json_object_get(needs, "tsc_khz"));
	return cpuid_parse(&b->guest_cpuid, json_object_get(needs, "cpuid"), e);
}

static int build_pluggable(struct build *b, struct err *e)
{
	const struct config_memory *c = &b->config->memory;
	json_auto_t *options = json_pack("{s:I}", "size", (json_int_t)c->hotplugged_size);

	return c->hotplug_size ? build_device(b, &virtio_mem_class, "mem", options, e) : 0;
}

/* Last of the devices: vCPUs start when all else runs. */
static int build_vcpus(struct build *b, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; !r && i < b->config->cpus.max_vcpus; i++) {
		json_t *options = json_pack("{s:i, s:i, s:b}", "index", (int)i, "apic_id",
					    (int)cpuid_apic_id(&b->config->cpus, i), "absent",
					    i >= b->config->cpus.boot_vcpus);
		char id[32];

		snprintf(id, sizeof(id), "vcpu%u", i);
		r = build_device(b, &vcpu_class, id, options, e);
		json_decref(options);
	}
	return r;
}

/* As many I/O threads as the widest device has queues, within what the host has to offer. */
static unsigned build_io_threads(const struct config *c)
{
	json_int_t want = 1;
	const json_t *device;
	size_t i;

	json_array_foreach(json_object_get(c->json, "disks"), i, device)
	{
		json_int_t n = json_integer_value(json_object_get(device, "num_queues"));

		want = MAX(want, n);
	}
	json_array_foreach(json_object_get(c->json, "net"), i, device)
	{
		json_int_t n = json_integer_value(json_object_get(device, "num_queues"));

		want = MAX(want, n);
	}
	if (want > 1)
		want = MIN(want, MAX(sysconf(_SC_NPROCESSORS_ONLN), 1));
	return (unsigned)want;
}

static int build_devices(struct build *b, struct err *e)
{
	int r = build_platform(b, e);

	for (size_t i = 0; !r && i < nconfig_sections; i++)
		if (config_sections[i].class)
			r = build_section(b, &config_sections[i], e);
	if (!r)
		r = build_pluggable(b, e);
	if (!r)
		r = build_vcpus(b, e);
	return r;
}

/* Linux brings added memory up by itself if it is told to, and so that it can be taken away again,
 * as far as the kernel has enough for its own use without it. */
static int build_boot(struct build *b, struct err *e)
{
	static const char online[] =
		"memhp_default_state=online memory_hotplug.online_policy=auto-movable";
	const struct config_payload *p = &b->config->payload;
	const char *given = p->cmdline ? p->cmdline : "";

	if (b->config->memory.hotplug_size && !strstr(given, "memhp_default_state=") &&
	    asprintf(&b->cmdline, "%s%s%s", given, *given ? " " : "", online) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return boot_open(&b->boot, p->kernel, p->initramfs, b->cmdline ? b->cmdline : given, e);
}

int build_machine(struct build *b, struct vm *vm, const struct config *config,
		  const struct machine_hooks *hooks, struct loop *loop, struct err *e)
{
	int r;

	*b = (struct build){ .config = config,
			     .memory_fd = hooks->loaded ? hooks->memory_fd : -1,
			     .kvm_fd = -1 };
	r = kvm_open(&b->kvm_fd, e);
	if (!r)
		r = vm_init(vm, b->kvm_fd, loop, build_io_threads(b->config), e);
	if (r)
		return r;
	b->vm = vm;
	vm->name = config->name;
	vm->run_dir = hooks->run_dir;
	vm->incoming = hooks->incoming;
	vm->pause_on_io_error = config->on_io_error == ON_IO_ERROR_PAUSE;
	r = build_check(b, hooks, e);
	if (!r)
		r = build_boot(b, e);
	if (!r && config->lease)
		r = lease_new(&vm->lease, config->lease, config->uuid, e);
	if (!r)
		r = build_kvm(b, e);
	if (!r)
		r = build_memory(b, hooks->loaded, e);
	if (!r)
		r = build_cpu(b, hooks->needs, e);
	if (!r)
		r = build_devices(b, e);
	return r;
}

void build_free(struct build *b)
{
	if (b->vm) {
		vm_free(b->vm);
		guest_mem_free(b->vm->mem);
		lease_free(b->vm->lease);
	}
	boot_close(&b->boot);
	free(b->cmdline);
	if (b->kvm_fd >= 0)
		close(b->kvm_fd);
}

json_t *build_needs(const struct build *b)
{
	const struct device *vcpu = vm_device(b->vm, "vcpu0");
	uint32_t msr[1024];
	struct cpu_compat_guest guest = {
		.config = b->config,
		.cpuid = b->guest_cpuid.entry,
		.ncpuid = b->guest_cpuid.nent,
		.xsave_bytes = vcpu_xsave_bytes(vcpu),
		.tsc_khz = vcpu_tsc_khz(vcpu),
		.msr = msr,
		.nmsrs = vcpu_msrs(vcpu, msr, ARRAY_SIZE(msr)),
	};

	return cpu_compat_needs(&guest);
}

static bool is_present(const struct build *b, unsigned cpu)
{
	const struct device *registers = cpu_hotplug_of(b->vm);

	return !registers || cpu_hotplug_is_present(registers, cpu);
}

static int build_tables(struct build *b, struct err *e)
{
	const struct config_cpus *cpus = &b->config->cpus;
	uint32_t apic_id[CONFIG_VCPUS_MAX];
	bool present[CONFIG_VCPUS_MAX];
	struct acpi_machine acpi = { .ncpus = cpus->max_vcpus,
				     .apic_id = apic_id,
				     .present = cpus->hotplug ? present : NULL,
				     .serial = vm_device(b->vm, "serial"),
				     .pvpanic = vm_device(b->vm, "pvpanic") };
	CLEANUP(free) uint8_t *tables = NULL;
	struct numa numa;
	size_t len;
	int r;

	for (unsigned i = 0; i < cpus->max_vcpus; i++) {
		apic_id[i] = cpuid_apic_id(cpus, i);
		present[i] = is_present(b, i);
	}
	numa_describe(&numa, b->config, b->vm->mem, &acpi);
	r = acpi_build(&acpi, PLATFORM_ACPI_BASE, &tables, &len, e);
	if (!r)
		r = guest_mem_write(b->vm->mem, PLATFORM_ACPI_BASE, tables, len);
	return r;
}

int build_load(struct build *b, struct err *e)
{
	struct device *first = vm_device(b->vm, "vcpu0");
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	int r = vcpu_get_registers(first, &regs, &sregs, e);

	b->boot.rsdp = PLATFORM_ACPI_BASE;
	if (!r)
		r = build_tables(b, e);
	if (!r)
		r = boot_load(&b->boot, b->vm->mem, &regs, &sregs, e);
	if (!r)
		r = vcpu_set_registers(first, &regs, &sregs, e);
	return r;
}

/* As a message signalled interrupt, which needs no vCPU's thread: Intel SDM 3, 10.11.1 and .2, with
 * the destination's upper bits in the upper half of the address (KVM_CAP_X2APIC_API). */
int build_inject_nmi(struct build *b, struct err *e)
{
	enum { MSI_DELIVERY_NMI = 4 << 8, MSI_DESTINATION_SHIFT = 12 };
	const struct config_cpus *cpus = &b->config->cpus;
	int r = 0;

	for (unsigned i = 0; !r && i < cpus->max_vcpus; i++) {
		uint32_t id = cpuid_apic_id(cpus, i);
		struct kvm_msi msi = {
			.address_lo = PLATFORM_LAPIC_BASE | (id & 0xff) << MSI_DESTINATION_SHIFT,
			.address_hi = id & ~UINT32_C(0xff),
			.data = MSI_DELIVERY_NMI,
		};

		if (is_present(b, i)) /* above 0: delivered */
			r = MIN(kvm_ioctl(b->vm->fd, KVM_SIGNAL_MSI, "KVM_SIGNAL_MSI", &msi, e), 0);
	}
	return r;
}
