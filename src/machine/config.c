/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a VM: sections loaded from JSON and checked against each other. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "bits.h"
#include "chardev.h"
#include "classes.h"
#include "config.h"
#include "config_tables.h"
#include "kvm.h"
#include "lease.h"
#include "platform.h"
#include "uuid.h"

const struct config_section config_sections[] = {
	{ "payload", NULL, &config_payload_options, .class = NULL },
	{ "cpus", "--cpus", &config_cpus_options, .help = "CPUs of the guest" },
	{ "memory", "--memory", &config_memory_options, .help = "memory of the guest" },
	{ "numa", "--numa", &config_numa_options, .many = true,
	  .help = "a NUMA node of the guest; once for each" },
	{ "rate_limit_groups", "--rate-limit-group", NULL, &limit_group_class, .many = true,
	  .help = "limits that devices share; once for each group" },
	{ "disks", "--disk", NULL, &virtio_blk_class, .many = true, .hotplug = true,
	  .help = "a disk; once for each" },
	{ "net", "--net", NULL, &virtio_net_class, .many = true, .hotplug = true,
	  .help = "a network card; once for each" },
	{ "rng", "--rng", NULL, &virtio_rng_class, .always = true,
	  .help = "source of random numbers" },
	{ "serial", "--serial", NULL, &uart_class, .always = true, .help = "the serial port" },
	{ "console", "--console", NULL, &virtio_console_class, .always = true,
	  .help = "the virtio console" },
	{ "balloon", "--balloon", NULL, &virtio_balloon_class,
	  .help = "a balloon, which takes memory from the guest" },
	{ "platform", "--platform", &config_platform_options, .help = "what the VM says it is" },
};

const size_t nconfig_sections = ARRAY_SIZE(config_sections);

const struct config_section *config_find_section(const char *key)
{
	for (size_t i = 0; i < nconfig_sections; i++)
		if (!strcmp(config_sections[i].key, key))
			return &config_sections[i];
	return NULL;
}

const struct option_table *config_section_table(const struct config_section *s)
{
	static const struct option_table empty;

	if (s->table)
		return s->table;
	return s->class->options ? s->class->options : &empty;
}

/* Before the payload section there were three: kernel{path}, cmdline{args}, initramfs{path};
 * clients of that age still send them.  What payload says itself wins. */
static int take_legacy_payload(json_t *in, struct err *e)
{
	static const struct {
		const char *section, *key;
	} legacy[] = { { "kernel", "path" }, { "cmdline", "args" }, { "initramfs", "path" } };
	json_t *payload = json_object_get(in, "payload");

	if (!json_is_object(payload)) {
		if (payload && !json_is_null(payload))
			return 0; /* refused as such later */
		payload = json_object();
	} else {
		payload = json_copy(payload);
	}
	for (size_t i = 0; i < ARRAY_SIZE(legacy); i++) {
		json_t *old = json_object_get(json_object_get(in, legacy[i].section),
					      legacy[i].key);

		if (old && !json_object_get(payload, legacy[i].section))
			json_object_set(payload, legacy[i].section, old);
		json_object_del(in, legacy[i].section);
	}
	if (json_object_set_new(in, "payload", payload))
		return err_set(e, -ENOMEM, "configuration: out of memory");
	return 0;
}

int config_load_object(const struct option_table *t, const char *what, const json_t *in, void *base,
		       json_t **complete, struct err *e)
{
	int rc = option_load(t, what, in, base, e);

	if (rc)
		return rc;
	*complete = option_complete(t, in);
	if (!*complete)
		return err_set(e, -ENOMEM, "configuration: out of memory");
	return option_load(t, what, *complete, base, e);
}

static void *section_base(struct config *c, const struct config_section *s,
			  struct config_platform *platform)
{
	if (s->table == &config_payload_options)
		return &c->payload;
	if (s->table == &config_cpus_options)
		return &c->cpus;
	if (s->table == &config_memory_options)
		return &c->memory;
	return platform;
}

static int load_array(const struct config_section *s, const json_t *in, json_t *array,
		      struct err *e)
{
	json_t *complete;
	char what[48];
	int rc;

	if (in && !json_is_array(in))
		return err_set(e, -EINVAL, "%s: must be an array of objects, [ { ... } ]", s->key);
	rc = config_check_many(s, json_array_size(in), e);
	if (rc)
		return rc;
	for (size_t i = 0; i < json_array_size(in); i++) {
		snprintf(what, sizeof(what), "%s[%zu]", s->key, i);
		complete = NULL;
		rc = config_check_device(s, what, json_array_get(in, i), &complete, e);
		if (rc) {
			json_decref(complete);
			return rc;
		}
		if (json_array_append_new(array, complete))
			return err_set(e, -ENOMEM, "configuration: out of memory");
	}
	return 0;
}

static int load_section(struct config *c, const struct config_section *s, const json_t *in,
			struct config_platform *platform, struct err *e)
{
	json_t *complete = s->many ? json_array() : NULL;
	int rc;

	if (json_is_null(in))
		in = NULL;
	if (s->many)
		rc = load_array(s, in, complete, e);
	else if (!s->class)
		rc = config_load_object(s->table, s->key, in, section_base(c, s, platform),
					&complete, e);
	else if (in || s->always)
		rc = config_check_device(s, s->key, in, &complete, e);
	else
		return 0;
	if (rc) {
		json_decref(complete);
		return rc;
	}
	if (json_object_set_new(c->json, s->key, complete))
		return err_set(e, -ENOMEM, "configuration: out of memory");
	return 0;
}

/* What is left once the sections are taken: plain values, and what is not supported. */
static int load_rest(struct config *c, const json_t *in, struct err *e)
{
	json_auto_t *rest = json_copy((json_t *)in);
	json_auto_t *complete = NULL;
	int rc;

	for (size_t i = 0; i < nconfig_sections; i++)
		json_object_del(rest, config_sections[i].key);
	rc = config_load_object(&config_options, "configuration", rest, c, &complete, e);
	if (!rc && json_object_update(c->json, complete))
		rc = err_set(e, -ENOMEM, "configuration: out of memory");
	return rc;
}

static void put_vcpus(struct config *c)
{
	json_t *cpus = json_object_get(c->json, "cpus");

	c->cpus.hotplug |= c->cpus.boot_vcpus < c->cpus.max_vcpus;
	json_object_set_new(cpus, "boot_vcpus", json_integer(c->cpus.boot_vcpus));
	json_object_set_new(cpus, "max_vcpus", json_integer(c->cpus.max_vcpus));
	if (c->cpus.hotplug)
		json_object_set_new(cpus, "hotplug", json_true());
}

int config_set_vcpus(struct config *c, unsigned count, struct err *e)
{
	if (count < 1 || count > c->cpus.max_vcpus)
		return err_set(e, -EINVAL, CONFIG_VCPUS_RANGE, c->cpus.max_vcpus, count);
	c->cpus.boot_vcpus = count;
	put_vcpus(c);
	return 0;
}

void config_set_cpu_limit(struct config *c, uint32_t thousandths)
{
	json_t *cpus = json_object_get(c->json, "cpus");

	c->cpus.limit = thousandths;
	if (thousandths)
		json_object_set_new(cpus, "limit",
				    thousandths % 1000 ? json_real(thousandths / 1000.0)
						       : json_integer(thousandths / 1000));
	else
		json_object_del(cpus, "limit");
}

static int check_affinity(const struct config_cpus *c, struct err *e)
{
	bool seen[CONFIG_VCPUS_MAX] = { false };
	const json_t *each;
	size_t i;

	json_array_foreach(c->affinity, i, each)
	{
		unsigned vcpu = (unsigned)json_integer_value(json_object_get(each, "vcpu"));

		if (vcpu >= c->max_vcpus)
			return err_set(e, -EINVAL,
				       "cpus: affinity[%zu]: there is no vcpu %u; the last is %u",
				       i, vcpu, c->max_vcpus - 1);
		if (seen[vcpu] || !json_array_size(json_object_get(each, "host_cpus")))
			return err_set(e, -EINVAL,
				       seen[vcpu] ? "cpus: affinity[%zu]: vcpu %u is there twice"
						  : "cpus: affinity[%zu]: host_cpus of vcpu %u "
						    "names none",
				       i, vcpu);
		seen[vcpu] = true;
	}
	return 0;
}

static int check_cpus(struct config *c, struct err *e)
{
	const struct config_topology *t = &c->cpus.topology;
	json_t *cpus = json_object_get(c->json, "cpus");
	uint64_t product = (uint64_t)t->threads_per_core * t->cores_per_die * t->dies_per_package *
			   t->packages;
	uint32_t n = c->cpus.boot_vcpus;

	if (!c->cpus.max_vcpus)
		c->cpus.max_vcpus = n;
	if (c->cpus.max_vcpus < n)
		return err_set(e, -EINVAL,
			       "cpus: max_vcpus is %u and boot_vcpus %u; make it as much or more",
			       c->cpus.max_vcpus, n);
	if (c->cpus.max_vcpus > n && json_is_false(json_object_get(cpus, "hotplug")))
		return err_set(e, -EINVAL,
			       "cpus: max_vcpus is %u and boot_vcpus %u, but hotplug is off; make "
			       "them equal or leave hotplug out",
			       c->cpus.max_vcpus, n);
	if (t->packages && product != c->cpus.max_vcpus)
		return err_set(e, -EINVAL,
			       "cpus: the topology of %u x %u x %u x %u holds %llu vCPUs but "
			       "max_vcpus is %u; make the product equal to it",
			       t->threads_per_core, t->cores_per_die, t->dies_per_package,
			       t->packages, (unsigned long long)product, c->cpus.max_vcpus);
	if (check_affinity(&c->cpus, e))
		return -EINVAL;
	c->cpus.max_phys_bits = MIN(c->cpus.max_phys_bits, kvm_phys_bits());
	json_object_set_new(cpus, "max_phys_bits", json_integer(c->cpus.max_phys_bits));
	put_vcpus(c);
	config_set_cpu_limit(c, c->cpus.limit);
	return 0;
}

/* RAM that does not fit below the PCI hole is above 4 GiB. */
static int check_phys_bits(const struct config *c, struct err *e)
{
	uint64_t hole = PLATFORM_HIGH_RAM_BASE - PLATFORM_LOW_RAM_END;
	/* What can be added begins at a boundary. */
	uint64_t more = c->memory.hotplug_size ? c->memory.hotplug_size + UINT64_C(4) * GIB : 0;
	uint64_t size = c->memory.size + more;

	if (more < c->memory.hotplug_size || size < more)
		size = UINT64_MAX;
	if (size <= PLATFORM_LOW_RAM_END || size <= BIT(c->cpus.max_phys_bits) - hole)
		return 0;
	return err_set(e, -EINVAL,
		       "memory: the guest's %llu MiB reach beyond its addresses of %u bits, which "
		       "are this host's or those of max_phys_bits; give it less",
		       (unsigned long long)(size / MIB), c->cpus.max_phys_bits);
}

int config_check_host_memory(const struct config_memory *m, uint64_t wanted, struct err *e)
{
	struct sysinfo host;
	uint64_t bytes;

	if (!m->reserve || sysinfo(&host))
		return 0;
	bytes = (uint64_t)(host.totalram + host.totalswap) * host.mem_unit;
	if (wanted <= bytes)
		return 0;
	return err_set(e, -ENOMEM,
		       "memory: the guest's %llu MiB are more than the %llu MiB of RAM and swap of "
		       "this host; give it less, or allow that with --memory ...,reserve=off",
		       (unsigned long long)(wanted / MIB), (unsigned long long)(bytes / MIB));
}

static int check_hotplug(const struct config_memory *m, struct err *e)
{
	if (m->hotplugged_size > m->hotplug_size)
		return err_set(
			e, -EINVAL,
			"memory: hotplugged_size is more than hotplug_size; make that larger");
	if (!m->hotplug_size)
		return 0;
	if (m->hotplug_method != HOTPLUG_VIRTIO_MEM)
		return err_set(e, -EINVAL,
			       "memory: it can be added by VirtioMem only; leave hotplug_method "
			       "out");
	if (m->shared || m->hugepages)
		return err_set(e, -EINVAL,
			       "memory: hotplug_size is for private memory without huge pages of a "
			       "pool; leave out shared and hugepages");
	return 0;
}

static int check_memory(const struct config_memory *m, struct err *e)
{
	uint64_t page = m->hugepages ? 2 * MIB : GUEST_PAGE_BYTES;

	if (m->hugepage_size && !m->hugepages)
		return err_set(
			e, -EINVAL,
			"memory: hugepage_size is given but hugepages is off; add hugepages=on");
	if (m->hugepage_size && m->hugepage_size != 2 * MIB && m->hugepage_size != GIB)
		return err_set(e, -EINVAL, "memory: hugepage_size must be 2M or 1G");
	if (m->hugepage_size)
		page = m->hugepage_size;
	if (m->size % page)
		return err_set(e, -EINVAL,
			       "memory: size must be a multiple of its pages of %llu KiB, not %llu "
			       "bytes",
			       (unsigned long long)(page / KIB), (unsigned long long)m->size);
	if (check_hotplug(m, e))
		return -EINVAL;
	return config_check_host_memory(m, m->size + m->hotplugged_size, e);
}

static int check_payload(const struct config *c, struct err *e)
{
	if (!c->payload.kernel || !*c->payload.kernel)
		return err_set(
			e, -EINVAL,
			"no kernel is given; name one with --kernel FILE, or as kernel in the "
			"payload of the configuration");
	return 0;
}

static bool has_terminal(const struct config *c, const char *section)
{
	const char *mode =
		json_string_value(json_object_get(json_object_get(c->json, section), "mode"));

	return !strcmp(mode, chardev_mode_names[CHARDEV_TTY]);
}

static int check_terminal(const struct config *c, struct err *e)
{
	if (!has_terminal(c, "serial") || !has_terminal(c, "console"))
		return 0;
	return err_set(e, -EINVAL,
		       "serial and console cannot both have this terminal; give one of them "
		       "another mode, such as --serial null");
}

/* Canonical form: 8-4-4-4-12 lower-case digits (RFC 9562, 4). */
static int take_uuid(char uuid[37], const char *given, struct err *e)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	bool well_formed = strlen(given) == strlen(form);

	for (size_t i = 0; well_formed && form[i]; i++) {
		unsigned char c = (unsigned char)given[i];

		well_formed = form[i] == '-' ? c == '-' : isxdigit(c);
		uuid[i] = (char)tolower(c);
	}
	uuid[36] = '\0';
	if (well_formed)
		return 0;
	return err_set(e, -EINVAL,
		       "platform: uuid must look like 6ba7b810-9dad-41d1-80b4-00c04fd430c8, not "
		       "\"%.80s\"",
		       given);
}

/* The name becomes a directory's. */
int config_check_name(const char *name, struct err *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t len = strlen(name);

	if (len >= 1 && len <= CONFIG_NAME_MAX && strspn(name, allowed) == len && *name != '.' &&
	    *name != '-')
		return 0;
	return err_set(
		e, -EINVAL,
		"name must be 1 to %d letters, digits, dots, underscores or dashes and begin "
		"with a letter, a digit or an underscore, not \"%.80s\"",
		CONFIG_NAME_MAX, name);
}

static int identify(struct config *c, const char *given_uuid, struct err *e)
{
	char name[16];
	int rc = given_uuid ? take_uuid(c->uuid, given_uuid, e) : uuid_new(c->uuid, e);

	if (rc)
		return rc;
	json_object_set_new(json_object_get(c->json, "platform"), "uuid", json_string(c->uuid));
	if (!c->name) {
		snprintf(name, sizeof(name), "vm-%.8s", c->uuid);
		json_object_set_new(c->json, "name", json_string(name));
		c->name = json_string_value(json_object_get(c->json, "name"));
	}
	return c->name ? config_check_name(c->name, e)
		       : err_set(e, -ENOMEM, "configuration: out of memory");
}

/* Values made here stand where given ones would, so that the complete form of c->json is itself.
 * Its strings are the same ones: those in c stay valid. */
static int put_in_order(struct config *c, struct err *e)
{
	json_auto_t *rest = option_complete(&config_options, c->json);
	json_t *ordered = json_object();
	int rc = 0;

	for (size_t i = 0; !rc && i < nconfig_sections; i++) {
		const struct config_section *s = &config_sections[i];
		json_t *v = json_object_get(c->json, s->key);

		if (v)
			rc = json_object_set_new(ordered, s->key,
						 s->class || s->many
							 ? json_incref(v)
							 : option_complete(s->table, v));
	}
	if (rc || json_object_update(ordered, rest)) {
		json_decref(ordered);
		return err_set(e, -ENOMEM, "configuration: out of memory");
	}
	json_decref(c->json);
	c->json = ordered;
	return 0;
}

static int load_all(struct config *c, json_t *in, struct err *e)
{
	struct config_platform platform = { 0 };
	int rc = take_legacy_payload(in, e);

	for (size_t i = 0; !rc && i < nconfig_sections; i++) {
		const struct config_section *s = &config_sections[i];

		rc = load_section(c, s, json_object_get(in, s->key), &platform, e);
	}
	if (!rc)
		rc = load_rest(c, in, e);
	if (!rc)
		rc = check_payload(c, e);
	if (!rc)
		rc = check_cpus(c, e);
	if (!rc)
		rc = check_memory(&c->memory, e);
	if (!rc)
		rc = check_phys_bits(c, e);
	if (!rc)
		rc = config_take_numa(c, e);
	if (!rc)
		rc = config_check_balloon(c, e);
	if (!rc)
		rc = check_terminal(c, e);
	if (!rc && c->lease)
		rc = lease_check_url(c->lease, e);
	if (!rc)
		rc = identify(c, platform.uuid, e);
	for (size_t i = 0; !rc && i < nconfig_sections; i++)
		if (config_sections[i].hotplug)
			rc = config_finish_devices(c, &config_sections[i], e);
	return rc ? rc : put_in_order(c, e);
}

int config_load(struct config *config, const json_t *object, struct err *e)
{
	struct config c = { .json = json_object() };
	json_auto_t *in = NULL;
	int rc;

	if (!json_is_object(object)) {
		config_free(&c);
		return err_set(e, -EINVAL, "configuration: must be a JSON object, { ... }");
	}
	in = json_copy((json_t *)object);
	if (!in || !c.json)
		rc = err_set(e, -ENOMEM, "configuration: out of memory");
	else
		rc = load_all(&c, in, e);
	if (rc)
		config_free(&c);
	else
		*config = c;
	return rc;
}

void config_free(struct config *c)
{
	config_files_free(c);
	json_decref(c->json);
	c->json = NULL;
}
