/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM without KVM that disks come to and leave, and a guest that does what the ACPI tables and a
 * PCI core make it do.
 */
#ifndef HOTPLUG_RIG_H
#define HOTPLUG_RIG_H

#include "build.h"
#include "check_main.h"
#include "contract_storm.h"
#include "hotplug.h"
#include "log.h"
#include "pci_hotplug.h"
#include "platform.h"

enum { NOT_YET = 1 };

/* Stands for the vCPUs, before which devices are put. */
static inline int last_attach(struct device *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static inline void last_reset(struct device *dev)
{
	(void)dev;
}

static const struct device_class last_class = {
	.kind = "last", .size = sizeof(struct device), .attach = last_attach, .reset = last_reset
};

static struct rig rig;
static struct hotplug hotplug;
static struct build build;
static struct work step;
static unsigned to_stop;
/* What the last removal came to */
static int result;
static char why[256];
static unsigned told;

static inline void take_step(void *arg)
{
	(void)arg;
	hotplug_settle(&hotplug);
}

static inline void has_stopped(struct device *dev, void *arg)
{
	(void)dev;
	(void)arg;
	loop_post(rig.loop, &step);
}

static inline void on_event(void *arg, unsigned events)
{
	(void)arg;
	ck_assert_uint_eq(events, VM_HOTPLUG);
	hotplug_answered(&hotplug);
}

static inline void on_done(void *arg, int r, const char *sentence)
{
	ck_assert_ptr_eq(arg, &rig);
	result = r;
	snprintf(why, sizeof(why), "%s", sentence ? sentence : "");
	told++;
}

static inline void one_stopped(struct device *dev, void *arg)
{
	(void)dev;
	(void)arg;
	to_stop--;
}

static inline void power(bool on)
{
	struct device *dev;

	pthread_mutex_lock(&rig.vm.lock);
	list_for_each (dev, &rig.vm.devices, node) {
		if (on) {
			device_start(dev);
		} else if (dev->phase == DEVICE_RUNNING) {
			to_stop++;
			device_stop(dev, one_stopped, NULL);
		}
	}
	pthread_mutex_unlock(&rig.vm.lock);
	while (to_stop)
		rig_pump(&rig);
}

static inline void reset_all(void)
{
	struct device *dev;

	hotplug_guest_is_gone(&hotplug);
	list_for_each (dev, &rig.vm.devices, node)
		device_reset(dev);
}

static inline void platform(const struct device_class *class, const char *id)
{
	struct device *dev;
	struct err e;

	ck_assert_msg(!device_new(&dev, class, id, &rig.vm, NULL, &e), "%s", e.text);
}

static inline void setup(void)
{
	log_set_level(LOG_ERROR);
	rig_new(&rig, &virtio_blk_class); /* with the host bridge */
	platform(&acpi_pm_class, "acpi");
	platform(&pci_hotplug_class, "pci-hotplug");
	platform(&uart_class, "serial");
	platform(&last_class, "vcpu0");
	rig.vm.on_event = on_event;
	build = (struct build){ .vm = &rig.vm };
	step = (struct work){ .run = take_step };
	hotplug_init(&hotplug, &rig.vm, &step, has_stopped, NULL);
	told = 0;
	result = NOT_YET;
	power(true);
}

static inline void teardown(void)
{
	power(false);
	hotplug_cancel(&hotplug);
	rig_free(&rig);
}

/* The image is the disk's alone, and has no name once it is open. */
static inline int try_add(const char *id, struct device **dev, struct err *e)
{
	char path[] = "/tmp/hotplug.XXXXXX";
	int fd = mkstemp(path), r;
	json_auto_t *options = json_pack("{s:s, s:i}", "path", path, "num_queues", 2);

	ck_assert(fd >= 0 && !ftruncate(fd, DISK_BYTES) && !close(fd));
	json_object_set_new(options, "id", json_string(id));
	pthread_mutex_lock(&rig.vm.lock);
	r = build_added(&build, config_find_section("disks"), options, dev, e);
	if (!r && vm_device(&rig.vm, "vcpu0")->phase == DEVICE_RUNNING)
		device_start(*dev);
	if (!r)
		hotplug_added(&hotplug, *dev);
	pthread_mutex_unlock(&rig.vm.lock);
	unlink(path);
	return r;
}

static inline struct device *add(const char *id)
{
	struct device *dev = NULL;
	struct err e;

	ck_assert_msg(!try_add(id, &dev, &e), "%s", e.text);
	return dev;
}

static inline int try_remove(const char *id, struct err *e)
{
	int r;

	pthread_mutex_lock(&rig.vm.lock);
	r = hotplug_remove(&hotplug, id, on_done, &rig, e);
	pthread_mutex_unlock(&rig.vm.lock);
	return r;
}

static inline void ask(const char *id)
{
	struct err e;

	result = NOT_YET;
	ck_assert_msg(!try_remove(id, &e), "%s", e.text);
}

static inline void wait_until_told(void)
{
	while (result == NOT_YET)
		rig_pump(&rig);
}

/* The guest */

static inline uint32_t in32(unsigned reg)
{
	return (uint32_t)bus_read(&rig.vm.pio, PLATFORM_PCI_HOTPLUG + reg, 4);
}

/* Runs _EVT; returns what one of the registers told. */
static inline uint32_t event(unsigned reg)
{
	uint32_t inserted, wanted;

	ck_assert(irq_level(&rig.vm.irq, PLATFORM_IRQ_ACPI));
	ck_assert_uint_eq(bus_read(&rig.vm.pio, PLATFORM_ACPI_EVENT, 1), PLATFORM_ACPI_EVENT_PCI);
	inserted = in32(PLATFORM_PCI_HOTPLUG_INSERTED);
	wanted = in32(PLATFORM_PCI_HOTPLUG_WANTED);
	return reg == PLATFORM_PCI_HOTPLUG_INSERTED ? inserted : wanted;
}

static inline bool is_told(void)
{
	return irq_level(&rig.vm.irq, PLATFORM_IRQ_ACPI);
}

static inline void eject(unsigned slot)
{
	pthread_mutex_lock(&rig.vm.lock);
	bus_write(&rig.vm.pio, PLATFORM_PCI_HOTPLUG + PLATFORM_PCI_HOTPLUG_EJECT, 4, 1u << slot);
	pthread_mutex_unlock(&rig.vm.lock);
}

#endif
