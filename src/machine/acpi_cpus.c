/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi_cpus.h"

#include <string.h>

#include "acpi_hotplug.h"
#include "bits.h"
#include "platform.h"

enum {
	ACPI_LAPIC_ID_MAX = 254,
	/* Of a local APIC or x2APIC: ACPI 6.4, table 5.47 */
	ACPI_MADT_ENABLED = 1 << 0,
	ACPI_MADT_ONLINE_CAPABLE = 1 << 1,
	/* Of _STA: ACPI 6.4, 6.3.7 */
	ACPI_STA_PRESENT = 0xf, /* enabled, shown and in order, too */
	CPUS_PER_DWORD = 32,
};

/* A name of four characters: letters, and a number in hexadecimal digits behind them. */
struct name {
	char text[5];
};

static struct name name_of(const char *letters, unsigned number)
{
	static const char hex[] = "0123456789ABCDEF";
	struct name n = { "" };

	for (unsigned i = 4; i-- > 0; number >>= 4)
		n.text[i] = hex[number & 0xf];
	memcpy(n.text, letters, strlen(letters));
	return n;
}

static void madt_entry(struct aml *a, unsigned uid, uint32_t apic_id, uint32_t flags)
{
	if (apic_id <= ACPI_LAPIC_ID_MAX && uid <= UINT8_MAX) {
		aml_byte(a, 0); /* local APIC */
		aml_byte(a, 8);
		aml_byte(a, uid);
		aml_byte(a, apic_id);
		aml_le(a, flags, 4);
		return;
	}
	aml_byte(a, 9); /* local x2APIC */
	aml_byte(a, 16);
	aml_le(a, 0, 2);
	aml_le(a, apic_id, 4);
	aml_le(a, flags, 4);
	aml_le(a, uid, 4);
}

void acpi_cpus_madt(struct aml *a, const struct acpi_machine *m)
{
	for (unsigned i = 0; i < m->ncpus; i++)
		madt_entry(a, i, m->apic_id[i],
			   !m->present || m->present[i] ? ACPI_MADT_ENABLED
							: ACPI_MADT_ONLINE_CAPABLE);
}

static uint32_t bit_of(unsigned cpu)
{
	return UINT32_C(1) << cpu % CPUS_PER_DWORD;
}

/* Method (_STA): is its bit there? */
static void add_sta(struct aml *a, unsigned cpu)
{
	size_t method = aml_open_method(a, "_STA", 0), inner = aml_open(a, AML_IF);

	aml_op(a, AML_AND);
	aml_path(a, name_of("CPP", cpu / CPUS_PER_DWORD).text);
	aml_integer(a, bit_of(cpu));
	aml_byte(a, 0); /* the result goes nowhere else */
	aml_op(a, AML_RETURN);
	aml_integer(a, ACPI_STA_PRESENT);
	aml_close(a, inner);
	aml_op(a, AML_RETURN);
	aml_integer(a, 0);
	aml_close(a, method);
}

/* Name (_MAT, its entry of the MADT): who asks has it before it. */
static void add_mat(struct aml *a, unsigned cpu, uint32_t apic_id)
{
	uint8_t data[16];
	struct aml entry = { .data = data, .capacity = sizeof(data) };
	size_t buffer;

	madt_entry(&entry, cpu, apic_id, ACPI_MADT_ENABLED);
	aml_op(a, AML_NAME);
	aml_path(a, "_MAT");
	buffer = aml_open(a, AML_BUFFER);
	aml_integer(a, entry.len);
	for (size_t i = 0; i < entry.len; i++)
		aml_byte(a, data[i]);
	aml_close(a, buffer);
}

/* Method (_EJ0, 1): write its bit. */
static void add_ej0(struct aml *a, unsigned cpu)
{
	size_t method = aml_open_method(a, "_EJ0", 1);

	aml_op(a, AML_STORE);
	aml_integer(a, bit_of(cpu));
	aml_path(a, name_of("CPE", cpu / CPUS_PER_DWORD).text);
	aml_close(a, method);
}

/* Method (_OST, 3): see add_ost_register(). */
static void add_ost(struct aml *a, unsigned cpu)
{
	size_t method = aml_open_method(a, "_OST", 3);

	aml_path(a, "CPST");
	aml_integer(a, cpu << PLATFORM_CPU_HOTPLUG_OST_CPU);
	aml_op(a, AML_ARG0);
	aml_op(a, AML_ARG1);
	aml_close(a, method);
}

/* And (operand, 0xff) */
static void add_low_byte(struct aml *a, unsigned operand)
{
	aml_op(a, AML_AND);
	aml_op(a, operand);
	aml_integer(a, 0xff);
	aml_byte(a, 0);
}

/* Method (CPST, 3): the processor, event and status as one dword. */
static void add_ost_register(struct aml *a)
{
	size_t method = aml_open_method(a, "CPST", 3);

	aml_op(a, AML_STORE);
	aml_op(a, AML_OR);
	aml_op(a, AML_ARG0);
	aml_op(a, AML_OR);
	aml_op(a, AML_SHIFT_LEFT);
	add_low_byte(a, AML_ARG1);
	aml_integer(a, PLATFORM_CPU_HOTPLUG_OST_EVENT);
	aml_byte(a, 0);
	add_low_byte(a, AML_ARG2);
	aml_byte(a, 0);
	aml_byte(a, 0);
	aml_path(a, "CPOS");
	aml_close(a, method);
}

static void add_registers(struct aml *a)
{
	static const char *const kinds[] = { "CPP", "CPI", "CPW", "CPE" };
	size_t field;

	aml_op_region(a, "CPHP", ACPI_SYSTEM_IO, PLATFORM_CPU_HOTPLUG, PLATFORM_CPU_HOTPLUG_BYTES);
	field = aml_open(a, AML_FIELD);
	aml_path(a, "CPHP");
	aml_byte(a, ACPI_FIELD_DWORDS);
	for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (unsigned i = 0; i < PLATFORM_CPU_HOTPLUG_DWORDS; i++) {
			aml_path(a, name_of(kinds[kind], i).text);
			aml_byte(a, 32); /* bits */
		}
	}
	aml_path(a, "CPOS");
	aml_byte(a, 32);
	aml_close(a, field);
}

/* Method (CPNn, 2): for each processor of the set Arg0, which dword n was, notify Arg1. */
static void add_notify(struct aml *a, const struct acpi_machine *m, unsigned dword)
{
	size_t method = aml_open_method(a, name_of("CPN", dword).text, 2);

	for (unsigned i = dword * CPUS_PER_DWORD; i < MIN(m->ncpus, (dword + 1) * CPUS_PER_DWORD);
	     i++) {
		size_t inner = aml_open_if_bit(a, AML_ARG0, bit_of(i));

		aml_op(a, AML_NOTIFY);
		aml_path(a, name_of("C", i).text);
		aml_op(a, AML_ARG1);
		aml_close(a, inner);
	}
	aml_close(a, method);
}

static unsigned dwords_of(const struct acpi_machine *m)
{
	return (m->ncpus + CPUS_PER_DWORD - 1) / CPUS_PER_DWORD;
}

void acpi_cpus(struct aml *a, const struct acpi_machine *m)
{
	if (m->present) {
		add_registers(a);
		add_ost_register(a);
	}
	for (unsigned i = 0; i < m->ncpus; i++) {
		size_t device = aml_open_device(a, name_of("C", i).text, "ACPI0007", i);

		if (m->present) {
			add_sta(a, i);
			add_mat(a, i, m->apic_id[i]);
			add_ej0(a, i);
			add_ost(a, i);
		}
		aml_close(a, device);
	}
	for (unsigned dword = 0; m->present && dword < dwords_of(m); dword++)
		add_notify(a, m, dword);
}

void acpi_cpus_event(struct aml *a, const struct acpi_machine *m)
{
	static const struct {
		const char *kind;
		uint8_t notification;
	} told[] = { { "CPI", ACPI_NOTIFY_DEVICE_CHECK }, { "CPW", ACPI_NOTIFY_EJECT_REQUEST } };
	size_t inner = aml_open_if_bit(a, AML_LOCAL0, PLATFORM_ACPI_EVENT_CPU);

	for (unsigned i = 0; i < ARRAY_SIZE(told); i++) {
		for (unsigned dword = 0; dword < dwords_of(m); dword++) {
			aml_path(a, name_of("CPN", dword).text);
			aml_path(a, name_of(told[i].kind, dword).text);
			aml_integer(a, told[i].notification);
		}
	}
	aml_close(a, inner);
}
