/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every device class there is.  Each is defined in the file of its name; only the table in
 * src/machine/classes.c, the configuration and the tests know all of them.
 */
#ifndef CLASSES_H
#define CLASSES_H

#include "device.h"

extern const struct device_class irqchip_class, pit_class, clock_class, vcpu_class;
extern const struct device_class pci_host_class, acpi_pm_class, cmos_class, i8042_class;
extern const struct device_class pci_hotplug_class, cpu_hotplug_class, pvpanic_class, uart_class;
extern const struct device_class limit_group_class;
extern const struct device_class virtio_blk_class, virtio_net_class, virtio_rng_class;
extern const struct device_class virtio_console_class, virtio_balloon_class, virtio_mem_class;

extern const struct device_class *const device_classes[];
extern const size_t ndevice_classes;

#endif
