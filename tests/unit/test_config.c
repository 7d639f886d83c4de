/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "bits.h"
#include "check_main.h"
#include "config_of.h"
#include "kvm.h"

#define UUID "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

static void assert_fine(const char *text)
{
	struct config c;

	assert_loads(&c, text);
	config_free(&c);
}

static void assert_refused(const char *text, const char *sentence)
{
	struct config c = { .json = NULL };
	struct err e = { "" };

	ck_assert_msg(load(&c, text, &e) == -EINVAL, "%s", text);
	ck_assert_str_eq(e.text, sentence);
	ck_assert_ptr_null(c.json);
}

START_TEST(defaults)
{
	struct config c;
	char name[16];

	assert_loads(&c, "{" KERNEL "}");
	ck_assert_str_eq(c.payload.kernel, "k");
	ck_assert_ptr_null(c.payload.cmdline);
	ck_assert_ptr_null(c.payload.initramfs);
	ck_assert_uint_eq(c.cpus.boot_vcpus, 1);
	ck_assert_uint_eq(c.cpus.max_vcpus, 1);
	ck_assert_uint_eq(c.cpus.topology.packages, 0);
	ck_assert_uint_eq(c.memory.size, 512 * MIB);
	ck_assert(c.memory.thp && !c.memory.hugepages && !c.memory.shared);
	ck_assert(!c.pvpanic);
	ck_assert_uint_eq(c.on_reboot, ON_REBOOT_RESTART);
	ck_assert_uint_eq(c.on_panic, ON_PANIC_EXIT);
	ck_assert_uint_eq(c.stop_timeout_s, 10);
	snprintf(name, sizeof(name), "vm-%.8s", c.uuid);
	ck_assert_str_eq(c.name, name);
	ck_assert_uint_eq(json_array_size(json_object_get(c.json, "disks")), 0);
	ck_assert_ptr_nonnull(json_object_get(json_object_get(c.json, "serial"), "mode"));
	ck_assert_ptr_nonnull(json_object_get(json_object_get(c.json, "rng"), "src"));
	config_free(&c);
}
END_TEST

/* What --dry-run prints means the same VM, byte for byte. */
START_TEST(complete_json_is_a_fixed_point)
{
	struct config first, second;
	struct err e;
	char *a, *b;

	assert_loads(&first, "{" KERNEL ",'cpus':{'boot_vcpus':4,'topology':{'cores_per_die':4}},"
			     "'disks':[{'path':'a'},{'path':'b','readonly':true}],"
			     "'memory':{'size':'64M'},'unknown':[1],'net':[{},{'tap':'t'}],"
			     "'console':{'mode':'Off'},'on_panic':'pause','pvpanic':true}");
	ck_assert(!config_load(&second, first.json, &e));
	a = json_dumps(first.json, JSON_INDENT(2));
	b = json_dumps(second.json, JSON_INDENT(2));
	ck_assert_str_eq(a, b);
	ck_assert_str_eq(first.uuid, second.uuid);
	ck_assert_str_eq(first.name, second.name);
	ck_assert_uint_eq(second.memory.size, 64 * MIB);
	ck_assert(second.pvpanic);
	ck_assert_uint_eq(second.on_panic, ON_PANIC_PAUSE);
	ck_assert_ptr_null(strstr(b, "unknown"));
	ck_assert_uint_eq(json_array_size(json_object_get(second.json, "disks")), 2);
	free(a);
	free(b);
	config_free(&second);
	config_free(&first);
}
END_TEST

START_TEST(old_clients_name_the_kernel_at_top_level)
{
	struct config c;

	assert_loads(&c, "{'kernel':{'path':'k'},'cmdline':{'args':'a b'},"
			 "'initramfs':{'path':'i'}}");
	ck_assert_str_eq(c.payload.kernel, "k");
	ck_assert_str_eq(c.payload.cmdline, "a b");
	ck_assert_str_eq(c.payload.initramfs, "i");
	ck_assert_ptr_null(json_object_get(c.json, "kernel"));
	config_free(&c);
	assert_loads(&c, "{'kernel':{'path':'old'},'payload':{'kernel':'new'}}");
	ck_assert_str_eq(c.payload.kernel, "new");
	config_free(&c);
	assert_refused("{'kernel':{'path':3}}", "payload: kernel must be a string, not 3");
	assert_refused("{'kernel':'k'}",
		       "no kernel is given; name one with --kernel FILE, or as kernel in the "
		       "payload of the configuration");
}
END_TEST

START_TEST(vcpus)
{
	struct config c;

	assert_loads(&c, "{" KERNEL ",'cpus':{'boot_vcpus':12,'max_vcpus':12,'topology':{"
			 "'threads_per_core':2,'cores_per_die':3,'packages':2}}}");
	ck_assert_uint_eq(c.cpus.topology.dies_per_package, 1);
	config_free(&c);
	assert_fine("{" KERNEL ",'cpus':{'boot_vcpus':255}}");
	assert_refused("{" KERNEL ",'cpus':{'boot_vcpus':0}}",
		       "cpus: boot_vcpus must be a number from 1 to 255, not 0");
	assert_refused("{" KERNEL ",'cpus':{'boot_vcpus':256}}",
		       "cpus: boot_vcpus must be a number from 1 to 255, not 256");
	assert_refused("{" KERNEL ",'cpus':{'boot_vcpus':4,'max_vcpus':2}}",
		       "cpus: max_vcpus is 2 and boot_vcpus 4; make it as much or more");
	assert_refused("{" KERNEL ",'cpus':{'boot_vcpus':4,'topology':{'cores_per_die':3}}}",
		       "cpus: the topology of 1 x 3 x 1 x 1 holds 3 vCPUs but max_vcpus is 4; make "
		       "the product equal to it");
	assert_refused("{" KERNEL ",'cpus':{'topology':{'threads_per_core':65535,"
		       "'cores_per_die':65535,'dies_per_package':65535,'packages':65535}}}",
		       "cpus: the topology of 65535 x 65535 x 65535 x 65535 holds "
		       "18445618199572250625 vCPUs but max_vcpus is 1; make the product equal to "
		       "it");
	assert_refused("{" KERNEL ",'cpus':{'features':{'amx':true}}}",
		       "cpus: features is not supported by this version; leave it out");
	assert_fine("{" KERNEL ",'cpus':{'boot_vcpus':1,'features':{'amx':false},'nested':true}}");
}
END_TEST

START_TEST(phys_bits)
{
	struct config c;

	assert_loads(&c, "{" KERNEL ",'cpus':{'max_phys_bits':52}}");
	ck_assert_uint_eq(c.cpus.max_phys_bits, kvm_phys_bits());
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'cpus':{'max_phys_bits':34},"
			 "'memory':{'size':'15G','reserve':false}}");
	ck_assert_uint_eq(c.cpus.max_phys_bits, 34);
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'cpus':{'max_phys_bits':32},"
			 "'memory':{'size':'3G','reserve':false}}");
	config_free(&c);
	assert_refused("{" KERNEL ",'cpus':{'max_phys_bits':34},"
		       "'memory':{'size':'15361M','reserve':false}}",
		       "memory: the guest's 15361 MiB reach beyond its addresses of 34 bits, which "
		       "are this host's or those of max_phys_bits; give it less");
	assert_refused("{" KERNEL ",'cpus':{'max_phys_bits':53}}",
		       "cpus: max_phys_bits must be a number from 32 to 52, not 53");
}
END_TEST

START_TEST(memory)
{
	struct config c;

	assert_loads(&c, "{" KERNEL ",'memory':{'size':16777216}}");
	ck_assert_uint_eq(c.memory.size, 16 * MIB);
	config_free(&c);
	assert_refused(
		"{" KERNEL ",'memory':{'size':16777215}}",
		"memory: size must be a size such as 512M or 2G, at least 16M, not 16777215");
	assert_refused("{" KERNEL ",'memory':{'size':16777217}}",
		       "memory: size must be a multiple of its pages of 4 KiB, not 16777217 bytes");
	assert_refused("{" KERNEL ",'memory':{'size':'17M','hugepages':true}}",
		       "memory: size must be a multiple of its pages of 2048 KiB, not 17825792 "
		       "bytes");
	assert_refused("{" KERNEL ",'memory':{'size':'512M','hugepages':true,"
		       "'hugepage_size':1073741824}}",
		       "memory: size must be a multiple of its pages of 1048576 KiB, not 536870912 "
		       "bytes");
	assert_refused("{" KERNEL ",'memory':{'hugepages':true,'hugepage_size':4096}}",
		       "memory: hugepage_size must be 2M or 1G");
	assert_refused("{" KERNEL ",'memory':{'hugepage_size':2097152}}",
		       "memory: hugepage_size is given but hugepages is off; add hugepages=on");
	assert_refused("{" KERNEL ",'memory':{'zones':[{'id':'a'}]}}",
		       "memory: zones is not supported by this version; leave it out");
}
END_TEST

START_TEST(memory_that_can_be_added)
{
	struct config c;

	assert_loads(&c, "{" KERNEL ",'memory':{'hotplug_size':'2G','hotplugged_size':'1G'}}");
	ck_assert_uint_eq(c.memory.hotplug_size, UINT64_C(2) * GIB);
	ck_assert_uint_eq(c.memory.hotplugged_size, GIB);
	config_free(&c);
	/* What clients send that know of another way, and want none. */
	assert_fine("{" KERNEL ",'memory':{'hotplug_size':null,'hotplug_method':'Acpi'}}");
	assert_refused("{" KERNEL ",'memory':{'hotplug_size':'2G','hotplug_method':'Acpi'}}",
		       "memory: it can be added by VirtioMem only; leave hotplug_method out");
	assert_refused("{" KERNEL ",'memory':{'hotplugged_size':'2G'}}",
		       "memory: hotplugged_size is more than hotplug_size; make that larger");
	assert_refused("{" KERNEL ",'memory':{'hotplug_size':'2G','shared':true}}",
		       "memory: hotplug_size is for private memory without huge pages of a pool; "
		       "leave out shared and hugepages");
}
END_TEST

START_TEST(balloon)
{
	struct config c;
	struct err e;

	assert_loads(&c, "{" KERNEL ",'memory':{'size':'16M'},'balloon':{'size':'16M'}}");
	ck_assert_int_eq(config_set_balloon(&c, 12345, &e), 0);
	ck_assert_int_eq(
		json_integer_value(json_object_get(json_object_get(c.json, "balloon"), "size")),
		12345);
	ck_assert_int_eq(config_set_balloon(&c, 16 * MIB + 1, &e), -EINVAL);
	config_free(&c);
	assert_loads(&c, "{" KERNEL "}");
	ck_assert_int_eq(config_set_balloon(&c, 0, &e), -ENOENT);
	ck_assert_ptr_null(json_object_get(c.json, "balloon"));
	config_free(&c);
	assert_refused("{" KERNEL ",'balloon':{}}", "balloon: size is missing and must be given");
	assert_refused("{" KERNEL ",'memory':{'size':'16M'},'balloon':{'size':'17M'}}",
		       "balloon: its 17 MiB are more than the guest's memory, which has 16 MiB");
	assert_refused("{" KERNEL ",'memory':{'hugepages':true},"
		       "'balloon':{'size':0,'free_page_reporting':true}}",
		       "balloon: free_page_reporting does not go with hugepages: the host keeps "
		       "none of them for a guest that wants them back");
	assert_fine("{" KERNEL ",'memory':{'hugepages':true},'balloon':{'size':0}}");
}
END_TEST

START_TEST(more_memory_than_the_host)
{
	struct sysinfo host;
	struct err e = { "" };
	struct config c;
	char json[128];
	uint64_t all;

	ck_assert(!sysinfo(&host));
	all = (uint64_t)(host.totalram + host.totalswap) * host.mem_unit & ~UINT64_C(4095);
	snprintf(json, sizeof(json), "{" KERNEL ",'memory':{'size':%llu}}",
		 (unsigned long long)all);
	assert_fine(json);
	snprintf(json, sizeof(json), "{" KERNEL ",'memory':{'size':%llu}}",
		 (unsigned long long)all + 4096);
	ck_assert_int_eq(load(&c, json, &e), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(e.text, "of RAM and swap of this host; give it less"));
	assert_loads(&c, "{" KERNEL ",'memory':{'size':'8T','reserve':false}}");
	ck_assert_uint_eq(c.memory.size, UINT64_C(8) << 40);
	config_free(&c);
}
END_TEST

START_TEST(what_this_version_cannot_honour_is_refused)
{
	static const char *const asked[] = {
		"'vdpa':[{'path':'t'}]",   "'fs':[{'tag':'a'}]",
		"'vsock':{'cid':3}",       "'devices':[{'path':'/'}]",
		"'watchdog':true",         "'iommu':true",
		"'tpm':{'socket':'s'}",    "'console':{'id':'a'}",
		"'landlock_enable':true",  "'vdpa':[{}]",
		"'platform':{'tdx':true}",
	};
	static const char *const nothing[] = {
		"'net':[]",
		"'fs':null",
		"'console':{'mode':'Off'}",
		"'iommu':false",
		"'platform':{'tdx':false}",
		"'balloon':null",
		"'vsock':null",
		"'debug_console':{'mode':'Off','iobase':233}",
	};
	struct err e = { "" };
	struct config c;
	char json[128];

	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		snprintf(json, sizeof(json), "{" KERNEL ",%s}", asked[i]);
		ck_assert_msg(load(&c, json, &e) == -EINVAL, "%s", asked[i]);
		ck_assert_ptr_nonnull(strstr(e.text, "is not supported by this version; "));
	}
	for (size_t i = 0; i < ARRAY_SIZE(nothing); i++) {
		snprintf(json, sizeof(json), "{" KERNEL ",%s}", nothing[i]);
		assert_fine(json);
	}
}
END_TEST

START_TEST(serial_and_console)
{
	static const char sentence[] =
		"serial and console cannot both have this terminal; give one of them another "
		"mode, such as --serial null";
	struct config c;
	json_t *console;

	assert_loads(&c, "{" KERNEL "}");
	console = json_object_get(c.json, "console");
	ck_assert_str_eq(json_string_value(json_object_get(console, "mode")), "Off");
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'console':{'mode':'socket','socket':'s'}}");
	console = json_object_get(c.json, "console");
	ck_assert_str_eq(json_string_value(json_object_get(console, "mode")), "Socket");
	config_free(&c);
	assert_fine("{" KERNEL ",'serial':{'mode':'Tty'},'console':{'mode':'Off'}}");
	assert_fine("{" KERNEL ",'serial':{'mode':'Pty'},'console':{'mode':'Pty'}}");
	assert_fine("{" KERNEL ",'console':{'mode':'Tty','iommu':false,'pci_segment':0}}");
	assert_refused("{" KERNEL ",'serial':{'mode':'tty'},'console':{'mode':'Tty'}}", sentence);
	assert_refused("{" KERNEL ",'console':{'mode':'Sclp'}}",
		       "console: mode must be Off, Null, Tty, Pty, File or Socket, not \"Sclp\"");
}
END_TEST

START_TEST(sections_of_the_wrong_shape)
{
	assert_refused("[]", "configuration: must be a JSON object, { ... }");
	assert_refused("{" KERNEL ",'disks':{'path':'a'}}",
		       "disks: must be an array of objects, [ { ... } ]");
	assert_refused("{" KERNEL ",'disks':['a']}",
		       "disks[0]: must be an object, { \"key\": value, ... }");
	assert_refused("{" KERNEL ",'disks':[{'path':'a'},{'path':'b','readonly':1}]}",
		       "disks[1]: readonly must be true or false, not 1");
	assert_refused("{" KERNEL ",'cpus':4}", "cpus: must be an object, { \"key\": value, ... }");
	assert_refused("{'payload':'k'}", "payload: must be an object, { \"key\": value, ... }");
	assert_refused("{" KERNEL ",'on_reboot':'halt'}",
		       "configuration: on_reboot must be restart or exit, not \"halt\"");
	assert_fine("{" KERNEL ",'disks':null,'serial':null,'rng':null,'cpus':null}");
}
END_TEST

START_TEST(limits)
{
	assert_fine("{" KERNEL ",'disks':[{'path':'a','rate_limit_group':'g'},{'path':'b',"
		    "'rate_limiter_config':{'ops':{'size':5}}}],'net':[{'rate_limit_group':'g'}],"
		    "'rate_limit_groups':[{'id':'h'},{'id':'g','rate_limiter_config':{"
		    "'bandwidth':{'size':5,'one_time_burst':7,'refill_time':100},'ops':null}}]}");
	assert_refused("{" KERNEL ",'disks':[{'path':'a'},{'path':'b','rate_limit_group':'g'}],"
		       "'rate_limit_groups':[{'id':'h'}]}",
		       "disks[1]: there is no rate limit group \"g\"; make it with "
		       "--rate-limit-group id=g,bw=SIZE");
	assert_refused("{" KERNEL ",'net':[{'rate_limit_group':'g','rate_limiter_config':{"
		       "'ops':{'size':5}}}],'rate_limit_groups':[{'id':'g'}]}",
		       "net[0]: it has limits of its own and those of group \"g\"; leave one of "
		       "them out");
	assert_refused("{" KERNEL ",'rate_limit_groups':[{'rate_limiter_config':null}]}",
		       "rate_limit_groups[0]: id is missing and must be given");
	assert_refused("{" KERNEL ",'net':[{'rate_limiter_config':{'ops':{'refill_time':1}}}]}",
		       "net[0].rate_limiter_config.ops: size is missing and must be given");
}
END_TEST

START_TEST(identity)
{
	static const char sentence[] = "platform: uuid must look like " UUID ", not ";
	struct config c, other;
	char expected[192];

	assert_loads(&c, "{" KERNEL ",'platform':{'uuid':'6BA7B810-9dad-41D1-80B4-00C04FD430C8'}}");
	ck_assert_str_eq(c.uuid, UUID);
	ck_assert_str_eq(c.name, "vm-6ba7b810");
	config_free(&c);
	snprintf(expected, sizeof(expected), "%s\"6ba7b8109dad41d180b400c04fd430c8\"", sentence);
	assert_refused("{" KERNEL ",'platform':{'uuid':'6ba7b8109dad41d180b400c04fd430c8'}}",
		       expected);
	snprintf(expected, sizeof(expected), "%s\"6ba7b810-9dad-41d1-80b4-00c04fd430cg\"",
		 sentence);
	assert_refused("{" KERNEL ",'platform':{'uuid':'6ba7b810-9dad-41d1-80b4-00c04fd430cg'}}",
		       expected);
	assert_loads(&c, "{" KERNEL "}");
	assert_loads(&other, "{" KERNEL "}");
	ck_assert_str_ne(c.uuid, other.uuid);
	ck_assert_uint_eq(strlen(c.uuid), 36);
	ck_assert_int_eq(c.uuid[14], '4');
	ck_assert_ptr_nonnull(strchr("89ab", c.uuid[19]));
	config_free(&c);
	config_free(&other);
}
END_TEST

START_TEST(names)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "-x", ".x", "a b", "\u00e4" };
	struct config c;
	struct err e;
	char json[256];

	assert_fine("{" KERNEL ",'name':'Web-1_a.b'}");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(json, sizeof(json), "{" KERNEL ",'name':'%s'}", bad[i]);
		ck_assert_msg(load(&c, json, &e) == -EINVAL, "%s", bad[i]);
	}
	snprintf(json, sizeof(json), "{" KERNEL ",'name':'%064d'}", 0);
	assert_fine(json);
	snprintf(json, sizeof(json), "{" KERNEL ",'name':'%065d'}", 0);
	ck_assert(load(&c, json, &e) == -EINVAL);
}
END_TEST

static const char *text_in(const struct config *c, const char *section, size_t i, const char *key)
{
	const json_t *device = json_array_get(json_object_get(c->json, section), i);

	return json_string_value(json_object_get(device, key));
}

START_TEST(devices_have_names_and_addresses)
{
	struct config c;

	assert_loads(&c,
		     "{" KERNEL ",'disks':[{'path':'a'},{'path':'b','id':'disk0'},{'path':'c'}],"
		     "'net':[{'tap':'x'},{'tap':'y'},{'tap':'z','id':'net1'}]}");
	ck_assert_str_eq(text_in(&c, "disks", 0, "id"), "disk1");
	ck_assert_str_eq(text_in(&c, "disks", 1, "id"), "disk0");
	ck_assert_str_eq(text_in(&c, "disks", 2, "id"), "disk2");
	ck_assert_str_eq(text_in(&c, "net", 0, "id"), "net0");
	ck_assert_str_eq(text_in(&c, "net", 1, "id"), "net2");
	ck_assert_str_ne(text_in(&c, "net", 0, "mac"), text_in(&c, "net", 1, "mac"));
	config_free(&c);
}
END_TEST

START_TEST(devices_come_and_go)
{
	json_auto_t *disk = json_of("{'path':'a'}");
	json_auto_t *named = json_of("{'path':'b','id':'disk1'}");
	json_auto_t *card = json_of("{'tap':'x'}"), *wrong = json_of("{'num_queues':2}");
	const json_t *added;
	struct config c;
	struct err e;

	assert_loads(&c, "{" KERNEL ",'disks':[{'path':'a'}]}");
	ck_assert_int_eq(config_add(&c, "disks", disk, NULL, 0, &added, &e), 0);
	ck_assert_str_eq(json_string_value(json_object_get(added, "id")), "disk1");
	ck_assert(json_is_false(json_object_get(added, "readonly")));
	ck_assert_int_eq(config_add(&c, "disks", named, NULL, 0, &added, &e), -EEXIST);
	ck_assert_ptr_nonnull(strstr(e.text, "disk1"));
	ck_assert_int_eq(config_add(&c, "disks", wrong, NULL, 0, &added, &e), -EINVAL);
	ck_assert_uint_eq(json_array_size(json_object_get(c.json, "disks")), 2);
	ck_assert(config_remove(&c, "disk0"));
	ck_assert(!config_remove(&c, "disk0"));
	ck_assert(!config_remove(&c, "serial"));
	ck_assert_int_eq(config_add(&c, "disks", disk, NULL, 0, &added, &e), 0);
	ck_assert_str_eq(json_string_value(json_object_get(added, "id")), "disk2");
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(config_add(&c, "net", card, NULL, 0, &added, &e), 0);
	ck_assert(config_remove(&c, "net0"));
	ck_assert_int_eq(config_add(&c, "net", card, NULL, 0, &added, &e), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_str_ne(text_in(&c, "net", 2, "mac"), text_in(&c, "net", i, "mac"));
	config_free(&c);
}
END_TEST

/* What the i-th device of a section has as its limits; NULL: none. */
static const json_t *limits_in(const struct config *c, const char *section, size_t i)
{
	const json_t *device = json_array_get(json_object_get(c->json, section), i);

	return json_object_get(device, "rate_limiter_config");
}

static void refuses_limits(struct config *c, const char *id, const char *given, int code,
			   const char *sentence)
{
	json_auto_t *before = json_deep_copy(c->json), *json = json_of(given);
	struct limiter_config now;
	struct err e = { "" };

	ck_assert_int_eq(config_set_limits(c, id, json, &now, &e), code);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	ck_assert(json_equal(c->json, before));
}

START_TEST(limits_change)
{
	json_auto_t *ops = json_of("{'ops':{'size':5}}"), *null = json_null();
	json_auto_t *complete = json_of("{'ops':{'size':5,'refill_time':1000}}");
	json_auto_t *saved = NULL;
	const char *const ids[] = { "disk0", "net0", "g" };
	const char *const sections[] = { "disks", "net", "rate_limit_groups" };
	struct limiter_config now;
	struct config c, again;
	struct err e;

	assert_loads(&c, "{" KERNEL ",'disks':[{'path':'a','rate_limiter_config':{'bandwidth':{"
			 "'size':'1M'}}},{'path':'b','rate_limit_group':'g'}],"
			 "'net':[{'tap':'x'}],'rate_limit_groups':[{'id':'g'}]}");
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		ck_assert_msg(!config_set_limits(&c, ids[i], ops, &now, &e), "%s", e.text);
		ck_assert_uint_eq(now.ops.size, 5);
		ck_assert_uint_eq(now.ops.refill_time, 1000);
		ck_assert_uint_eq(now.bandwidth.size, 0);
		ck_assert(json_equal(limits_in(&c, sections[i], 0), complete));
	}
	ck_assert_str_eq(text_in(&c, "disks", 0, "path"), "a");
	saved = json_deep_copy(c.json);
	ck_assert_int_eq(config_load(&again, saved, &e), 0);
	ck_assert(json_equal(again.json, c.json));
	config_free(&again);
	ck_assert_int_eq(config_set_limits(&c, "disk0", NULL, &now, &e), 0);
	ck_assert_uint_eq(now.ops.size, 0);
	ck_assert_ptr_null(limits_in(&c, "disks", 0));
	ck_assert_int_eq(config_set_limits(&c, "net0", null, &now, &e), 0);
	ck_assert_ptr_null(limits_in(&c, "net", 0));
	refuses_limits(&c, "disk7", "{'ops':{'size':5}}", -ENOENT, "no device \"disk7\"");
	refuses_limits(&c, "platform", "{'ops':{'size':5}}", -ENOENT, "no device \"platform\"");
	refuses_limits(&c, "disks", "{'ops':{'size':5}}", -ENOENT, "no device \"disks\"");
	refuses_limits(&c, "serial", "{'ops':{'size':5}}", -ENOTSUP, "serial: only disks, ");
	refuses_limits(&c, "disk1", "{'ops':{'size':5}}", -EINVAL, "has the limits of group g");
	refuses_limits(&c, "disk0", "{'ops':{}}", -EINVAL, "ops: size is missing");
	refuses_limits(&c, "disk0", "[]", -EINVAL, "disk0: rate_limiter_config must be ");
	config_free(&c);
}
END_TEST

/* What has been said by then still holds when a configuration is loaded again. */
START_TEST(vcpus_that_come_and_go)
{
	struct config c, again;
	struct err e;

	assert_loads(&c, "{" KERNEL ",'cpus':{'boot_vcpus':2,'max_vcpus':6,'topology':{"
			 "'cores_per_die':3,'packages':2}}}");
	ck_assert(c.cpus.hotplug);
	ck_assert_int_eq(config_set_vcpus(&c, 7, &e), -EINVAL);
	ck_assert_str_eq(e.text, "the VM can have 1 to 6 vCPUs (max_vcpus), not 7");
	ck_assert_int_eq(config_set_vcpus(&c, 0, &e), -EINVAL);
	ck_assert_uint_eq(c.cpus.boot_vcpus, 2);
	ck_assert_int_eq(config_set_vcpus(&c, 6, &e), 0);
	ck_assert_msg(!config_load(&again, c.json, &e), "%s", e.text);
	ck_assert(json_equal(c.json, again.json));
	ck_assert_uint_eq(again.cpus.boot_vcpus, 6);
	ck_assert_uint_eq(again.cpus.max_vcpus, 6);
	ck_assert(again.cpus.hotplug);
	config_free(&again);
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'cpus':{'boot_vcpus':2}}");
	ck_assert(!c.cpus.hotplug);
	ck_assert_ptr_null(json_object_get(json_object_get(c.json, "cpus"), "hotplug"));
	ck_assert_int_eq(config_set_vcpus(&c, 1, &e), 0);
	ck_assert(c.cpus.hotplug);
	config_free(&c);
	assert_loads(&c, "{" KERNEL ",'cpus':{'boot_vcpus':2,'hotplug':true}}");
	ck_assert(c.cpus.hotplug);
	config_free(&c);
	assert_refused("{" KERNEL ",'cpus':{'boot_vcpus':2,'max_vcpus':4,'hotplug':false}}",
		       "cpus: max_vcpus is 4 and boot_vcpus 2, but hotplug is off; make them "
		       "equal or leave hotplug out");
}
END_TEST

static Suite *config_suite(void)
{
	Suite *s = suite_create("config");
	TCase *t = tcase_create("config");

	tcase_add_test(t, defaults);
	tcase_add_test(t, complete_json_is_a_fixed_point);
	tcase_add_test(t, old_clients_name_the_kernel_at_top_level);
	tcase_add_test(t, vcpus);
	tcase_add_test(t, vcpus_that_come_and_go);
	tcase_add_test(t, phys_bits);
	tcase_add_test(t, memory);
	tcase_add_test(t, memory_that_can_be_added);
	tcase_add_test(t, balloon);
	tcase_add_test(t, more_memory_than_the_host);
	tcase_add_test(t, what_this_version_cannot_honour_is_refused);
	tcase_add_test(t, serial_and_console);
	tcase_add_test(t, sections_of_the_wrong_shape);
	tcase_add_test(t, limits);
	tcase_add_test(t, identity);
	tcase_add_test(t, names);
	tcase_add_test(t, devices_have_names_and_addresses);
	tcase_add_test(t, devices_come_and_go);
	tcase_add_test(t, limits_change);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(config_suite)
