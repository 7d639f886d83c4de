/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every field that this version cannot honour, in every table: what others who speak the API take
 * for its default is taken, null too, and anything else is refused by name. And more devices than
 * any VM has room for: each is compared with all others.
 */
#include <errno.h>
#include <string.h>

#include "bits.h"
#include "check_main.h"
#include "cleanup.h"
#include "config.h"

/* The default is null where there is none. */
static const struct field {
	const char *section, *name; /* section "": top level */
	const char *fallback, *other;
} fields[] = {
	{ "payload", "firmware", "null", "\"f\"" },
	{ "payload", "igvm", "null", "\"f\"" },
	{ "payload", "host_data", "null", "\"00\"" },
	{ "cpus", "kvm_hyperv", "false", "true" },
	{ "cpus", "nested", "true", "false" },
	{ "cpus", "features", "{\"amx\":false}", "{\"amx\":true}" },
	{ "cpus", "core_scheduling", "\"Vm\"", "\"Vcpu\"" },
	{ "memory", "zones", "null", "[{\"id\":\"z\",\"size\":4096}]" },
	{ "numa", "memory_zones", "[]", "[\"z\"]" },
	{ "numa", "pci_segments", "null", "[0]" },
	{ "platform", "num_pci_segments", "1", "2" },
	{ "platform", "iommu_segments", "null", "[1]" },
	{ "platform", "iommu_address_width_bits", "64", "48" },
	{ "platform", "serial_number", "null", "\"s\"" },
	{ "platform", "system_serial_number", "null", "\"s\"" },
	{ "platform", "system_uuid", "null", "\"6ba7b810-9dad-41d1-80b4-00c04fd430c8\"" },
	{ "platform", "system_manufacturer", "null", "\"s\"" },
	{ "platform", "system_product_name", "null", "\"s\"" },
	{ "platform", "system_version", "null", "\"s\"" },
	{ "platform", "system_family", "null", "\"s\"" },
	{ "platform", "system_sku_number", "null", "\"s\"" },
	{ "platform", "chassis_asset_tag", "null", "\"s\"" },
	{ "platform", "oem_strings", "null", "[\"s\"]" },
	{ "platform", "tdx", "false", "true" },
	{ "platform", "sev_snp", "false", "true" },
	{ "platform", "iommufd", "false", "true" },
	{ "platform", "vfio_p2p_dma", "true", "false" },
	{ "disks", "iommu", "false", "true" },
	{ "disks", "vhost_user", "false", "true" },
	{ "disks", "vhost_socket", "null", "\"s\"" },
	{ "disks", "pci_segment", "0", "1" },
	{ "disks", "pci_device_id", "null", "5" },
	{ "disks", "queue_affinity", "null", "[{\"queue_index\":0,\"host_cpus\":[0]}]" },
	{ "disks", "backing_files", "false", "true" },
	{ "disks", "lock_granularity", "\"ByteRange\"", "\"Full\"" },
	{ "net", "iommu", "false", "true" },
	{ "net", "vhost_user", "false", "true" },
	{ "net", "vhost_socket", "null", "\"s\"" },
	{ "net", "vhost_mode", "\"Client\"", "\"Server\"" },
	{ "net", "fds", "null", "[3]" },
	{ "net", "pci_segment", "0", "1" },
	{ "net", "pci_device_id", "null", "5" },
	{ "rng", "iommu", "false", "true" },
	{ "console", "iommu", "false", "true" },
	{ "console", "id", "null", "\"c\"" },
	{ "console", "pci_segment", "0", "1" },
	{ "console", "pci_device_id", "null", "5" },
	{ "", "fs", "null", "[{\"tag\":\"t\",\"socket\":\"s\"}]" },
	{ "", "generic_vhost_user", "null", "[{\"socket\":\"s\"}]" },
	{ "", "pmem", "null", "[{\"file\":\"f\"}]" },
	{ "", "debug_console", "{\"mode\":\"Off\",\"file\":null,\"iobase\":233}",
	  "{\"mode\":\"Pty\"}" },
	{ "", "devices", "[]", "[{\"path\":\"/sys/bus/pci/devices/0000:00:02.0/\"}]" },
	{ "", "user_devices", "null", "[{\"socket\":\"s\"}]" },
	{ "", "vdpa", "null", "[{\"path\":\"p\"}]" },
	{ "", "vsock", "null", "{\"cid\":3,\"socket\":\"s\"}" },
	{ "", "iommu", "false", "true" },
	{ "", "watchdog", "false", "true" },
	{ "", "rtc", "null", "{\"mode\":\"Pty\"}" },
	{ "", "pci_segments", "null", "[{\"pci_segment\":0,\"mmio32_aperture_weight\":2}]" },
	{ "", "tpm", "null", "{\"socket\":\"s\"}" },
	{ "", "landlock_enable", "false", "true" },
	{ "", "landlock_rules", "null", "[{\"path\":\"/\",\"access\":\"r\"}]" },
};

static const struct field *find_field(const char *section, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!strcmp(fields[i].section, section) && !strcmp(fields[i].name, name))
			return &fields[i];
	return NULL;
}

/* A configuration that says nothing but this field, and what must be said. */
static json_t *config_with(const struct field *f, const char *value)
{
	const struct config_section *s = config_find_section(f->section);
	json_t *json = json_pack("{s:{s:s}}", "payload", "kernel", "k");
	json_t *field = json_loads(value, JSON_DECODE_ANY, NULL), *object;

	ck_assert_ptr_nonnull(field);
	if (!s) {
		json_object_set_new(json, f->name, field);
		return json;
	}
	object = json_object_get(json, f->section);
	object = object ? json_incref(object) : json_object();
	json_object_set_new(object, f->name, field);
	if (!strcmp(f->section, "disks"))
		json_object_set_new(object, "path", json_string("p"));
	if (!strcmp(f->section, "numa"))
		json_object_set_new(object, "guest_numa_id", json_integer(0));
	if (!strcmp(f->section, "console"))
		json_object_set_new(object, "mode", json_string("Pty"));
	json_object_set_new(json, f->section, s->many ? json_pack("[o]", object) : object);
	return json;
}

static void check_field(const struct field *f)
{
	const char *const taken[] = { f->fallback, "null" };
	struct err e = { "" };
	struct config c;

	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		json_auto_t *json = config_with(f, taken[i]);

		ck_assert_msg(!config_load(&c, json, &e), "%s: %s: %s", f->name, taken[i], e.text);
		config_free(&c);
	}
	json_auto_t *json = config_with(f, f->other);

	ck_assert_msg(config_load(&c, json, &e) == -EINVAL, "%s: %s", f->name, f->other);
	ck_assert_msg(strstr(e.text, f->name), "%s: %s", f->name, e.text);
	ck_assert_msg(strstr(e.text, f->section), "%s: %s", f->section, e.text);
}

/* The number of fields that the table refuses. */
static unsigned check_table(const struct option_table *t, const char *section)
{
	unsigned n = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct field *f = find_field(section, t->option[i].key);

		if (t->option[i].kind != OPTION_REFUSED)
			continue;
		ck_assert_msg(f, "%s.%s is not in the table of this test", section,
			      t->option[i].key);
		check_field(f);
		n++;
	}
	return n;
}

START_TEST(fields_not_honoured_are_refused_by_name)
{
	unsigned n = check_table(&config_options, "");

	for (size_t i = 0; i < nconfig_sections; i++)
		n += check_table(config_section_table(&config_sections[i]), config_sections[i].key);
	ck_assert_uint_eq(n, ARRAY_SIZE(fields));
}
END_TEST

/* A VM with n network cards that leave everything open. */
static json_t *config_with_cards(unsigned n)
{
	json_t *cards = json_array();

	while (n--)
		json_array_append_new(cards, json_object());
	return json_pack("{s:{s:s}, s:o}", "payload", "kernel", "k", "net", cards);
}

START_TEST(more_devices_than_any_vm_can_have)
{
	enum { MOST = 64 };
	json_auto_t *most = config_with_cards(MOST), *many = config_with_cards(MOST + 1);
	json_auto_t *card = json_object();
	struct err e = { "" };
	const json_t *added;
	struct config c;

	ck_assert_int_eq(config_load(&c, many, &e), -EINVAL);
	ck_assert_str_eq(e.text, "net: 65 are more than any VM can have; give it fewer");
	ck_assert_int_eq(config_load(&c, most, &e), 0);
	ck_assert_int_eq(config_add(&c, "net", card, NULL, 0, &added, &e), -EINVAL);
	ck_assert_str_eq(e.text, "net: 65 are more than any VM can have; give it fewer");
	ck_assert_uint_eq(json_array_size(json_object_get(c.json, "net")), MOST);
	ck_assert(config_remove(&c, "net7"));
	ck_assert_int_eq(config_add(&c, "net", card, NULL, 0, &added, &e), 0);
	config_free(&c);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("config_refused");
	TCase *t = tcase_create("config_refused");

	tcase_add_test(t, fields_not_honoured_are_refused_by_name);
	tcase_add_test(t, more_devices_than_any_vm_can_have);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
