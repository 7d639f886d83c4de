/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bits.h"
#include "boot_kinds.h"
#include "cleanup.h"
#include "platform.h"

static int boot_map_file(struct boot_image *image, const char *what, const char *path,
			 struct err *e)
{
	CLEANUP(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *data;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s %s: %s; give one that can be read with --%s", what,
			       path, strerror(errno), what);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s %s is not a regular file", what, path);
	if (!st.st_size)
		return err_set(e, -EINVAL, "%s %s is empty", what, path);
	data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return err_set(e, -errno, "%s %s cannot be mapped: %s", what, path,
			       strerror(errno));
	*image = (struct boot_image){ .path = path, .data = data, .size = st.st_size };
	return 0;
}

int boot_recognise(const struct boot_image *image, enum boot_kind *kind, struct err *e)
{
	bool elf = image->size >= SELFMAG && !memcmp(image->data, ELFMAG, SELFMAG);
	int r = elf ? boot_pvh_check(image, e) : boot_linux_check(image, e);

	if (!r)
		*kind = elf ? BOOT_PVH : BOOT_LINUX;
	return r;
}

int boot_open(struct boot *b, const char *kernel, const char *initrd, const char *cmdline,
	      struct err *e)
{
	int r;

	*b = (struct boot){ .cmdline = cmdline ? cmdline : "" };
	r = boot_map_file(&b->kernel, "kernel", kernel, e);
	if (!r)
		r = boot_recognise(&b->kernel, &b->kind, e);
	if (!r && initrd)
		r = boot_map_file(&b->initrd, "initrd", initrd, e);
	if (r)
		boot_close(b);
	return r;
}

static void boot_unmap_file(struct boot_image *image)
{
	if (image->data)
		munmap((void *)image->data, image->size);
	*image = (struct boot_image){};
}

void boot_close(struct boot *b)
{
	boot_unmap_file(&b->kernel);
	boot_unmap_file(&b->initrd);
	b->kind = BOOT_NONE;
}

/*
 * Code at the address where the BIOS of a PC starts.  Linux on hardware-reduced ACPI restarts by
 * jumping there if there is no EFI, and never comes to use the reset register itself.
 */
static int boot_write_reset_vector(struct guest_mem *mem)
{
	static const uint8_t code[] = {
		0xb0,
		PLATFORM_ACPI_RESET_VALUE, /* mov al, value */
		0xba,
		PLATFORM_ACPI_RESET & 0xff,
		PLATFORM_ACPI_RESET >> 8, /* mov dx, port */
		0xee, /* out dx, al */
		0xf4, /* hlt */
		0xeb,
		0xfd, /* jmp to the hlt */
	};

	return guest_mem_write(mem, PLATFORM_RESET_VECTOR, code, sizeof(code));
}

int boot_load(const struct boot *b, struct guest_mem *mem, struct kvm_regs *regs,
	      struct kvm_sregs *sregs, struct err *e)
{
	if (!mem->nregions || mem->region[0].size_bytes <= PLATFORM_KERNEL_MIN ||
	    boot_write_reset_vector(mem))
		return err_set(
			e, -ENOSPC,
			"memory: a kernel is loaded above the first MiB; give the guest more");
	return b->kind == BOOT_PVH ? boot_pvh_load(b, mem, regs, sregs, e)
				   : boot_linux_load(b, mem, regs, sregs, e);
}

unsigned boot_memory_map(const struct guest_mem *mem, struct boot_range map[BOOT_MAP_MAX])
{
	unsigned n = 0;

	map[n++] = (struct boot_range){ 0, PLATFORM_EBDA, BOOT_RAM };
	map[n++] = (struct boot_range){ PLATFORM_EBDA, PLATFORM_KERNEL_MIN - PLATFORM_EBDA,
					BOOT_RESERVED };
	map[n++] = (struct boot_range){ PLATFORM_KERNEL_MIN,
					mem->region[0].size_bytes - PLATFORM_KERNEL_MIN, BOOT_RAM };
	map[n++] = (struct boot_range){ PLATFORM_ECAM_BASE, PLATFORM_ECAM_BYTES, BOOT_RESERVED };
	for (unsigned i = 1; i < guest_mem_ram_regions(mem); i++)
		map[n++] = (struct boot_range){ mem->region[i].base, mem->region[i].size_bytes,
						BOOT_RAM };
	return n;
}

int boot_place(const struct guest_mem_region *region, gpa_t floor, gpa_t end, uint64_t len,
	       gpa_t *at)
{
	gpa_t lowest = align_up(MAX(floor, region->base), GUEST_PAGE_BYTES);
	gpa_t highest = MIN(end, region->base + region->size_bytes);

	if (highest < len || align_down(highest - len, GUEST_PAGE_BYTES) < lowest)
		return -ENOSPC;
	*at = align_down(highest - len, GUEST_PAGE_BYTES);
	return 0;
}

int boot_no_room_for_initrd(const struct boot *b, gpa_t floor, gpa_t end, struct err *e)
{
	uint64_t room = end > floor ? end - floor : 0;

	return err_set(e, -ENOSPC,
		       "initrd %s needs %zu KiB, but above its kernel the guest has %llu KiB; "
		       "give it more memory or a smaller initrd",
		       b->initrd.path, (b->initrd.size + KIB - 1) / KIB,
		       (unsigned long long)room / KIB);
}

int boot_write_cmdline(const struct boot *b, struct guest_mem *mem, size_t max, struct err *e)
{
	size_t len = strlen(b->cmdline);

	max = MIN(max, PLATFORM_CMDLINE_BYTES - 1);
	if (len > max)
		return err_set(e, -E2BIG,
			       "the kernel command line has %zu bytes; %s takes at most %zu", len,
			       b->kernel.path, max);
	return guest_mem_write(mem, PLATFORM_CMDLINE, b->cmdline, len + 1);
}

void boot_flat_segments(struct kvm_sregs *sregs, uint16_t code, uint16_t data, bool code64)
{
	/* Types: code, readable; data, writable; TSS, busy. */
	struct kvm_segment cs = { .limit = UINT32_MAX,
				  .selector = code,
				  .type = 0xb,
				  .s = 1,
				  .present = 1,
				  .g = 1,
				  .l = code64,
				  .db = !code64 };
	struct kvm_segment ds = { .limit = UINT32_MAX,
				  .selector = data,
				  .type = 0x3,
				  .s = 1,
				  .present = 1,
				  .g = 1,
				  .db = 1 };

	sregs->cs = cs;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = ds;
	sregs->tr = (struct kvm_segment){ .limit = 0x67, .type = 0xb, .present = 1 };
	sregs->ldt = (struct kvm_segment){ .unusable = 1 };
}
