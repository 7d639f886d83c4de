/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables as a guest finds them.  With ACPI_DUMP=DIR in the environment those of some machines
 * are written there, one file per table, for acpi.sh.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "acpi.h"
#include "aml.h"
#include "bits.h"
#include "check_main.h"
#include "platform.h"

enum { MANY = 300, MOST = 255 };

static uint32_t apic_ids[MANY];
static const bool present[MOST] = { true, true, [33] = true };

static const uint32_t nodes[MOST] = { [1] = 1, [254] = 1 };
static const uint8_t distances[] = { 10, 20, 20, 10 };
static const struct acpi_range ranges[] = {
	{ .bytes = PLATFORM_LOW_RAM_END },
	{ .base = UINT64_C(1) << 32, .bytes = UINT64_C(1) << 30, .node = 1 },
	{ .base = UINT64_C(1) << 34, .bytes = UINT64_C(1) << 30, .pluggable = true },
};

static const struct acpi_machine machines[] = {
	{ .ncpus = 1, .apic_id = apic_ids },
	{ .ncpus = 255, .apic_id = apic_ids, .serial = true, .pvpanic = true },
	{ .ncpus = MANY,
	  .apic_id = apic_ids,
	  .serial = true,
	  .pvpanic = true,
	  .high_mmio_base = UINT64_C(1) << 40,
	  .high_mmio_bytes = UINT64_C(1) << 38 },
	{ .ncpus = 40, .apic_id = apic_ids, .present = present },
	{ .ncpus = MOST,
	  .apic_id = apic_ids,
	  .present = present,
	  .nnodes = 2,
	  .distance = distances,
	  .cpu_node = nodes,
	  .range = ranges,
	  .nranges = ARRAY_SIZE(ranges) },
};

static const gpa_t base = PLATFORM_ACPI_BASE;
static uint8_t *tables;
static size_t len;

static void build(const struct acpi_machine *m)
{
	struct err e = { "" };

	for (unsigned i = 0; i < MANY; i++)
		apic_ids[i] = i;
	free(tables);
	ck_assert_msg(!acpi_build(m, base, &tables, &len, &e), "%s", e.text);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

/* The table at a guest address, checked. */
static const uint8_t *table_at(gpa_t at)
{
	const uint8_t *p = tables + (at - base);

	ck_assert(at >= base && at - base + 36 <= len);
	ck_assert(get_le(p + 4, 4) >= 36 && get_le(p + 4, 4) <= len - (at - base));
	ck_assert_uint_eq(sum(p, get_le(p + 4, 4)), 0);
	return p;
}

static const uint8_t *find(const char *signature)
{
	const uint8_t *xsdt = table_at(get_le(tables + 24, 8));

	ck_assert_mem_eq(xsdt, "XSDT", 4);
	if (!strcmp(signature, "XSDT"))
		return xsdt;
	for (size_t i = 36; i < get_le(xsdt + 4, 4); i += 8) {
		const uint8_t *p = table_at(get_le(xsdt + i, 8));

		if (!memcmp(p, signature, 4))
			return p;
		if (!memcmp(p, "FACP", 4) && !strcmp(signature, "DSDT"))
			return table_at(get_le(p + 140, 8));
	}
	ck_abort_msg("no table %s", signature);
	return NULL;
}

static bool dsdt_has(const void *bytes, size_t n)
{
	const uint8_t *p = find("DSDT");

	return memmem(p, get_le(p + 4, 4), bytes, n);
}

START_TEST(root_pointer)
{
	build(&machines[0]);
	ck_assert_mem_eq(tables, "RSD PTR ", 8);
	ck_assert_uint_eq(tables[15], 2);
	ck_assert_uint_eq(sum(tables, 20), 0);
	ck_assert_uint_eq(sum(tables, 36), 0);
	ck_assert_uint_eq(get_le(find("XSDT") + 4, 4), 36 + 3 * 8);
	ck_assert_uint_le(len, PLATFORM_ACPI_BYTES);
}
END_TEST

START_TEST(fixed_description)
{
	const uint8_t *p;

	build(&machines[0]);
	p = find("FACP");
	ck_assert_uint_eq(get_le(p + 4, 4), 276);
	ck_assert_uint_eq(p[8], 6);
	ck_assert_uint_eq(get_le(p + 112, 4) >> 20 & 1, 1); /* hardware-reduced */
	ck_assert_uint_eq(get_le(p + 112, 4) >> 10 & 1, 1); /* reset register */
	ck_assert_uint_eq(get_le(p + 120, 8), PLATFORM_ACPI_RESET);
	ck_assert_uint_eq(p[128], PLATFORM_ACPI_RESET_VALUE);
	ck_assert_uint_eq(get_le(p + 248, 8), PLATFORM_ACPI_SLEEP_CONTROL);
	ck_assert_uint_eq(get_le(p + 260, 8), PLATFORM_ACPI_SLEEP_STATUS);
	ck_assert_uint_eq(get_le(p + 109, 2) >> 5 & 1, 0); /* there is a CMOS clock */
	ck_assert_uint_eq(get_le(p + 40, 4), get_le(p + 140, 8));
}
END_TEST

/* Walks the MADT; returns how many processors it names with exactly these ids. */
static unsigned madt_processors(unsigned *ioapics, unsigned *overrides)
{
	const uint8_t *p = find("APIC"), *end = p + get_le(p + 4, 4);
	unsigned n = 0;

	for (p += 44; p < end; p += p[1]) {
		ck_assert_uint_ge(p[1], 2);
		if (p[0] == 0) {
			ck_assert_uint_eq(p[2], n);
			ck_assert_uint_eq(p[3], apic_ids[n]);
			ck_assert_uint_lt(apic_ids[n++], 255);
		} else if (p[0] == 9) {
			ck_assert_uint_eq(get_le(p + 4, 4), apic_ids[n]);
			ck_assert_uint_eq(get_le(p + 12, 4), n++);
		} else if (p[0] == 1) {
			ck_assert_uint_eq(get_le(p + 4, 4), PLATFORM_IOAPIC_BASE);
			++*ioapics;
		} else {
			ck_assert_uint_eq(p[0], 2);
			++*overrides;
		}
	}
	ck_assert_ptr_eq(p, end);
	return n;
}

START_TEST(interrupt_controllers)
{
	for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
		unsigned ioapics = 0, overrides = 0;

		build(&machines[i]);
		ck_assert_uint_eq(madt_processors(&ioapics, &overrides), machines[i].ncpus);
		ck_assert_uint_eq(ioapics, 1);
		ck_assert_uint_eq(overrides, 2);
	}
}
END_TEST

START_TEST(sparse_apic_ids)
{
	unsigned ioapics = 0, overrides = 0;

	build(&machines[1]);
	apic_ids[7] = 4000;
	free(tables);
	ck_assert(!acpi_build(&machines[1], base, &tables, &len, &(struct err){ "" }));
	ck_assert_uint_eq(madt_processors(&ioapics, &overrides), 255);
}
END_TEST

START_TEST(memory_mapped_configuration)
{
	const uint8_t *p;

	build(&machines[0]);
	p = find("MCFG");
	ck_assert_uint_eq(get_le(p + 4, 4), 60);
	ck_assert_uint_eq(get_le(p + 44, 8), PLATFORM_ECAM_BASE);
	ck_assert_uint_eq(p[55], 0); /* last bus */
}
END_TEST

START_TEST(devices_follow_the_machine)
{
	static const uint8_t com1[] = { 0x0c, 0x41, 0xd0, 0x05, 0x01 };

	build(&machines[0]);
	ck_assert(!dsdt_has(com1, sizeof(com1)));
	ck_assert(!dsdt_has("QEMU0001", 9));
	ck_assert(dsdt_has("ACPI0013", 9));
	ck_assert(dsdt_has("C000", 4));
	ck_assert(!dsdt_has("C001", 4));
	build(&machines[1]);
	ck_assert(dsdt_has(com1, sizeof(com1)));
	ck_assert(dsdt_has("QEMU0001", 9));
	ck_assert(dsdt_has("C0FE", 4));
	ck_assert(!dsdt_has("C0FF", 4));
}
END_TEST

static unsigned dsdt_count(const void *bytes, size_t n)
{
	const uint8_t *p = find("DSDT"), *end = p + get_le(p + 4, 4);
	unsigned count = 0;

	while ((p = memmem(p, (size_t)(end - p), bytes, n))) {
		count++;
		p += n;
	}
	return count;
}

START_TEST(slots_can_be_given_up)
{
	/* Device (S1F_) { _ADR, _SUN, and _EJ0 writes the bit of the slot }, ACPI 6.4, 20.2.5 */
	static const uint8_t last[] = "S1F_\x08_ADR\x0c\x00\x00\x1f\x00\x08_SUN\x0a\x1f"
				      "\x14\x10_EJ0\x01\x70\x0c\x00\x00\x00\x80PHEJ";
	/* If (Arg0 & bit) { Notify (S1F_, Arg1) } */
	static const uint8_t notify[] = "\xa0\x0f\x7b\x68\x0c\x00\x00\x00\x80\x00\x86S1F_\x69";

	build(&machines[0]);
	ck_assert_uint_eq(dsdt_count("_EJ0", 4), 31);
	ck_assert_uint_eq(dsdt_count(last, sizeof(last) - 1), 1);
	ck_assert_uint_eq(dsdt_count(notify, sizeof(notify) - 1), 1);
	ck_assert_uint_eq(dsdt_count("S01_", 4), 2);
	ck_assert(!dsdt_has("S00_", 4));
	ck_assert(!dsdt_has("S20_", 4));
}
END_TEST

START_TEST(processors_come_and_go)
{
	/* Method (_STA) { If (CPP1 & bit) Return (0xf) Return (0) }, ACPI 6.4, 20.2.5 */
	static const uint8_t sta[] = "_STA\x00\xa0\x0c\x7b"
				     "CPP1\x0a\x02\x00\xa4\x0a\x0f\xa4\x00";
	/* Name (_MAT) { its entry of the MADT, enabled } */
	static const uint8_t mat[] = "\x08_MAT\x11\x0b\x0a\x08\x00\x08\x21\x21\x01\x00\x00\x00";
	/* Method (_EJ0, 1) { CPE1 = bit } */
	static const uint8_t ej0[] = "_EJ0\x01\x70\x0a\x02"
				     "CPE1";
	/* Method (_OST, 3) { CPST (cpu << 16, Arg0, Arg1) } */
	static const uint8_t ost[] = "_OST\x03"
				     "CPST\x0c\x00\x00\x21\x00\x68\x69";
	/* If (Arg0 & bit) { Notify (C021, Arg1) } */
	static const uint8_t notify[] = "\x7b\x68\x0a\x02\x00\x86"
					"C021\x69";
	/* If (Local0 & 4) { CPN0 (CPI0, 1) CPN1 (CPI1, 1) CPN0 (CPW0, 3) CPN1 (CPW1, 3) } */
	static const uint8_t event[] = "\x7b\x60\x0a\x04\x00"
				       "CPN0CPI0\x01"
				       "CPN1CPI1\x01"
				       "CPN0CPW0\x0a\x03"
				       "CPN1CPW1\x0a\x03";
	const uint8_t *p;

	build(&machines[3]);
	ck_assert_uint_eq(dsdt_count("_STA", 4), 40);
	ck_assert_uint_eq(dsdt_count("_MAT", 4), 40);
	ck_assert(dsdt_has(sta, sizeof(sta) - 1));
	ck_assert(dsdt_has(mat, sizeof(mat) - 1));
	ck_assert(dsdt_has(ej0, sizeof(ej0) - 1));
	ck_assert(dsdt_has(ost, sizeof(ost) - 1));
	ck_assert(dsdt_has(notify, sizeof(notify) - 1));
	ck_assert(dsdt_has(event, sizeof(event) - 1));
	p = find("APIC") + 44;
	for (unsigned i = 0; i < machines[3].ncpus; i++)
		ck_assert_uint_eq(get_le(p + 8 * i + 4, 4), present[i] ? 1 : 2);
	build(&machines[1]);
	ck_assert(!dsdt_has("CPHP", 4));
	ck_assert(!dsdt_has("_STA", 4));
	p = find("APIC") + 44;
	for (unsigned i = 0; i < machines[1].ncpus; i++)
		ck_assert_uint_eq(get_le(p + 8 * i + 4, 4), 1);
}
END_TEST

/* What is in them is test_numa.c's. */
START_TEST(tables_of_nodes)
{
	build(&machines[0]);
	ck_assert_uint_eq(get_le(find("XSDT") + 4, 4), 36 + 3 * 8);
	build(&machines[4]);
	ck_assert_uint_eq(get_le(find("XSDT") + 4, 4), 36 + 5 * 8);
	ck_assert_uint_eq(get_le(find("SRAT") + 4, 4), 48 + 255 * 16 + 3 * 40);
	ck_assert_uint_eq(find("SRAT")[8], 3);
	ck_assert_uint_eq(get_le(find("SLIT") + 4, 4), 44 + 4);
	ck_assert_mem_eq(find("SLIT") + 44, distances, sizeof(distances));
}
END_TEST

START_TEST(too_many_processors)
{
	static uint32_t ids[65536];
	struct acpi_machine m = { .ncpus = ARRAY_SIZE(ids), .apic_id = ids };
	struct err e = { "" };
	uint8_t *untouched = NULL;

	ck_assert_int_eq(acpi_build(&m, base, &untouched, &len, &e), -ENOSPC);
	ck_assert_ptr_null(untouched);
	ck_assert_str_ne(e.text, "");
}
END_TEST

START_TEST(aml_lengths)
{
	static uint8_t data[1 << 17];

	for (unsigned body = 0; body < 5000; body++) {
		struct aml a = { .data = data, .capacity = sizeof(data) };
		size_t opened = aml_open(&a, AML_BUFFER), total = 0, size;

		for (unsigned i = 0; i < body; i++)
			aml_byte(&a, 0xa5);
		aml_close(&a, opened);
		size = data[1] >> 6;
		total = size ? data[1] & 0xf : data[1];
		for (unsigned i = 1; i <= size; i++)
			total |= (size_t)data[1 + i] << (8 * i - 4);
		ck_assert_uint_eq(total, a.len - 1);
		ck_assert_uint_eq(total, body + size + 1);
		ck_assert(!body || data[size + 2] == 0xa5);
	}
}
END_TEST

START_TEST(aml_stops_at_the_end)
{
	uint8_t data[8] = { 0 };

	for (size_t capacity = 0; capacity < sizeof(data); capacity++) {
		struct aml a = { .data = data, .capacity = capacity };
		size_t opened = aml_open_resources(&a);

		aml_io(&a, 1, 1);
		aml_close_resources(&a, opened);
		ck_assert(a.overflow);
		ck_assert_uint_le(a.len, capacity);
		ck_assert_uint_eq(data[capacity], 0);
	}
}
END_TEST

static void dump_table(const char *dump_dir, unsigned machine, const char *signature)
{
	const uint8_t *p = find(signature);
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%u-%s.aml", dump_dir, machine, signature);
	f = fopen(path, "wb");
	ck_assert_msg(f && fwrite(p, get_le(p + 4, 4), 1, f) == 1 && !fclose(f), "%s", path);
}

START_TEST(dump)
{
	static const char *const signatures[] = { "XSDT", "FACP", "APIC", "MCFG", "DSDT" };

	for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
		build(&machines[i]);
		for (unsigned j = 0; j < ARRAY_SIZE(signatures); j++)
			dump_table(getenv("ACPI_DUMP"), i, signatures[j]);
		for (unsigned j = 0; machines[i].nnodes && j < 2; j++)
			dump_table(getenv("ACPI_DUMP"), i, j ? "SLIT" : "SRAT");
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("acpi");
	TCase *t = tcase_create("tables");

	tcase_add_test(t, root_pointer);
	tcase_add_test(t, fixed_description);
	tcase_add_test(t, interrupt_controllers);
	tcase_add_test(t, sparse_apic_ids);
	tcase_add_test(t, memory_mapped_configuration);
	tcase_add_test(t, devices_follow_the_machine);
	tcase_add_test(t, slots_can_be_given_up);
	tcase_add_test(t, processors_come_and_go);
	tcase_add_test(t, tables_of_nodes);
	tcase_add_test(t, too_many_processors);
	tcase_add_test(t, aml_lengths);
	tcase_add_test(t, aml_stops_at_the_end);
	if (getenv("ACPI_DUMP"))
		tcase_add_test(t, dump);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
