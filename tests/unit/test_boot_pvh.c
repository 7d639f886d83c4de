/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files with the PVH note, as they should be and broken in every way we know. */
#include <elf.h>
#include <errno.h>

#include "boot_fixture.h"
#include "check_main.h"

enum { ELF_BYTES = 8192 };

static struct {
	union {
		Elf64_Ehdr h64;
		Elf32_Ehdr h32;
	};
	union {
		Elf64_Phdr p64[3];
		Elf32_Phdr p32[3];
	};
	struct {
		Elf64_Nhdr h;
		char name[4];
		uint32_t value[2];
	} other, note;
	uint8_t code[ELF_BYTES];
} elf;

#define ELF_AT(m) ((size_t)((char *)&elf.m - (char *)&elf))

static void elf_common(void)
{
	memset(&elf, 0, sizeof(elf));
	memset(elf.code, 0x90, sizeof(elf.code));
	memcpy(elf.h64.e_ident, ELFMAG, SELFMAG);
	elf.h64.e_ident[EI_DATA] = ELFDATA2LSB;
	elf.other.h = (Elf64_Nhdr){ 4, 4, 1 };
	memcpy(elf.other.name, "GNU", 4);
	elf.note.h = (Elf64_Nhdr){ 4, 8, 18 };
	memcpy(elf.note.name, "Xen", 4);
	elf.note.value[0] = MIB + 16;
}

static void elf64_make(void)
{
	elf_common();
	elf.h64.e_ident[EI_CLASS] = ELFCLASS64;
	elf.h64.e_machine = EM_X86_64;
	elf.h64.e_phoff = ELF_AT(p64);
	elf.h64.e_phentsize = sizeof(Elf64_Phdr);
	elf.h64.e_phnum = 3;
	elf.p64[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
				   .p_offset = ELF_AT(code),
				   .p_vaddr = UINT64_C(0xffffffff80000000),
				   .p_paddr = MIB,
				   .p_filesz = ELF_BYTES,
				   .p_memsz = 3 * ELF_BYTES };
	elf.p64[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
				   .p_offset = ELF_AT(code),
				   .p_paddr = 4 * MIB,
				   .p_filesz = 16,
				   .p_memsz = 16 };
	elf.p64[2] = (Elf64_Phdr){ .p_type = PT_NOTE,
				   .p_offset = ELF_AT(other),
				   .p_filesz = ELF_AT(code) - ELF_AT(other),
				   .p_align = 4 };
	elf.other.h.n_descsz = 8;
}

static void elf32_make(void)
{
	elf_common();
	elf.h32.e_ident[EI_CLASS] = ELFCLASS32;
	elf.h32.e_machine = EM_386;
	elf.h32.e_phoff = ELF_AT(p32);
	elf.h32.e_phentsize = sizeof(Elf32_Phdr);
	elf.h32.e_phnum = 2;
	elf.p32[0] = (Elf32_Phdr){ .p_type = PT_NOTE,
				   .p_offset = ELF_AT(note),
				   .p_filesz = sizeof(elf.note) };
	elf.p32[1] = (Elf32_Phdr){ .p_type = PT_LOAD,
				   .p_offset = ELF_AT(code),
				   .p_paddr = MIB,
				   .p_filesz = ELF_BYTES,
				   .p_memsz = ELF_BYTES };
	elf.note.h.n_descsz = 4;
}

static int elf_open(const void *initrd, size_t len)
{
	return open_file(&elf, sizeof(elf), initrd, len, "hello=1");
}

START_TEST(pvh_registers)
{
	memory(64 * MIB);
	elf64_make();
	memset(at(MIB, 4 * MIB), 0xaa, 4 * MIB); /* what the guest left before a reset */
	assert_ok(elf_open(NULL, 0));
	ck_assert_int_eq(boot.kind, BOOT_PVH);
	assert_ok(load());
	ck_assert_uint_eq(regs.rip, MIB + 16);
	ck_assert_uint_eq(regs.rbx, PLATFORM_START_INFO);
	ck_assert_uint_eq(regs.rflags, 2);
	ck_assert_uint_eq(sregs.cr0, 1);
	ck_assert_uint_eq(sregs.cr4, 0);
	ck_assert_uint_eq(sregs.efer, 0);
	ck_assert(sregs.cs.db && !sregs.cs.l && sregs.cs.type == 0xb && !sregs.cs.base);
	ck_assert_uint_eq(sregs.ds.limit, UINT32_MAX);
	ck_assert_uint_eq(sregs.tr.base, 0);
	ck_assert_uint_eq(sregs.tr.limit, 0x67);
	ck_assert_uint_eq(sregs.tr.type, 0xb);
	ck_assert_mem_eq(at(MIB, ELF_BYTES), elf.code, ELF_BYTES);
	for (unsigned i = ELF_BYTES; i < 3 * ELF_BYTES; i++)
		ck_assert_uint_eq(*(uint8_t *)at(MIB + i, 1), 0);
	ck_assert_uint_eq(*(uint8_t *)at(MIB + 3 * ELF_BYTES, 1), 0xaa);
	ck_assert_uint_eq(*(uint8_t *)at(4 * MIB, 1), 0x90);
}
END_TEST

START_TEST(pvh_start_info)
{
	static uint8_t initrd[5000] = { 1, 2, 3 };
	gpa_t module, map;
	uint8_t *p;

	memory(64 * MIB);
	elf32_make();
	assert_ok(elf_open(initrd, sizeof(initrd)));
	assert_ok(load());
	ck_assert_uint_eq(regs.rip, MIB + 16);
	p = at(regs.rbx, 56);
	ck_assert_uint_eq(get_le(p, 4), 0x336ec578);
	ck_assert_uint_eq(get_le(p + 4, 4), 1);
	ck_assert_uint_eq(get_le(p + 12, 4), 1);
	module = get_le(p + 16, 8);
	ck_assert_str_eq(at(get_le(p + 24, 8), 8), "hello=1");
	ck_assert_uint_eq(get_le(p + 32, 8), PLATFORM_ACPI_BASE);
	map = get_le(p + 40, 8);
	ck_assert_uint_eq(get_le(p + 48, 4), 4);
	ck_assert_uint_eq(get_le(at(module, 8), 8), 64 * MIB - 2 * 4096);
	ck_assert_uint_eq(get_le(at(module + 8, 8), 8), sizeof(initrd));
	ck_assert_mem_eq(at(64 * MIB - 2 * 4096, 5000), initrd, 5000);
	p = at(map, 4 * 24);
	ck_assert_uint_eq(get_le(p + 8, 8), PLATFORM_EBDA);
	ck_assert_uint_eq(get_le(p + 16, 4), 1);
	ck_assert_uint_eq(get_le(p + 24 + 16, 4), 2);
	ck_assert_uint_eq(get_le(p + 48, 8), MIB);
	ck_assert_uint_eq(get_le(p + 48 + 8, 8), 63 * MIB);

	assert_ok(elf_open(NULL, 0));
	assert_ok(load());
	ck_assert_uint_eq(get_le(at(regs.rbx + 12, 4), 4), 0);
}
END_TEST

START_TEST(pvh_notes)
{
	memory(64 * MIB);
	elf64_make(); /* notes of eight-byte alignment: name and value are padded to it */
	elf.p64[2].p_align = 8;
	elf.p64[2].p_offset = ELF_AT(note);
	elf.p64[2].p_filesz = sizeof(elf.note);
	assert_ok(elf_open(NULL, 0));
	assert_ok(load());
	elf64_make();
	elf.note.h.n_type = 17;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "CONFIG_PVH");
	elf64_make();
	elf.note.name[0] = 'Y';
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "CONFIG_PVH");
	elf64_make();
	elf.other.h.n_namesz = UINT32_MAX;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "CONFIG_PVH");
	elf64_make();
	elf.other.h.n_descsz = UINT32_MAX - 3;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "CONFIG_PVH");
	elf64_make();
	elf.note.h.n_descsz = 9;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "CONFIG_PVH");
	elf64_make();
	elf.p64[2].p_filesz = ELF_AT(note.value[1]) - ELF_AT(other);
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "CONFIG_PVH");
}
END_TEST

START_TEST(pvh_damaged_files)
{
	elf64_make();
	elf.h64.e_phoff = UINT64_MAX - 8;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "damaged");
	elf64_make();
	elf.h64.e_phnum = 0xffff;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "65535");
	elf64_make();
	elf.h64.e_phentsize--;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "damaged");
	elf64_make();
	elf.h64.e_machine = EM_AARCH64;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "another processor");
	elf64_make();
	elf.h64.e_ident[EI_DATA] = ELFDATA2MSB;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "another processor");
	elf64_make();
	elf.p64[0].p_offset = UINT64_MAX - 4;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "segment 0");
	elf64_make();
	elf.p64[1].p_filesz = sizeof(elf);
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "segment 1");
	elf64_make();
	elf.p64[0].p_memsz = ELF_BYTES - 1;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "segment 0");
	elf64_make();
	elf.p64[2].p_filesz = UINT64_MAX;
	assert_refused(elf_open(NULL, 0), -ENOEXEC, "segment 2");
	elf64_make();
	for (size_t len = 1; len < sizeof(elf); len += len < ELF_AT(code) ? 1 : 101)
		ck_assert_int_eq(open_file(&elf, len, NULL, 0, NULL), -ENOEXEC);
}
END_TEST

static void refuse_placement(int code, const char *words)
{
	assert_ok(elf_open(NULL, 0));
	assert_refused(load(), code, words);
}

START_TEST(pvh_placement)
{
	memory(16 * MIB);
	elf64_make();
	elf.p64[0].p_paddr = 0xe0000;
	refuse_placement(-ENOSPC, "0xe0000");
	elf64_make();
	elf.p64[0].p_memsz = 15 * MIB + 1;
	refuse_placement(-ENOSPC, "15360 KiB");
	elf64_make();
	elf.p64[0].p_memsz = UINT64_MAX;
	refuse_placement(-ENOSPC, "give it more");
	elf64_make();
	elf.p64[1].p_paddr = UINT64_MAX - 8;
	refuse_placement(-ENOSPC, "give it more");
	elf64_make();
	elf.p64[1].p_paddr = 16 * MIB - 15;
	refuse_placement(-ENOSPC, "give it more");
	elf64_make();
	elf.note.value[0] = 3 * MIB; /* between the segments */
	refuse_placement(-ENOEXEC, "entry point");
	elf64_make();
	elf.note.value[1] = 1; /* above 4 GiB */
	refuse_placement(-ENOEXEC, "entry point");
	elf64_make();
	elf.p64[1].p_paddr = 16 * MIB - 16;
	assert_ok(elf_open("initrd", 6));
	assert_refused(load(), -ENOSPC, "0 KiB");
	elf.p64[1].p_paddr = 16 * MIB - 4096 - 16;
	assert_ok(elf_open("initrd", 6));
	assert_ok(load());
	memory(MIB);
	refuse_placement(-ENOSPC, "first MiB");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("boot_pvh");
	TCase *t = tcase_create("boot_pvh");

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, pvh_registers);
	tcase_add_test(t, pvh_start_info);
	tcase_add_test(t, pvh_notes);
	tcase_add_test(t, pvh_damaged_files);
	tcase_add_test(t, pvh_placement);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
