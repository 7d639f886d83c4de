/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of the configuration outside devices.  Names, units and defaults are those of the
 * control API; what that API knows and this version cannot honour is REFUSED, never ignored.
 */
#include "bits.h"
#include "config.h"
#include "config_tables.h"

#define REFUSED(name, ...)                                                                         \
	{                                                                                          \
		.key = (name), .kind = OPTION_REFUSED, __VA_ARGS__                                 \
	}

static const struct option payload[] = {
	OPTION(struct config_payload, kernel),
	OPTION(struct config_payload, cmdline),
	OPTION(struct config_payload, initramfs),
	REFUSED("firmware", .help = "boot a kernel instead"),
	REFUSED("igvm", .help = "boot a kernel instead"),
	REFUSED("host_data"),
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

static const struct option cpus[] = {
	OPTION(struct config_cpus, boot_vcpus, .help = "vCPUs of the guest", .fallback = "1",
	       .min = 1, .max = CONFIG_VCPUS_MAX),
	OPTION(struct config_cpus, max_vcpus, .help = "as boot_vcpus", .min = 1,
	       .max = CONFIG_VCPUS_MAX),
	OPTION_NESTED(struct config_cpus, topology, &topology_options),
	REFUSED("kvm_hyperv"),
	REFUSED("max_phys_bits", .fallback = "46"),
	REFUSED("nested", .fallback = "on"),
	REFUSED("affinity", .help = "pin the threads named vcpuN with taskset or a cpuset"),
	REFUSED("features"),
	REFUSED("core_scheduling", .fallback = "Vm"),
};
const struct option_table config_cpus_options = OPTION_TABLE(cpus, .first = "boot_vcpus");

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
	REFUSED("hotplug_size"),
	REFUSED("hotplugged_size"),
	REFUSED("hotplug_method", .fallback = "Acpi"),
	REFUSED("zones"),
};
const struct option_table config_memory_options = OPTION_TABLE(memory, .first = "size");

static const struct option platform[] = {
	OPTION(struct config_platform, uuid, .help = "identity of the VM; made if not given"),
	REFUSED("num_pci_segments", .fallback = "1"),
	REFUSED("iommu_segments"),
	REFUSED("iommu_address_width_bits", .fallback = "64"),
	REFUSED("serial_number"),
	REFUSED("system_serial_number"),
	REFUSED("system_uuid", .help = "use uuid"),
	REFUSED("system_manufacturer"),
	REFUSED("system_product_name"),
	REFUSED("system_version"),
	REFUSED("system_family"),
	REFUSED("system_sku_number"),
	REFUSED("chassis_asset_tag"),
	REFUSED("oem_strings"),
	REFUSED("tdx"),
	REFUSED("sev_snp"),
	REFUSED("iommufd"),
	REFUSED("vfio_p2p_dma", .fallback = "on"),
};
const struct option_table config_platform_options = OPTION_TABLE(platform);

static const char *const on_reboot_names[] = { "restart", "exit", NULL };
static const char *const on_panic_names[] = { "exit", "pause", "restart", NULL };

static const struct option top[] = {
	OPTION(struct config, pvpanic, .help = "device through which a guest reports its panic",
	       .fallback = "off"),
	OPTION(struct config, name, .help = "name of the VM, one per user and time"),
	OPTION_NAMED(struct config, on_reboot, on_reboot_names, .help = "when the guest reboots",
		     .fallback = "restart"),
	OPTION_NAMED(struct config, on_panic, on_panic_names, .help = "when the guest panics",
		     .fallback = "exit"),
	OPTION(struct config, stop_timeout_s, .help = "seconds from the power button to a hard end",
	       .fallback = "10", .max = 86400),
	REFUSED("rate_limit_groups"),
	REFUSED("balloon"),
	REFUSED("fs"),
	REFUSED("generic_vhost_user"),
	REFUSED("pmem"),
	REFUSED("console", .help = "leave it out or set its mode to Off, and use serial"),
	REFUSED("debug_console", .help = "leave it out or set its mode to Off"),
	REFUSED("devices"),
	REFUSED("user_devices"),
	REFUSED("vdpa"),
	REFUSED("vsock"),
	REFUSED("numa"),
	REFUSED("iommu"),
	REFUSED("watchdog"),
	REFUSED("rtc"),
	REFUSED("pci_segments"),
	REFUSED("tpm"),
	REFUSED("landlock_enable"),
	REFUSED("landlock_rules"),
};
const struct option_table config_options = OPTION_TABLE(top);
