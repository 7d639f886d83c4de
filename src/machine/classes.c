/* SPDX-License-Identifier: Apache-2.0 */
#include "bits.h"
#include "classes.h"

const struct device_class *const device_classes[] = {
	&irqchip_class,        &pit_class,
	&clock_class,          &vcpu_class,
	&pci_host_class,       &acpi_pm_class,
	&cmos_class,           &i8042_class,
	&pvpanic_class,        &uart_class,
	&virtio_blk_class,     &virtio_net_class,
	&virtio_rng_class,     &virtio_console_class,
	&limit_group_class,    &pci_hotplug_class,
	&virtio_balloon_class, &virtio_mem_class,
	&cpu_hotplug_class,
};
const size_t ndevice_classes = ARRAY_SIZE(device_classes);
