/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of one VM: a JSON object with the fields of the control API (VmConfig),
 * made from the command line or a file, and the structs that the machine builder reads.  The
 * JSON stays the owner of all strings.  Device sections are kept as JSON: each device class
 * fills its own struct.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <jansson.h>

#include "device.h"
#include "guest_mem.h"
#include "limiter.h"
#include "option.h"

enum { CONFIG_VCPUS_MAX = 255, CONFIG_HOST_CPUS_MAX = 1024, CONFIG_NODES_MAX = 16 };
/* Of all vCPUs together, thousandths of a core: what it may be beside 0. */
enum { CONFIG_CPU_LIMIT_MIN = 10, CONFIG_CPU_LIMIT_MAX = CONFIG_VCPUS_MAX * 1000 };
/* What is wrong with a number of vCPUs, behind max_vcpus */
#define CONFIG_VCPUS_RANGE "the VM can have 1 to %u vCPUs (max_vcpus), not %u"

struct config_topology {
	uint16_t threads_per_core, cores_per_die, dies_per_package, packages;
};

struct config_cpus {
	uint32_t boot_vcpus, max_vcpus;
	bool hotplug; /* vCPUs can be added, up to max_vcpus, and removed */
	/* Of [{vcpu, host_cpus}]: which CPUs of the host a vCPU may run on; others: any. */
	const json_t *affinity;
	struct config_topology topology; /* all 0: one package of max_vcpus cores */
	uint32_t limit; /* thousandths of a core that they have together; 0: as many as there are */
	uint8_t max_phys_bits; /* of a guest's physical address: never more than the host's */
	const char *profile; /* what its CPUID may show: "host", a level, or a file */
};

/* Acpi is what clients send that give no hotplug_size; with one it is refused. */
enum config_hotplug_method { HOTPLUG_VIRTIO_MEM, HOTPLUG_ACPI };

struct config_memory {
	uint64_t size, hugepage_size;
	uint64_t hotplug_size, hotplugged_size; /* behind size; 0: none */
	unsigned hotplug_method;
	bool shared, hugepages, prefault, mergeable, thp;
	bool reserve; /* checked when loading: the host's RAM and swap could hold it all */
};

/* The vCPUs and distances are in the JSON of the configuration. */
struct config_node {
	uint32_t guest_numa_id;
	const json_t *cpus, *distances;
	uint64_t memory; /* bytes of its RAM, behind that of the nodes before it */
};

struct config_numa {
	unsigned n; /* 0: the guest has no nodes */
	struct config_node node[CONFIG_NODES_MAX]; /* by guest_numa_id */
	uint8_t distance[CONFIG_NODES_MAX * CONFIG_NODES_MAX]; /* n rows of n */
};

struct config_payload {
	const char *kernel, *cmdline, *initramfs;
};

enum config_on_reboot { ON_REBOOT_RESTART, ON_REBOOT_EXIT };
enum config_on_panic { ON_PANIC_EXIT, ON_PANIC_PAUSE, ON_PANIC_RESTART };
enum config_on_io_error { ON_IO_ERROR_REPORT, ON_IO_ERROR_PAUSE };

struct config {
	const char *name; /* given, or made from the uuid */
	const char *lease; /* unix:PATH of the server that decides where it runs; NULL: none */
	char uuid[37];
	struct config_cpus cpus;
	struct config_memory memory;
	struct config_numa numa;
	uint64_t balloon_size; /* bytes; 0 also without a balloon */
	struct config_payload payload;
	bool pvpanic;
	unsigned on_reboot, on_panic, on_io_error;
	uint32_t stop_timeout_s; /* from the power button to a hard end */
	json_t *json; /* complete: every default written out */
	struct config_files *files; /* open files that were passed for devices; NULL: none */
};

/* One section of the configuration and the option of "godwit run" that writes it. */
struct config_section {
	const char *key; /* in the JSON */
	const char *flag; /* "--disk"; NULL: the section has no flag of its own */
	const struct option_table *table; /* NULL: the class's */
	const struct device_class *class; /* the device made from each object; NULL: not one */
	bool many; /* an array */
	bool always; /* written out also if not given; a device, unless its mode is Off */
	bool hotplug; /* devices that come and go during the life of a VM */
	const char *help; /* what its flag is for */
};

extern const struct config_section config_sections[];
extern const size_t nconfig_sections;
/* Top-level keys that are plain values: name, on_reboot, ... */
extern const struct option_table config_options;

const struct config_section *config_find_section(const char *key); /* NULL: none */
/* Never NULL: a section without options has an empty table. */
const struct option_table *config_section_table(const struct config_section *);

int config_check_name(const char *name, struct err *); /* of a VM: -EINVAL */

/* Check object, write out every default, fill config.  A uuid is made if none is given. */
int config_load(struct config *, const json_t *object, struct err *);
void config_free(struct config *);

/*
 * What is said anew of a configuration that comes from another host or time, before it is loaded:
 * a plain value or a single device takes the place of what was there; of an object, and of a device
 * that has an id, only the keys that are given.  -EINVAL: no device there has that id.
 */
int config_relocate(json_t *saved, const json_t *local, struct err *);
/* The object of an array that has this id; NULL: none. */
json_t *config_find_id(const json_t *devices, const char *id);
/* Open taps for a network card of the configuration, as config_add() takes them. */
int config_pass_files(struct config *, const char *id, const int *fd, unsigned nfds, struct err *);

/* One more device of a section that has hotplug: checked, complete, with an id, and part of
 * c->json, which *added belongs to.  fd: nfds open taps that came for a network card, one for each
 * pair of its queues; from success on they are closed with its configuration.
 * -EEXIST: the id is taken. */
int config_add(struct config *, const char *key, const json_t *in, const int *fd, unsigned nfds,
	       const json_t **added, struct err *);
/* It has as many vCPUs from now on.  -EINVAL: not 1 to max_vcpus. */
int config_set_vcpus(struct config *, unsigned count, struct err *);
/* They have so many thousandths of a core together; 0: no limit. */
void config_set_cpu_limit(struct config *, uint32_t thousandths);
/* False: no such device is there, or it stays for life. */
bool config_remove(struct config *, const char *id);
/* As it is written in c->json, and its section; NULL: there is none. */
const json_t *config_device(const struct config *, const char *id,
			    const struct config_section **section);
/*
 * limits: a rate_limiter_config, or NULL or null for none; *now: what they come to.
 * -ENOENT: no such device.  -ENOTSUP: it cannot be limited.  -EINVAL: bad limits, or its limits are
 * a group's.
 */
int config_set_limits(struct config *, const char *id, const json_t *limits,
		      struct limiter_config *now, struct err *);

/*
 * How much memory, in whole pages, its guest has in the end: what of hotplug_size it has beside its
 * size, or what its balloon takes.  -ENOENT: less needs a balloon, and it has none.  -EINVAL: it
 * cannot have so much.
 */
int config_set_memory(struct config *, uint64_t bytes, struct err *);
/* The size of its balloon.  -ENOENT: it has none.  -EINVAL: it has not so much memory. */
int config_set_balloon(struct config *, uint64_t bytes, struct err *);

/* What a device of c->json is made from: it, and the files that came for it; a new reference. */
int config_device_options(const struct config *, const json_t *device, json_t **options,
			  struct err *);

#endif
