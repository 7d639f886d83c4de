/* SPDX-License-Identifier: Apache-2.0 */
/* The 64-bit boot protocol of Linux: Documentation/arch/x86/boot.rst. */
#include <asm/bootparam.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "bits.h"
#include "boot_kinds.h"
#include "platform.h"

enum {
	BOOT_LINUX_SECTOR = 512,
	BOOT_LINUX_HEADER = 0x1f1, /* of struct setup_header in the file */
	BOOT_LINUX_JUMP = 0x201, /* its second byte: the header's end, counted from 0x202 */
	BOOT_LINUX_MAGIC = 0x53726448, /* "HdrS" */
	BOOT_LINUX_ENTRY64 = 0x200,
	BOOT_LINUX_CS = 0x10, /* __BOOT_CS and __BOOT_DS */
	BOOT_LINUX_DS = 0x18,
	BOOT_LINUX_TR = 0x20,
	BOOT_LINUX_NO_ID = 0xff, /* type_of_loader of those without a number */
};

/* Intel SDM 3A: 2.5, 4.5, 2.2.1 */
enum {
	BOOT_LINUX_CR0_PE = 1 << 0,
	BOOT_LINUX_CR0_ET = 1 << 4,
	BOOT_LINUX_CR4_PAE = 1 << 5,
	BOOT_LINUX_EFER_LME = 1 << 8,
	BOOT_LINUX_EFER_LMA = 1 << 10,
	BOOT_LINUX_PTE = 3, /* present, writable */
	BOOT_LINUX_PTE_LARGE = 1 << 7,
};
#define BOOT_LINUX_CR0_PG BIT(31)

/* Where the parts of a bzImage are in the file and in memory. */
struct boot_linux {
	struct setup_header hdr;
	uint64_t code_offset, code_bytes;
	gpa_t base, end; /* of the memory that the kernel needs to unpack itself */
};

static int boot_linux_parse(const struct boot_image *image, struct boot_linux *l, struct err *e)
{
	size_t hdr_bytes = sizeof(l->hdr);
	uint64_t promised;

	*l = (struct boot_linux){};
	if (image->size >= BOOT_LINUX_HEADER + hdr_bytes) {
		hdr_bytes = MIN(hdr_bytes,
				image->data[BOOT_LINUX_JUMP] + 0x202u - BOOT_LINUX_HEADER);
		memcpy(&l->hdr, image->data + BOOT_LINUX_HEADER, hdr_bytes);
	}
	if (l->hdr.header != BOOT_LINUX_MAGIC || l->hdr.boot_flag != 0xaa55)
		return err_set(e, -ENOEXEC,
			       "kernel %s is neither a bzImage nor an ELF file; give a Linux "
			       "kernel such as /boot/vmlinuz",
			       image->path);
	if (l->hdr.version < 0x20c)
		return err_set(e, -ENOEXEC,
			       "kernel %s speaks boot protocol %u.%u; 2.12 or newer is needed "
			       "(Linux 3.8)",
			       image->path, l->hdr.version >> 8, l->hdr.version & 0xff);
	if (!(l->hdr.xloadflags & XLF_KERNEL_64) || !(l->hdr.loadflags & LOADED_HIGH))
		return err_set(e, -ENOEXEC,
			       "kernel %s has no 64-bit entry point; give one built for x86-64",
			       image->path);
	l->code_offset = ((l->hdr.setup_sects ?: 4) + 1) * BOOT_LINUX_SECTOR;
	/* syssize counts 16-byte paragraphs, the last of which need not be whole in the file. */
	promised = l->code_offset + l->hdr.syssize * UINT64_C(16);
	if (!l->hdr.syssize || promised >= image->size + UINT64_C(16))
		return err_set(e, -ENOEXEC,
			       "kernel %s is cut short: %zu bytes, its header promises %llu; copy "
			       "it again",
			       image->path, image->size, (unsigned long long)promised);
	l->code_bytes = MIN(promised, image->size) - l->code_offset;
	return 0;
}

int boot_linux_check(const struct boot_image *image, struct err *e)
{
	struct boot_linux l;

	return boot_linux_parse(image, &l, e);
}

static int boot_linux_place(const struct boot_image *image, struct boot_linux *l,
			    const struct guest_mem_region *low, struct err *e)
{
	uint64_t need = MAX(l->hdr.init_size, l->code_bytes);
	uint64_t align = l->hdr.kernel_alignment;
	gpa_t low_end = low->size_bytes;

	l->base = l->hdr.pref_address;
	if (l->base < PLATFORM_KERNEL_MIN || l->base >= low_end || need > low_end - l->base) {
		if (!l->hdr.relocatable_kernel || !is_power_of_two(align) || align > low_end)
			return err_set(e, -ENOSPC,
				       "kernel %s must lie at %#llx and needs %llu KiB there; give "
				       "the guest more memory",
				       image->path, (unsigned long long)l->base,
				       (unsigned long long)need / KIB);
		l->base = align_up(PLATFORM_KERNEL_MIN, align);
	}
	if (l->base >= low_end || need > low_end - l->base)
		return err_set(e, -ENOSPC,
			       "kernel %s needs %llu KiB from %#llx on, and the guest's low memory "
			       "ends at %#llx; give it more memory",
			       image->path, (unsigned long long)need / KIB,
			       (unsigned long long)l->base, (unsigned long long)low_end);
	l->end = l->base + need;
	return 0;
}

static int boot_linux_place_initrd(const struct boot *b, const struct boot_linux *l,
				   const struct guest_mem *mem, gpa_t *at, struct err *e)
{
	gpa_t end = MIN(l->hdr.initrd_addr_max + UINT64_C(1), mem->region[0].size_bytes);

	if (!boot_place(&mem->region[0], l->end, end, b->initrd.size, at))
		return 0;
	if (l->hdr.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G)
		for (unsigned i = 1; i < guest_mem_ram_regions(mem); i++)
			if (!boot_place(&mem->region[i], 0, UINT64_MAX, b->initrd.size, at))
				return 0;
	return boot_no_room_for_initrd(b, l->end, end, e);
}

static int boot_linux_write_zero_page(const struct boot *b, const struct boot_linux *l,
				      struct guest_mem *mem, gpa_t initrd)
{
	struct boot_params params = { .hdr = l->hdr };
	struct boot_range map[BOOT_MAP_MAX];

	params.hdr.type_of_loader = BOOT_LINUX_NO_ID;
	params.hdr.vid_mode = 0xffff; /* normal */
	params.hdr.code32_start = l->base;
	params.hdr.cmd_line_ptr = PLATFORM_CMDLINE;
	params.hdr.setup_data = 0; /* a list of the loader's, which the file may not begin */
	params.hdr.ramdisk_image = initrd;
	params.hdr.ramdisk_size = b->initrd.size;
	params.ext_ramdisk_image = initrd >> 32;
	params.ext_ramdisk_size = b->initrd.size >> 32;
	if (l->hdr.version >= 0x20e)
		params.acpi_rsdp_addr = b->rsdp;
	params.e820_entries = boot_memory_map(mem, map);
	for (unsigned i = 0; i < params.e820_entries; i++)
		params.e820_table[i] = (struct boot_e820_entry){ .addr = map[i].base,
								 .size = map[i].size_bytes,
								 .type = map[i].type };
	return guest_mem_write(mem, PLATFORM_ZERO_PAGE, &params, sizeof(params));
}

/* The first 4 GiB one to one.  2 MiB pages: not every processor has 1 GiB ones. */
static int boot_linux_write_page_tables(struct guest_mem *mem)
{
	enum { ENTRIES = 512, DIRECTORIES = 4 };
	uint64_t table[2 + DIRECTORIES][ENTRIES] = {};

	table[0][0] = (PLATFORM_PAGE_TABLES + GUEST_PAGE_BYTES) | BOOT_LINUX_PTE;
	for (unsigned i = 0; i < DIRECTORIES; i++)
		table[1][i] = (PLATFORM_PAGE_TABLES + (2 + i) * GUEST_PAGE_BYTES) | BOOT_LINUX_PTE;
	for (uint64_t i = 0; i < DIRECTORIES * ENTRIES; i++)
		table[2 + i / ENTRIES][i % ENTRIES] = i * 2 * MIB | BOOT_LINUX_PTE_LARGE |
						      BOOT_LINUX_PTE;
	return guest_mem_write(mem, PLATFORM_PAGE_TABLES, table, sizeof(table));
}

static int boot_linux_write_gdt(struct guest_mem *mem)
{
	static const uint64_t gdt[] = {
		[BOOT_LINUX_CS / 8] = 0x00af9b000000ffff, /* 64-bit code */
		[BOOT_LINUX_DS / 8] = 0x00cf93000000ffff, /* flat data */
		[BOOT_LINUX_TR / 8] = 0x00008b0000000067, /* TSS, busy, base 0, two entries wide */
		0,
	};

	return guest_mem_write(mem, PLATFORM_GDT, gdt, sizeof(gdt));
}

static void boot_linux_registers(const struct boot_linux *l, struct kvm_regs *regs,
				 struct kvm_sregs *sregs)
{
	*regs = (struct kvm_regs){ .rip = l->base + BOOT_LINUX_ENTRY64,
				   .rsi = PLATFORM_ZERO_PAGE,
				   .rflags = 2 };
	boot_flat_segments(sregs, BOOT_LINUX_CS, BOOT_LINUX_DS, true);
	sregs->tr.selector = BOOT_LINUX_TR;
	sregs->gdt.base = PLATFORM_GDT;
	sregs->gdt.limit = BOOT_LINUX_TR + 16 - 1;
	sregs->cr0 = BOOT_LINUX_CR0_PE | BOOT_LINUX_CR0_ET | BOOT_LINUX_CR0_PG;
	sregs->cr3 = PLATFORM_PAGE_TABLES;
	sregs->cr4 = BOOT_LINUX_CR4_PAE;
	sregs->efer = BOOT_LINUX_EFER_LME | BOOT_LINUX_EFER_LMA;
}

int boot_linux_load(const struct boot *b, struct guest_mem *mem, struct kvm_regs *regs,
		    struct kvm_sregs *sregs, struct err *e)
{
	struct boot_linux l;
	gpa_t initrd = 0;
	int r = boot_linux_parse(&b->kernel, &l, e);

	if (!r)
		r = boot_linux_place(&b->kernel, &l, &mem->region[0], e);
	if (!r && b->initrd.data)
		r = boot_linux_place_initrd(b, &l, mem, &initrd, e);
	if (!r)
		r = boot_write_cmdline(b, mem, l.hdr.cmdline_size, e);
	if (r)
		return r;
	/* All of it was placed in the guest's memory: from here on nothing is refused. */
	r = guest_mem_write(mem, l.base, b->kernel.data + l.code_offset, l.code_bytes);
	if (!r && b->initrd.data)
		r = guest_mem_write(mem, initrd, b->initrd.data, b->initrd.size);
	if (!r)
		r = boot_linux_write_zero_page(b, &l, mem, initrd);
	if (!r)
		r = boot_linux_write_page_tables(mem);
	if (!r)
		r = boot_linux_write_gdt(mem);
	if (r)
		return err_set(e, r, "kernel %s could not be written to the guest's memory",
			       b->kernel.path);
	boot_linux_registers(&l, regs, sregs);
	return 0;
}
