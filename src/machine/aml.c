/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "aml.h"
#include "bits.h"

enum {
	AML_BYTE_PREFIX = 0x0a,
	AML_WORD_PREFIX = 0x0b,
	AML_DWORD_PREFIX = 0x0c,
	AML_STRING_PREFIX = 0x0d,
	AML_QWORD_PREFIX = 0x0e,
	AML_DUAL_NAME = 0x2e,
	AML_MULTI_NAME = 0x2f,
	AML_EXTENDED = 0x5b,
};

void aml_le(struct aml *a, uint64_t value, unsigned size)
{
	if (a->overflow || size > a->capacity - a->len) {
		a->overflow = true;
		return;
	}
	put_le(a->data + a->len, size, value);
	a->len += size;
}

void aml_byte(struct aml *a, uint8_t byte)
{
	aml_le(a, byte, 1);
}

void aml_op(struct aml *a, unsigned opcode)
{
	if (opcode >> 8)
		aml_byte(a, AML_EXTENDED);
	aml_byte(a, opcode & 0xff);
}

void aml_path(struct aml *a, const char *path)
{
	size_t segments;

	for (; *path == '\\' || *path == '^'; path++)
		aml_byte(a, *path);
	segments = (strlen(path) + 1) / 5;
	assert(strlen(path) + 1 == 5 * segments); /* four characters each and a dot between */
	if (segments == 2)
		aml_byte(a, AML_DUAL_NAME);
	if (segments > 2) {
		aml_byte(a, AML_MULTI_NAME);
		aml_byte(a, segments);
	}
	for (; *path; path++)
		if (*path != '.')
			aml_byte(a, *path);
}

void aml_integer(struct aml *a, uint64_t value)
{
	unsigned size = value <= 1            ? 0
			: value <= UINT8_MAX  ? 1
			: value <= UINT16_MAX ? 2
			: value <= UINT32_MAX ? 4
					      : 8;
	static const uint8_t prefix[] = { [1] = AML_BYTE_PREFIX,
					  [2] = AML_WORD_PREFIX,
					  [4] = AML_DWORD_PREFIX,
					  [8] = AML_QWORD_PREFIX };

	if (!size) {
		aml_byte(a, value); /* ZeroOp, OneOp */
		return;
	}
	aml_byte(a, prefix[size]);
	aml_le(a, value, size);
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, AML_STRING_PREFIX);
	do
		aml_byte(a, *s);
	while (*s++);
}

size_t aml_open(struct aml *a, unsigned opcode)
{
	aml_op(a, opcode);
	return a->len;
}

/* PkgLength counts itself; its first byte says how many follow: ACPI 6.4, 20.2.4. */
void aml_close(struct aml *a, size_t opened)
{
	size_t body = a->len - opened;
	unsigned size = body + 1 < 1 << 6 ? 1 : body + 2 < 1 << 12 ? 2 : 3;
	size_t total = body + size;

	aml_le(a, 0, size);
	if (a->overflow)
		return;
	memmove(a->data + opened + size, a->data + opened, body);
	if (size == 1)
		a->data[opened] = total;
	else
		put_le(a->data + opened, size,
		       (total & 0xf) | (size - 1) << 6 | (uint64_t)(total >> 4) << 8);
}

static void aml_name(struct aml *a, const char *path)
{
	aml_op(a, AML_NAME);
	aml_path(a, path);
}

void aml_name_integer(struct aml *a, const char *path, uint64_t value)
{
	aml_name(a, path);
	aml_integer(a, value);
}

void aml_name_string(struct aml *a, const char *path, const char *value)
{
	aml_name(a, path);
	aml_string(a, value);
}

static uint32_t aml_hex(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* Three letters of five bits and four hexadecimal digits, big endian: ACPI 6.4, 19.3.4. */
void aml_name_eisa(struct aml *a, const char *path, const char *id)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 3; i++)
		v = v << 5 | (id[i] - 0x40u);
	for (unsigned i = 3; i < 7; i++)
		v = v << 4 | aml_hex(id[i]);
	aml_name_integer(a, path, __builtin_bswap32(v));
}

size_t aml_open_device(struct aml *a, const char *name, const char *hid, unsigned uid)
{
	size_t device = aml_open(a, AML_DEVICE);

	aml_path(a, name);
	if (strlen(hid) == 7)
		aml_name_eisa(a, "_HID", hid);
	else
		aml_name_string(a, "_HID", hid);
	aml_name_integer(a, "_UID", uid);
	return device;
}

size_t aml_open_method(struct aml *a, const char *name, uint8_t flags)
{
	size_t method = aml_open(a, AML_METHOD);

	aml_path(a, name);
	aml_byte(a, flags);
	return method;
}

void aml_op_region(struct aml *a, const char *name, uint8_t space, uint64_t base, uint64_t len)
{
	aml_op(a, AML_OP_REGION);
	aml_path(a, name);
	aml_byte(a, space);
	aml_integer(a, base);
	aml_integer(a, len);
}

size_t aml_open_if_bit(struct aml *a, unsigned operand, uint64_t bit)
{
	size_t opened = aml_open(a, AML_IF);

	aml_op(a, AML_AND);
	aml_op(a, operand);
	aml_integer(a, bit);
	aml_byte(a, 0); /* the result goes nowhere else */
	return opened;
}

size_t aml_open_resources(struct aml *a)
{
	size_t opened;

	aml_name(a, "_CRS");
	opened = aml_open(a, AML_BUFFER);
	aml_byte(a, AML_WORD_PREFIX);
	aml_le(a, 0, 2); /* the buffer's size, known when it is closed */
	return opened;
}

void aml_close_resources(struct aml *a, size_t opened)
{
	aml_byte(a, 0x79); /* end tag; checksum 0: none */
	aml_byte(a, 0);
	if (!a->overflow)
		put_le(a->data + opened + 1, 2, a->len - opened - 3);
	aml_close(a, opened);
}

void aml_io(struct aml *a, uint16_t base, uint8_t len)
{
	aml_byte(a, 0x47); /* ACPI 6.4, 6.4.2.5 */
	aml_byte(a, 1); /* decodes 16 bits */
	aml_le(a, base, 2);
	aml_le(a, base, 2);
	aml_byte(a, 1); /* alignment */
	aml_byte(a, len);
}

void aml_memory32(struct aml *a, uint32_t base, uint32_t len)
{
	aml_byte(a, 0x86); /* ACPI 6.4, 6.4.3.4 */
	aml_le(a, 9, 2);
	aml_byte(a, 1); /* writable */
	aml_le(a, base, 4);
	aml_le(a, len, 4);
}

void aml_interrupt(struct aml *a, enum aml_trigger trigger, uint32_t gsi)
{
	aml_byte(a, 0x89); /* ACPI 6.4, 6.4.3.6 */
	aml_le(a, 6, 2);
	aml_byte(a, 1 | trigger << 1); /* consumer; active high */
	aml_byte(a, 1); /* one interrupt */
	aml_le(a, gsi, 4);
}

void aml_window(struct aml *a, enum aml_window kind, unsigned width, uint64_t base, uint64_t len)
{
	static const uint8_t tag[] = { [2] = 0x88, [4] = 0x87, [8] = 0x8a };
	/* I/O: all ports; memory: read and write, not cached */
	uint8_t flags = kind == AML_WINDOW_IO ? 3 : kind == AML_WINDOW_MEMORY ? 1 : 0;

	aml_byte(a, tag[width]);
	aml_le(a, 3 + 5 * width, 2);
	aml_byte(a, kind);
	aml_byte(a, 0x0c); /* producer, decodes positively, minimum and maximum fixed */
	aml_byte(a, flags);
	aml_le(a, 0, width); /* granularity */
	aml_le(a, base, width);
	aml_le(a, base + len - 1, width);
	aml_le(a, 0, width); /* translation */
	aml_le(a, len, width);
}
