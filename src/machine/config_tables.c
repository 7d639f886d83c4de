/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of the configuration outside devices.  Names, units and defaults are those of the
 * control API; what that API knows and this version cannot honour is REFUSED, never ignored.
 */
#include "bits.h"
#include "config.h"
#include "config_tables.h"

static const struct option payload[] = {
	OPTION(struct config_payload, kernel),
	OPTION(struct config_payload, cmdline),
	OPTION(struct config_payload, initramfs),
	OPTION_REFUSE("firmware", .help = "boot a kernel instead"),
	OPTION_REFUSE("igvm", .help = "boot a kernel instead"),
	OPTION_REFUSE("host_data"),
};
const struct option_table config_payload_options = OPTION_TABLE(payload);

static const struct option topology[] = {
	OPTION(struct config_topology, threads_per_core, .help = "hardware threads of a core",
	       .fallback = "1", .min = 1),
	OPTION(struct config_topology, cores_per_die, .help = "cores of a die", .fallback = "1",
	       .min = 1),
	OPTION(struct config_topology, dies_per_package, .help = "dies of a package",
	       .fallback = "1", .min = 1),
	OPTION(struct config_topology, packages, .help = "packages", .fallback = "1", .min = 1),
};
static const struct option_table topology_options = OPTION_TABLE(topology);

struct affinity {
	uint32_t vcpu;
	const json_t *host_cpus;
};

static const struct option affinity[] = {
	OPTION(struct affinity, vcpu, .required = true, .max = CONFIG_VCPUS_MAX - 1),
	OPTION_NUMBERED(struct affinity, host_cpus, .required = true,
			.max = CONFIG_HOST_CPUS_MAX - 1),
};
static const struct option_table affinity_options = OPTION_TABLE(affinity);

static const struct option cpus[] = {
	OPTION(struct config_cpus, boot_vcpus, .help = "vCPUs of the guest", .fallback = "1",
	       .min = 1, .max = CONFIG_VCPUS_MAX),
	OPTION(struct config_cpus, max_vcpus, .help = "that it can be given later; as boot_vcpus",
	       .min = 1, .max = CONFIG_VCPUS_MAX),
	OPTION(struct config_cpus, hotplug,
	       .help = "vCPUs can be added and removed; on if max_vcpus is above boot_vcpus"),
	OPTION_FRACTIONAL(struct config_cpus, limit,
			  .help = "cores that they have together, such as 2.5; 0: no limit",
			  .min = CONFIG_CPU_LIMIT_MIN, .max = CONFIG_CPU_LIMIT_MAX),
	OPTION_SHORT("boot", "boot_vcpus"),
	OPTION_SHORT("max", "max_vcpus"),
	OPTION_LISTED(struct config_cpus, affinity, &affinity_options,
		      .help = "which of the host's CPUs a vCPU may run on"),
	OPTION_NESTED(struct config_cpus, topology, &topology_options),
	OPTION(struct config_cpus, max_phys_bits,
	       .help = "bits of a guest's physical address, at most the host's", .fallback = "46",
	       .min = 32, .max = 52),
	OPTION(struct config_cpus, profile,
	       .help = "features that the guest sees: host, x86-64-v2, x86-64-v3, x86-64-v4 or "
		       "FILE",
	       .fallback = "host"),
	OPTION_REFUSE("kvm_hyperv"),
	OPTION_REFUSE("nested", .fallback = "on"),
	OPTION_REFUSE("features"),
	OPTION_REFUSE("core_scheduling", .fallback = "Vm"),
};
const struct option_table config_cpus_options = OPTION_TABLE(cpus, .first = "boot_vcpus");

static const char *const hotplug_method_names[] = {
	[HOTPLUG_VIRTIO_MEM] = "VirtioMem", [HOTPLUG_ACPI] = "Acpi", NULL
};

static const struct option memory[] = {
	OPTION_SIZED(struct config_memory, size, .help = "RAM of the guest", .fallback = "512M",
		     .min = 16 * MIB),
	OPTION(struct config_memory, shared, .help = "other processes may map it",
	       .fallback = "off"),
	OPTION(struct config_memory, hugepages, .help = "from the host's huge page pool",
	       .fallback = "off"),
	OPTION_SIZED(struct config_memory, hugepage_size, .help = "2M or 1G; else the host's own"),
	OPTION(struct config_memory, prefault, .help = "take all of it before the start",
	       .fallback = "off"),
	OPTION(struct config_memory, mergeable, .help = "the host may merge equal pages",
	       .fallback = "off"),
	OPTION(struct config_memory, thp, .help = "transparent huge pages", .fallback = "on"),
	OPTION(struct config_memory, reserve, .help = "refuse more than the host's RAM and swap",
	       .fallback = "on"),
	OPTION_SIZED(struct config_memory, hotplug_size,
		     .help = "what can be added while the guest runs"),
	OPTION_SIZED(struct config_memory, hotplugged_size,
		     .help = "what of it the guest is asked to have at first"),
	OPTION_NAMED(struct config_memory, hotplug_method, hotplug_method_names,
		     .help = "how it is added", .fallback = "VirtioMem"),
	OPTION_REFUSE("zones"),
};
const struct option_table config_memory_options = OPTION_TABLE(memory, .first = "size");

static const struct option platform[] = {
	OPTION(struct config_platform, uuid, .help = "identity of the VM; made if not given"),
	OPTION_REFUSE("num_pci_segments", .fallback = "1"),
	OPTION_REFUSE("iommu_segments"),
	OPTION_REFUSE("iommu_address_width_bits", .fallback = "64"),
	OPTION_REFUSE("serial_number"),
	OPTION_REFUSE("system_serial_number"),
	OPTION_REFUSE("system_uuid", .help = "use uuid"),
	OPTION_REFUSE("system_manufacturer"),
	OPTION_REFUSE("system_product_name"),
	OPTION_REFUSE("system_version"),
	OPTION_REFUSE("system_family"),
	OPTION_REFUSE("system_sku_number"),
	OPTION_REFUSE("chassis_asset_tag"),
	OPTION_REFUSE("oem_strings"),
	OPTION_REFUSE("tdx"),
	OPTION_REFUSE("sev_snp"),
	OPTION_REFUSE("iommufd"),
	OPTION_REFUSE("vfio_p2p_dma", .fallback = "on"),
};
const struct option_table config_platform_options = OPTION_TABLE(platform);

static const char *const on_reboot_names[] = { "restart", "exit", NULL };
static const char *const on_panic_names[] = { "exit", "pause", "restart", NULL };
static const char *const on_io_error_names[] = { "report", "pause", NULL };

static const struct option top[] = {
	OPTION(struct config, pvpanic, .help = "device through which a guest reports its panic",
	       .fallback = "off"),
	OPTION(struct config, name, .help = "name of the VM, one per user and time"),
	OPTION_NAMED(struct config, on_reboot, on_reboot_names, .help = "when the guest reboots",
		     .fallback = "restart"),
	OPTION_NAMED(struct config, on_panic, on_panic_names, .help = "when the guest panics",
		     .fallback = "exit"),
	OPTION_NAMED(struct config, on_io_error, on_io_error_names,
		     .help = "when the host cannot read or write a disk", .fallback = "report"),
	OPTION(struct config, stop_timeout_s, .help = "seconds from the power button to a hard end",
	       .fallback = "10", .max = 86400),
	OPTION(struct config, lease,
	       .help = "unix:PATH of the lease server that decides where the VM runs"),
	OPTION_REFUSE("fs"),
	OPTION_REFUSE("generic_vhost_user"),
	OPTION_REFUSE("pmem"),
	OPTION_REFUSE("debug_console", .help = "leave it out or set its mode to Off"),
	OPTION_REFUSE("devices"),
	OPTION_REFUSE("user_devices"),
	OPTION_REFUSE("vdpa"),
	OPTION_REFUSE("vsock"),
	OPTION_REFUSE("iommu"),
	OPTION_REFUSE("watchdog"),
	OPTION_REFUSE("rtc"),
	OPTION_REFUSE("pci_segments"),
	OPTION_REFUSE("tpm"),
	OPTION_REFUSE("landlock_enable"),
	OPTION_REFUSE("landlock_rules"),
};
const struct option_table config_options = OPTION_TABLE(top);
