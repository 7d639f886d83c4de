/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer of AML, the byte code of ACPI tables, into a buffer of fixed size: each call appends
 * one grammar element of ACPI 6.4, 20.2, or 6.4 for resource descriptors.  What does not fit is
 * dropped and remembered in overflow, so that only the end need be checked.
 */
#ifndef AML_H
#define AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *data;
	size_t len, capacity;
	bool overflow;
};

/* Opcodes, ACPI 6.4, 20.3; those above 255 are written as 0x5b and the low byte. */
enum {
	AML_NAME = 0x08,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_METHOD = 0x14,
	AML_LOCAL0 = 0x60,
	AML_ARG0 = 0x68,
	AML_ARG1 = 0x69,
	AML_ARG2 = 0x6a,
	AML_STORE = 0x70,
	AML_SHIFT_LEFT = 0x79,
	AML_AND = 0x7b,
	AML_OR = 0x7d,
	AML_NOTIFY = 0x86,
	AML_IF = 0xa0,
	AML_RETURN = 0xa4,
	AML_OP_REGION = 0x5b80,
	AML_FIELD = 0x5b81,
	AML_DEVICE = 0x5b82,
};

void aml_byte(struct aml *, uint8_t);
void aml_le(struct aml *, uint64_t value, unsigned size);
void aml_op(struct aml *, unsigned opcode);
void aml_path(struct aml *, const char *path); /* "\\_SB_.PCI0": whole segments of four */
void aml_integer(struct aml *, uint64_t);
void aml_string(struct aml *, const char *);

/* An element with a length: everything up to the matching close is inside. */
size_t aml_open(struct aml *, unsigned opcode);
void aml_close(struct aml *, size_t opened);

/* Name (path, value) */
void aml_name_integer(struct aml *, const char *path, uint64_t);
void aml_name_string(struct aml *, const char *path, const char *);
void aml_name_eisa(struct aml *, const char *path, const char *id); /* "PNP0A08" */

/* Device (name) { Name (_HID, hid) Name (_UID, uid): eisa ids are packed */
size_t aml_open_device(struct aml *, const char *name, const char *hid, unsigned uid);
size_t aml_open_method(struct aml *, const char *name, uint8_t flags);

/* OperationRegion (name, space, base, len) */
void aml_op_region(struct aml *, const char *name, uint8_t space, uint64_t base, uint64_t len);
/* If (operand & bit) { */
size_t aml_open_if_bit(struct aml *, unsigned operand, uint64_t bit);

/* Name (_CRS, ResourceTemplate () { */
size_t aml_open_resources(struct aml *);
void aml_close_resources(struct aml *, size_t opened);
void aml_io(struct aml *, uint16_t base, uint8_t len);
void aml_memory32(struct aml *, uint32_t base, uint32_t len);
enum aml_trigger { AML_LEVEL = 0, AML_EDGE = 1 };
void aml_interrupt(struct aml *, enum aml_trigger, uint32_t gsi);
/* An address space that a bridge passes on: ACPI 6.4, 6.4.3.5. */
enum aml_window { AML_WINDOW_MEMORY = 0, AML_WINDOW_IO = 1, AML_WINDOW_BUS = 2 };
void aml_window(struct aml *, enum aml_window, unsigned width, uint64_t base, uint64_t len);

#endif
