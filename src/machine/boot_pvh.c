/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files that name a 32-bit entry point: the x86/HVM direct boot ABI of Xen ("PVH"). */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "bits.h"
#include "boot_kinds.h"
#include "platform.h"

enum {
	BOOT_PVH_NOTE_ENTRY = 18, /* XEN_ELFNOTE_PHYS32_ENTRY */
	BOOT_PVH_MAGIC = 0x336ec578,
	BOOT_PVH_VERSION = 1,
	BOOT_PVH_CODE = 0x8, /* the ABI leaves selectors open */
	BOOT_PVH_DATA = 0x10,
	BOOT_PVH_CR0_PE = 1 << 0,
};

/* struct hvm_start_info and what it points to, in one page at PLATFORM_START_INFO. */
struct boot_pvh_start {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
	struct {
		uint64_t paddr, size, cmdline_paddr, reserved;
	} module;
	struct {
		uint64_t addr, size;
		uint32_t type, reserved;
	} memmap[BOOT_MAP_MAX];
};

/* A program header of either class. */
struct boot_pvh_segment {
	uint32_t type;
	uint64_t offset, address, file_bytes, memory_bytes, align;
};

struct boot_pvh {
	uint64_t table; /* of program headers */
	unsigned nsegments;
	bool elf64;
	uint64_t entry;
	gpa_t end; /* of the highest segment in low memory */
};

static bool boot_pvh_in_file(const struct boot_image *image, uint64_t offset, uint64_t len)
{
	return offset <= image->size && len <= image->size - offset;
}

static struct boot_pvh_segment boot_pvh_segment(const struct boot_image *image,
						const struct boot_pvh *p, unsigned i)
{
	Elf64_Phdr h64;
	Elf32_Phdr h32;

	if (p->elf64) {
		memcpy(&h64, image->data + p->table + i * sizeof(h64), sizeof(h64));
		return (struct boot_pvh_segment){ h64.p_type,   h64.p_offset, h64.p_paddr,
						  h64.p_filesz, h64.p_memsz,  h64.p_align };
	}
	memcpy(&h32, image->data + p->table + i * sizeof(h32), sizeof(h32));
	return (struct boot_pvh_segment){ h32.p_type,   h32.p_offset, h32.p_paddr,
					  h32.p_filesz, h32.p_memsz,  h32.p_align };
}

static int boot_pvh_header(const struct boot_image *image, struct boot_pvh *p, struct err *e)
{
	Elf64_Ehdr h64 = {};
	Elf32_Ehdr h32 = {};
	unsigned entry_bytes, machine;

	memcpy(&h64, image->data, MIN(image->size, sizeof(h64)));
	memcpy(&h32, image->data, MIN(image->size, sizeof(h32)));
	*p = (struct boot_pvh){ .elf64 = h64.e_ident[EI_CLASS] == ELFCLASS64 };
	p->table = p->elf64 ? h64.e_phoff : h32.e_phoff;
	p->nsegments = p->elf64 ? h64.e_phnum : h32.e_phnum;
	entry_bytes = p->elf64 ? h64.e_phentsize : h32.e_phentsize;
	machine = p->elf64 ? h64.e_machine : h32.e_machine;
	if (h64.e_ident[EI_DATA] != ELFDATA2LSB || (machine != EM_X86_64 && machine != EM_386))
		return err_set(e, -ENOEXEC,
			       "kernel %s is an ELF file for another processor; give "
			       "one for x86",
			       image->path);
	if (entry_bytes != (p->elf64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) ||
	    !boot_pvh_in_file(image, p->table, (uint64_t)p->nsegments * entry_bytes))
		return err_set(e, -ENOEXEC,
			       "kernel %s is a damaged ELF file: its %u program "
			       "headers at %#llx are not in its %zu bytes; copy or build it again",
			       image->path, p->nsegments, (unsigned long long)p->table,
			       image->size);
	return 0;
}

/* The entry point if one of the notes names it. */
static bool boot_pvh_find_entry(const struct boot_image *image, const struct boot_pvh_segment *s,
				uint64_t *entry)
{
	uint64_t align = s->align == 8 ? 8 : 4, at = s->offset, end = at + s->file_bytes;
	Elf32_Nhdr note; /* the same in both classes */

	while (end - at >= sizeof(note)) {
		uint64_t name = at + sizeof(note), desc, next;

		memcpy(&note, image->data + at, sizeof(note));
		desc = at + align_up(sizeof(note) + (uint64_t)note.n_namesz, align);
		next = desc + align_up(note.n_descsz, align);
		if (desc > end || note.n_descsz > end - desc)
			return false;
		if (note.n_type == BOOT_PVH_NOTE_ENTRY && note.n_namesz == sizeof("Xen") &&
		    !memcmp(image->data + name, "Xen", sizeof("Xen")) &&
		    (note.n_descsz == 4 || note.n_descsz == 8)) {
			*entry = get_le(image->data + desc, note.n_descsz);
			return true;
		}
		at = MIN(next, end);
	}
	return false;
}

static int boot_pvh_parse(const struct boot_image *image, struct boot_pvh *p, struct err *e)
{
	bool found = false;
	int r = boot_pvh_header(image, p, e);

	if (r)
		return r;
	for (unsigned i = 0; i < p->nsegments; i++) {
		struct boot_pvh_segment s = boot_pvh_segment(image, p, i);

		if (s.type != PT_LOAD && s.type != PT_NOTE)
			continue;
		if (!boot_pvh_in_file(image, s.offset, s.file_bytes) ||
		    (s.type == PT_LOAD && s.memory_bytes < s.file_bytes))
			return err_set(e, -ENOEXEC,
				       "kernel %s is a damaged ELF file: its segment %u has %llu "
				       "bytes at %#llx of %zu; copy or build it again",
				       image->path, i, (unsigned long long)s.file_bytes,
				       (unsigned long long)s.offset, image->size);
		if (s.type == PT_NOTE && !found)
			found = boot_pvh_find_entry(image, &s, &p->entry);
	}
	if (!found)
		return err_set(
			e, -ENOEXEC,
			"kernel %s is an ELF file without a PVH entry point; build Linux with "
			"CONFIG_PVH=y, or give its bzImage (vmlinuz)",
			image->path);
	return 0;
}

int boot_pvh_check(const struct boot_image *image, struct err *e)
{
	struct boot_pvh p;

	return boot_pvh_parse(image, &p, e);
}

static int boot_pvh_place(const struct boot_image *image, struct boot_pvh *p, struct guest_mem *mem,
			  struct err *e)
{
	bool entry_loaded = false;

	for (unsigned i = 0; i < p->nsegments; i++) {
		struct boot_pvh_segment s = boot_pvh_segment(image, p, i);

		if (s.type != PT_LOAD || !s.memory_bytes)
			continue;
		if (s.address < PLATFORM_KERNEL_MIN ||
		    !guest_mem_find(mem, s.address, s.memory_bytes))
			return err_set(
				e, -ENOSPC,
				"kernel %s wants %llu KiB at %#llx, which is not in the guest's "
				"memory from %#llx to %#llx; give it more memory",
				image->path, (unsigned long long)s.memory_bytes / KIB,
				(unsigned long long)s.address,
				(unsigned long long)PLATFORM_KERNEL_MIN,
				(unsigned long long)mem->region[0].size_bytes);
		if (p->entry >= s.address && p->entry - s.address < s.memory_bytes)
			entry_loaded = true;
		if (s.address < mem->region[0].size_bytes)
			p->end = MAX(p->end, s.address + s.memory_bytes);
	}
	if (!entry_loaded || p->entry > UINT32_MAX)
		return err_set(
			e, -ENOEXEC,
			"kernel %s is a damaged ELF file: its PVH entry point %#llx is in none of "
			"its segments; build it again",
			image->path, (unsigned long long)p->entry);
	return 0;
}

static int boot_pvh_write_segments(const struct boot_image *image, const struct boot_pvh *p,
				   struct guest_mem *mem)
{
	for (unsigned i = 0; i < p->nsegments; i++) {
		struct boot_pvh_segment s = boot_pvh_segment(image, p, i);
		uint64_t zeros = s.memory_bytes - s.file_bytes;
		gpa_t bss = s.address + s.file_bytes;

		if (s.type != PT_LOAD || !s.memory_bytes)
			continue;
		if (guest_mem_write(mem, s.address, image->data + s.offset, s.file_bytes))
			return -EFAULT;
		if (!zeros)
			continue;
		memset(guest_mem_at(mem, bss, zeros), 0, zeros);
		guest_mem_mark_dirty(mem, bss, zeros);
	}
	return 0;
}

static int boot_pvh_write_start(const struct boot *b, struct guest_mem *mem, gpa_t initrd)
{
	struct boot_range map[BOOT_MAP_MAX];
	struct boot_pvh_start start = {
		.magic = BOOT_PVH_MAGIC,
		.version = BOOT_PVH_VERSION,
		.cmdline_paddr = PLATFORM_CMDLINE,
		.rsdp_paddr = b->rsdp,
		.memmap_paddr = PLATFORM_START_INFO + offsetof(struct boot_pvh_start, memmap),
		.memmap_entries = boot_memory_map(mem, map),
	};

	if (b->initrd.data) {
		start.nr_modules = 1;
		start.modlist_paddr = PLATFORM_START_INFO + offsetof(struct boot_pvh_start, module);
		start.module.paddr = initrd;
		start.module.size = b->initrd.size;
	}
	for (unsigned i = 0; i < start.memmap_entries; i++) {
		start.memmap[i].addr = map[i].base;
		start.memmap[i].size = map[i].size_bytes;
		start.memmap[i].type = map[i].type;
	}
	return guest_mem_write(mem, PLATFORM_START_INFO, &start, sizeof(start));
}

int boot_pvh_load(const struct boot *b, struct guest_mem *mem, struct kvm_regs *regs,
		  struct kvm_sregs *sregs, struct err *e)
{
	struct boot_pvh p;
	gpa_t initrd = 0, end = mem->region[0].size_bytes;
	int r = boot_pvh_parse(&b->kernel, &p, e);

	if (!r)
		r = boot_pvh_place(&b->kernel, &p, mem, e);
	if (!r && b->initrd.data &&
	    boot_place(&mem->region[0], p.end, end, b->initrd.size, &initrd))
		r = boot_no_room_for_initrd(b, p.end, end, e);
	if (!r)
		r = boot_write_cmdline(b, mem, SIZE_MAX, e);
	if (r)
		return r;
	r = boot_pvh_write_segments(&b->kernel, &p, mem);
	if (!r && b->initrd.data)
		r = guest_mem_write(mem, initrd, b->initrd.data, b->initrd.size);
	if (!r)
		r = boot_pvh_write_start(b, mem, initrd);
	if (r)
		return err_set(e, r, "kernel %s could not be written to the guest's memory",
			       b->kernel.path);
	*regs = (struct kvm_regs){ .rip = p.entry, .rbx = PLATFORM_START_INFO, .rflags = 2 };
	boot_flat_segments(sregs, BOOT_PVH_CODE, BOOT_PVH_DATA, false);
	sregs->cr0 = BOOT_PVH_CR0_PE;
	sregs->cr3 = sregs->cr4 = sregs->efer = 0;
	return 0;
}
