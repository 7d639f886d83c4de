/* SPDX-License-Identifier: Apache-2.0 */
/* bzImages of a few pages made here, as they should be and broken in every way we know. */
#include <asm/bootparam.h>
#include <errno.h>

#include "boot_fixture.h"
#include "check_main.h"

enum { SETUP = 4 * 512, CODE = 4096, BZIMAGE = SETUP + CODE };

static uint8_t bzimage[BZIMAGE];

static struct setup_header *bzimage_make(void)
{
	struct setup_header *h = (struct setup_header *)(bzimage + 0x1f1);

	memset(bzimage, 0xcc, sizeof(bzimage));
	memset(bzimage, 0, SETUP);
	for (unsigned i = 0; i < CODE; i++)
		bzimage[SETUP + i] = i * 7;
	*h = (struct setup_header){
		.setup_sects = SETUP / 512 - 1,
		.syssize = CODE / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb, /* over the header, which ends at 0x26c */
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 2 * MIB,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
		.cmdline_size = 2047,
		.setup_data = 0x1234,
		.pref_address = 16 * MIB,
		.init_size = 8 * MIB,
	};
	return h;
}

static int bzimage_open(const void *initrd, size_t len, const char *cmdline)
{
	return open_file(bzimage, sizeof(bzimage), initrd, len, cmdline);
}

/* Follows the page tables of the loader as a processor would. */
static gpa_t translate(gpa_t address)
{
	uint64_t entry = sregs.cr3 | 1;

	for (int shift = 39; shift >= 21; shift -= 9) {
		ck_assert_uint_eq(entry & 1, 1);
		entry = get_le(at((entry & ~UINT64_C(0xfff)) + (address >> shift & 511) * 8, 8), 8);
	}
	ck_assert_uint_eq(entry & 0x83, 0x83); /* present, writable, large */
	return (entry & ~UINT64_C(0x1fffff)) + (address & 0x1fffff);
}

START_TEST(linux_registers)
{
	static const gpa_t somewhere[] = {
		0, 0x7000, 0x1000200, 0x40000000, 0xc0200000, 0xffffffff
	};

	memory(64 * MIB);
	bzimage_make();
	assert_ok(bzimage_open(NULL, 0, "quiet"));
	ck_assert_int_eq(boot.kind, BOOT_LINUX);
	assert_ok(load());
	ck_assert_uint_eq(regs.rip, 16 * MIB + 0x200);
	ck_assert_uint_eq(regs.rsi, PLATFORM_ZERO_PAGE);
	ck_assert_uint_eq(regs.rflags, 2);
	ck_assert_uint_eq(regs.rax, 0);
	ck_assert_uint_eq(sregs.efer, 0x500);
	ck_assert_uint_eq(sregs.cr0 & 0x80000001, 0x80000001);
	ck_assert_uint_eq(sregs.cr4, 0x20);
	ck_assert_uint_eq(sregs.cs.selector, 0x10);
	ck_assert(sregs.cs.l && !sregs.cs.db && sregs.cs.present && sregs.cs.type == 0xb);
	ck_assert_uint_eq(sregs.ds.selector, 0x18);
	ck_assert_uint_eq(sregs.ss.limit, UINT32_MAX);
	ck_assert_uint_eq(sregs.apic_base, 0xfee00900); /* none of the loader's business */
	ck_assert_uint_eq(get_le(at(sregs.gdt.base + 0x10, 8), 8), 0x00af9b000000ffff);
	ck_assert_uint_eq(get_le(at(sregs.gdt.base + 0x18, 8), 8), 0x00cf93000000ffff);
	for (unsigned i = 0; i < ARRAY_SIZE(somewhere); i++)
		ck_assert_uint_eq(translate(somewhere[i]), somewhere[i]);
	ck_assert_mem_eq(at(16 * MIB, CODE), bzimage + SETUP, CODE);
}
END_TEST

/* Linux restarts hardware-reduced machines by jumping to the BIOS. */
START_TEST(linux_reset_vector)
{
	static const uint8_t code[] = { 0xb0, 0x01, 0xba, 0x04, 0x06, 0xee, 0xf4, 0xeb, 0xfd };

	memory(64 * MIB);
	bzimage_make();
	assert_ok(bzimage_open(NULL, 0, ""));
	assert_ok(load());
	ck_assert_mem_eq(at(0xffff0, sizeof(code)), code, sizeof(code));
}
END_TEST

START_TEST(linux_zero_page)
{
	struct boot_params *p;

	memory(UINT64_C(5) * GIB);
	bzimage_make();
	assert_ok(bzimage_open(NULL, 0, "console=ttyS0"));
	assert_ok(load());
	p = at(PLATFORM_ZERO_PAGE, sizeof(*p));
	ck_assert_uint_eq(p->hdr.header, 0x53726448);
	ck_assert_uint_eq(p->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(p->hdr.init_size, 8 * MIB);
	ck_assert_uint_eq(p->hdr.setup_data, 0);
	ck_assert_uint_eq(p->hdr.ramdisk_size, 0);
	ck_assert_uint_eq(p->hdr.code32_start, 16 * MIB);
	ck_assert_uint_eq(p->acpi_rsdp_addr, PLATFORM_ACPI_BASE);
	ck_assert_uint_eq(p->sentinel, 0);
	ck_assert_str_eq(at(p->hdr.cmd_line_ptr, 14), "console=ttyS0");
	ck_assert_uint_eq(p->e820_entries, 5);
	ck_assert_uint_eq(p->e820_table[0].size, PLATFORM_EBDA);
	ck_assert_uint_eq(p->e820_table[1].type, 2);
	ck_assert_uint_eq(p->e820_table[1].addr + p->e820_table[1].size, MIB);
	ck_assert_uint_eq(p->e820_table[2].addr, MIB);
	ck_assert_uint_eq(p->e820_table[2].size, PLATFORM_LOW_RAM_END - MIB);
	ck_assert_uint_eq(p->e820_table[3].addr, PLATFORM_ECAM_BASE);
	ck_assert_uint_eq(p->e820_table[3].type, 2);
	ck_assert_uint_eq(p->e820_table[4].addr, PLATFORM_HIGH_RAM_BASE);
	ck_assert_uint_eq(p->e820_table[4].size, UINT64_C(5) * GIB - PLATFORM_LOW_RAM_END);
	ck_assert_uint_eq(p->e820_table[4].type, 1);
}
END_TEST

/* The header in the file may be shorter than the newest we know: its rest is none. */
START_TEST(linux_short_header)
{
	struct boot_params *p;

	memory(64 * MIB);
	bzimage_make()->version = 0x20c;
	bzimage[0x201] = 0x264 - 0x202;
	memset(bzimage + 0x264, 0xee, 16);
	assert_ok(bzimage_open(NULL, 0, ""));
	assert_ok(load());
	p = at(PLATFORM_ZERO_PAGE, sizeof(*p));
	ck_assert_uint_eq(p->hdr.init_size, 8 * MIB);
	ck_assert_uint_eq(p->hdr.handover_offset, 0);
	ck_assert_uint_eq(p->acpi_rsdp_addr, 0);
}
END_TEST

START_TEST(linux_placement)
{
	struct setup_header *h = bzimage_make();

	memory(16 * MIB); /* too small for the preferred address */
	assert_ok(bzimage_open(NULL, 0, ""));
	assert_ok(load());
	ck_assert_uint_eq(regs.rip, 2 * MIB + 0x200);
	h->kernel_alignment = MIB;
	assert_ok(bzimage_open(NULL, 0, ""));
	assert_ok(load());
	ck_assert_uint_eq(regs.rip, MIB + 0x200);
	memory(20 * MIB); /* holds the preferred address, but not all of the kernel from there */
	assert_ok(load());
	ck_assert_uint_eq(regs.rip, MIB + 0x200);
	memory(16 * MIB);
	h->init_size = 15 * MIB;
	assert_ok(bzimage_open(NULL, 0, ""));
	assert_ok(load());
	h->init_size = 15 * MIB + 1;
	assert_ok(bzimage_open(NULL, 0, ""));
	assert_refused(load(), -ENOSPC, "15360 KiB");
	h->init_size = 0; /* then what is copied counts */
	h->relocatable_kernel = 0;
	assert_ok(bzimage_open(NULL, 0, ""));
	assert_refused(load(), -ENOSPC, "must lie at 0x1000000");
	h->pref_address = UINT64_MAX - 16;
	assert_ok(bzimage_open(NULL, 0, ""));
	assert_refused(load(), -ENOSPC, "must lie at");
	h->relocatable_kernel = 1;
	for (unsigned bit = 0; bit < 32; bit++) {
		h->kernel_alignment = UINT32_C(1) << bit;
		assert_ok(bzimage_open(NULL, 0, ""));
		ck_assert_int_eq(load(), bit < 24 ? 0 : -ENOSPC);
	}
	h->kernel_alignment = 3 * MIB;
	assert_ok(bzimage_open(NULL, 0, ""));
	ck_assert_int_eq(load(), -ENOSPC);
}
END_TEST

START_TEST(linux_refusals)
{
	bzimage_make()->version = 0x20b;
	assert_refused(bzimage_open(NULL, 0, NULL), -ENOEXEC, "2.11");
	bzimage_make()->xloadflags = XLF_CAN_BE_LOADED_ABOVE_4G;
	assert_refused(bzimage_open(NULL, 0, NULL), -ENOEXEC, "x86-64");
	bzimage_make()->loadflags = 0;
	assert_refused(bzimage_open(NULL, 0, NULL), -ENOEXEC, "x86-64");
	bzimage_make()->boot_flag = 0;
	assert_refused(bzimage_open(NULL, 0, NULL), -ENOEXEC, "neither");
	bzimage_make()->header = 0;
	assert_refused(bzimage_open(NULL, 0, NULL), -ENOEXEC, "neither");
	bzimage_make()->syssize = CODE / 16 + 1;
	assert_refused(bzimage_open(NULL, 0, NULL), -ENOEXEC, "cut short");
	bzimage_make()->syssize = UINT32_MAX;
	assert_refused(bzimage_open(NULL, 0, NULL), -ENOEXEC, "cut short");
	bzimage_make()->syssize = 0;
	assert_refused(bzimage_open(NULL, 0, NULL), -ENOEXEC, "cut short");
	bzimage_make()->setup_sects = 255;
	assert_refused(bzimage_open(NULL, 0, NULL), -ENOEXEC, "cut short");
	bzimage_make();
	for (size_t len = 1; len <= BZIMAGE - 16; len += len < 0x300 ? 1 : 91)
		ck_assert_int_eq(open_file(bzimage, len, NULL, 0, NULL), -ENOEXEC);
	ck_assert_ptr_null(boot.kernel.data);
	assert_refused(open_file("", 0, NULL, 0, NULL), -EINVAL, "empty");
	assert_refused(boot_open(&boot, "/nonexistent", NULL, NULL, &err), -ENOENT, "/nonexistent");
	assert_refused(boot_open(&boot, "/", NULL, NULL, &err), -EINVAL, "regular");
	file_make(kernel_path, bzimage, sizeof(bzimage));
	assert_refused(boot_open(&boot, kernel_path, "/nonexistent", NULL, &err), -ENOENT,
		       "initrd /nonexistent");
	ck_assert_ptr_null(boot.kernel.data);
}
END_TEST

START_TEST(linux_command_line)
{
	char line[2049];
	struct boot_params *p;

	memory(64 * MIB);
	memset(line, 'x', sizeof(line) - 1);
	line[2048] = '\0';
	bzimage_make();
	assert_ok(bzimage_open(NULL, 0, line));
	assert_refused(load(), -E2BIG, "2047");
	line[2047] = '\0';
	assert_ok(load());
	p = at(PLATFORM_ZERO_PAGE, sizeof(*p));
	ck_assert_str_eq(at(p->hdr.cmd_line_ptr, 2048), line);
	assert_ok(bzimage_open(NULL, 0, NULL)); /* none is an empty one, also over an old one */
	assert_ok(load());
	ck_assert_str_eq(at(PLATFORM_CMDLINE, 1), "");
}
END_TEST

static gpa_t initrd_at(void)
{
	struct boot_params *p = at(PLATFORM_ZERO_PAGE, sizeof(*p));

	ck_assert_uint_eq(p->hdr.ramdisk_size, boot.initrd.size);
	return (uint64_t)p->ext_ramdisk_image << 32 | p->hdr.ramdisk_image;
}

START_TEST(linux_initrd)
{
	static uint8_t initrd[9 * MIB + 5];
	struct setup_header *h = bzimage_make();

	memset(initrd, 0x5a, sizeof(initrd));
	memory(64 * MIB);
	assert_ok(bzimage_open(initrd, sizeof(initrd), ""));
	assert_ok(load());
	ck_assert_uint_eq(initrd_at(), align_down(64 * MIB - sizeof(initrd), 4096));
	ck_assert_mem_eq(at(initrd_at(), sizeof(initrd)), initrd, sizeof(initrd));

	h->initrd_addr_max = 0x2ffffff; /* the last byte, not the one behind it */
	assert_ok(bzimage_open(initrd, 4096, ""));
	assert_ok(load());
	ck_assert_uint_eq(initrd_at(), 0x2fff000);

	h->initrd_addr_max = 24 * MIB + 4095; /* just above the kernel */
	assert_ok(bzimage_open(initrd, 4096, ""));
	assert_ok(load());
	ck_assert_uint_eq(initrd_at(), 24 * MIB);
	assert_ok(bzimage_open(initrd, 4097, ""));
	assert_refused(load(), -ENOSPC, "needs 5 KiB");

	h->initrd_addr_max = UINT32_MAX;
	memory(24 * MIB + 8 * MIB);
	assert_ok(bzimage_open(initrd, sizeof(initrd), ""));
	assert_refused(load(), -ENOSPC, "8192 KiB");

	/* High memory is the last resort, and not for every kernel. */
	memory(UINT64_C(4) * GIB);
	h->initrd_addr_max = 24 * MIB;
	assert_ok(bzimage_open(initrd, sizeof(initrd), ""));
	assert_ok(load());
	ck_assert_uint_gt(initrd_at(), PLATFORM_HIGH_RAM_BASE);
	ck_assert_mem_eq(at(initrd_at(), sizeof(initrd)), initrd, sizeof(initrd));
	h->xloadflags = XLF_KERNEL_64;
	assert_ok(bzimage_open(initrd, sizeof(initrd), ""));
	ck_assert_int_eq(load(), -ENOSPC);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("boot");
	TCase *t = tcase_create("boot");

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, linux_registers);
	tcase_add_test(t, linux_reset_vector);
	tcase_add_test(t, linux_zero_page);
	tcase_add_test(t, linux_short_header);
	tcase_add_test(t, linux_placement);
	tcase_add_test(t, linux_refusals);
	tcase_add_test(t, linux_command_line);
	tcase_add_test(t, linux_initrd);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
