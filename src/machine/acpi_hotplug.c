/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi_hotplug.h"

#include <stdio.h>

#include "acpi.h"
#include "bits.h"
#include "pci.h"
#include "platform.h"

static void acpi_slot_name(char name[5], unsigned slot)
{
	snprintf(name, 5, "S%02X_", slot);
}

/* Device (Snn) { _ADR, _SUN, _EJ0: write the slot's bit } */
static void acpi_hotplug_slot(struct aml *a, unsigned slot)
{
	size_t device = aml_open(a, AML_DEVICE), method;
	char name[5];

	acpi_slot_name(name, slot);
	aml_path(a, name);
	aml_name_integer(a, "_ADR", slot << 16); /* function 0 */
	aml_name_integer(a, "_SUN", slot);
	method = aml_open_method(a, "_EJ0", 1); /* one argument */
	aml_op(a, AML_STORE);
	aml_integer(a, UINT32_C(1) << slot);
	aml_path(a, "PHEJ");
	aml_close(a, method);
	aml_close(a, device);
}

/* The dwords of the registers, in their order. */
static void acpi_hotplug_registers(struct aml *a)
{
	static const char *const names[] = { "PHIN", "PHWA", "PHEJ" };
	size_t field;

	aml_op_region(a, "PHPR", ACPI_SYSTEM_IO, PLATFORM_PCI_HOTPLUG, PLATFORM_PCI_HOTPLUG_BYTES);
	field = aml_open(a, AML_FIELD);
	aml_path(a, "PHPR");
	aml_byte(a, ACPI_FIELD_DWORDS);
	for (unsigned i = 0; i < PLATFORM_PCI_HOTPLUG_BYTES / 4; i++) {
		aml_path(a, names[i]);
		aml_byte(a, 32); /* bits */
	}
	aml_close(a, field);
}

/* Method (PHNO, 2): for each slot of the set Arg0, notify Arg1. */
static void acpi_hotplug_notify(struct aml *a)
{
	size_t method = aml_open_method(a, "PHNO", 2);

	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		size_t inner = aml_open_if_bit(a, AML_ARG0, UINT32_C(1) << slot);
		char name[5];

		acpi_slot_name(name, slot);
		aml_op(a, AML_NOTIFY);
		aml_path(a, name);
		aml_op(a, AML_ARG1);
		aml_close(a, inner);
	}
	aml_close(a, method);
}

void acpi_hotplug_slots(struct aml *a)
{
	acpi_hotplug_registers(a);
	/* Slot 0 is the host bridge. */
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++)
		acpi_hotplug_slot(a, slot);
	acpi_hotplug_notify(a);
}

void acpi_hotplug_event(struct aml *a)
{
	static const struct {
		const char *reg;
		uint8_t notification;
	} told[] = { { "\\_SB_.PCI0.PHIN", ACPI_NOTIFY_DEVICE_CHECK },
		     { "\\_SB_.PCI0.PHWA", ACPI_NOTIFY_EJECT_REQUEST } };

	for (unsigned i = 0; i < ARRAY_SIZE(told); i++) {
		aml_path(a, "\\_SB_.PCI0.PHNO");
		aml_path(a, told[i].reg);
		aml_integer(a, told[i].notification);
	}
}
