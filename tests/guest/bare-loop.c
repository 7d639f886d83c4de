/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that boots a PVH guest: one VM with in-kernel irqchip and PIT, one memory slot, one
 * vCPU and a serial port that only sends. It is the floor that scripts/bench holds the monitors
 * against: what is left then is the kernel's time, not a program's. Not a test of anything.
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	COM1_DATA = 0x3f8,
	COM1_LSR = 0x3fd,
	LSR_EMPTY_IDLE = 0x60,
	PORT_SLEEP = 0x600,
	CPUID_MAX = 256,
	INFO_AT = 0x7000,
	MEMMAP_AT = 0x7100,
	CMDLINE_AT = 0x7200,
	LOW_END = 0xa0000,
	HIGH = 0x100000,
	XEN_ELFNOTE_PHYS32_ENTRY = 18,
};

struct start_info { /* Xen's public/arch-x86/hvm/start_info.h */
	uint32_t magic, version, flags, nr_modules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct memmap_entry {
	uint64_t base, size;
	uint32_t type, reserved;
};

struct options {
	uint64_t memory, since;
	const char *kernel, *append;
};

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int do_ioctl(int fd, unsigned long request, void *arg, const char *what)
{
	int r = ioctl(fd, request, arg);

	if (r < 0)
		err(1, "%s", what);
	return r;
}

static void read_at(int fd, void *to, size_t n, uint64_t offset, const char *path)
{
	if (pread(fd, to, n, (off_t)offset) != (ssize_t)n)
		errx(1, "%s: too short or not readable", path);
}

/* The entry in a PT_NOTE segment, or 0 */
static uint32_t note_entry(const uint8_t *notes, size_t n)
{
	for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= n;) {
		const Elf64_Nhdr *h = (const void *)(notes + at);
		size_t desc = at + sizeof(*h) + ((h->n_namesz + 3) & ~3u);
		uint32_t entry;

		if (h->n_type == XEN_ELFNOTE_PHYS32_ENTRY && h->n_descsz >= 4 && desc + 4 <= n) {
			memcpy(&entry, notes + desc, sizeof(entry));
			return entry;
		}
		at = desc + ((h->n_descsz + 3) & ~3u);
	}
	return 0;
}

/* Load the segments, return the PVH entry. */
static uint32_t load(const struct options *o, uint8_t *ram)
{
	int fd = open(o->kernel, O_RDONLY | O_CLOEXEC);
	uint32_t entry = 0;
	Elf64_Ehdr h;

	if (fd < 0)
		err(1, "%s", o->kernel);
	read_at(fd, &h, sizeof(h), 0, o->kernel);
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) || h.e_ident[EI_CLASS] != ELFCLASS64)
		errx(1, "%s: not a 64-bit ELF file", o->kernel);
	for (unsigned i = 0; i < h.e_phnum; i++) {
		uint8_t notes[256];
		Elf64_Phdr p;

		read_at(fd, &p, sizeof(p), h.e_phoff + i * sizeof(p), o->kernel);
		if (p.p_type == PT_LOAD) {
			if (p.p_paddr > o->memory || p.p_filesz > o->memory - p.p_paddr)
				errx(1, "%s: does not fit", o->kernel);
			read_at(fd, ram + p.p_paddr, p.p_filesz, p.p_offset, o->kernel);
		} else if (p.p_type == PT_NOTE && p.p_filesz <= sizeof(notes)) {
			read_at(fd, notes, p.p_filesz, p.p_offset, o->kernel);
			entry = note_entry(notes, p.p_filesz);
		}
	}
	if (!entry)
		errx(1, "%s: no PVH entry", o->kernel);
	close(fd);
	return entry;
}

static void fill_start_info(const struct options *o, uint8_t *ram)
{
	const struct memmap_entry map[] = {
		{ .base = 0, .size = LOW_END, .type = 1 },
		{ .base = HIGH, .size = o->memory - HIGH, .type = 1 },
	};
	const struct start_info info = {
		.magic = 0x336ec578,
		.version = 1,
		.cmdline = CMDLINE_AT,
		.memmap = MEMMAP_AT,
		.memmap_entries = sizeof(map) / sizeof(map[0]),
	};

	memcpy(ram + INFO_AT, &info, sizeof(info));
	memcpy(ram + MEMMAP_AT, map, sizeof(map));
	snprintf((char *)ram + CMDLINE_AT, 1024, "%s", o->append);
}

/* 32-bit protected mode, flat, paging off; ebx = start info */
static void set_registers(int vcpu, uint32_t entry)
{
	const struct kvm_segment data = {
		.limit = ~0u,
		.selector = 0x10,
		.type = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
	};
	struct kvm_regs regs = { .rip = entry, .rbx = INFO_AT, .rflags = 2 };
	struct kvm_sregs s;

	do_ioctl(vcpu, KVM_GET_SREGS, &s, "KVM_GET_SREGS");
	s.cr0 = 0x11;
	s.ds = s.es = s.fs = s.gs = s.ss = s.cs = data;
	s.cs.selector = 0x08;
	s.cs.type = 11;
	s.tr.type = 11;
	s.tr.limit = 0x67;
	do_ioctl(vcpu, KVM_SET_SREGS, &s, "KVM_SET_SREGS");
	do_ioctl(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

static void set_cpuid(int kvm, int vcpu)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUID_MAX * sizeof(c->entries[0]));

	if (!c)
		err(1, "CPUID");
	c->nent = CPUID_MAX;
	do_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c, "KVM_GET_SUPPORTED_CPUID");
	do_ioctl(vcpu, KVM_SET_CPUID2, c, "KVM_SET_CPUID2");
	free(c);
}

static void serial_out(const uint8_t *bytes, size_t n, uint64_t since)
{
	static bool begun;
	uint64_t t = begun ? 0 : now();

	if (write(STDOUT_FILENO, bytes, n) != (ssize_t)n)
		err(1, "standard output");
	if (!begun)
		fprintf(stderr, "first byte after %llu ns\n", (unsigned long long)(t - since));
	begun = true;
}

/* Until the guest switches the machine off; unknown ports read as ones. */
static void run(int vcpu, struct kvm_run *run, uint64_t since)
{
	for (;;) {
		uint8_t *data;

		do_ioctl(vcpu, KVM_RUN, NULL, "KVM_RUN");
		data = (uint8_t *)run + run->io.data_offset;
		if (run->exit_reason == KVM_EXIT_MMIO)
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		else if (run->exit_reason == KVM_EXIT_SHUTDOWN)
			return;
		else if (run->exit_reason != KVM_EXIT_IO)
			errx(1, "exit reason %u", run->exit_reason);
		else if (run->io.direction == KVM_EXIT_IO_IN)
			memset(data, run->io.port == COM1_LSR ? LSR_EMPTY_IDLE : 0xff,
			       run->io.size * run->io.count);
		else if (run->io.port == COM1_DATA)
			serial_out(data, run->io.size * run->io.count, since);
		else if (run->io.port == PORT_SLEEP)
			return;
	}
}

static uint64_t size_parse(const char *s)
{
	char *end;
	uint64_t v = strtoull(s, &end, 0);
	const char *unit = strchr("KMG", *end);

	if (end == s || (*end && (!unit || end[1])))
		errx(1, "%s: not a size", s);
	return *end ? v << ((unit - "KMG") + 1) * 10 : v;
}

static void options_parse(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{ "memory", required_argument, NULL, 'm' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "append", required_argument, NULL, 'a' },
		{ "since", required_argument, NULL, 's' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 'm')
			o->memory = size_parse(optarg);
		else if (c == 'k')
			o->kernel = optarg;
		else if (c == 'a')
			o->append = optarg;
		else if (c == 's')
			o->since = strtoull(optarg, NULL, 0);
		else
			exit(2);
	}
	if (!o->kernel || o->memory < 16 << 20 || o->memory > 3ULL << 30)
		errx(2, "usage: bare-loop --kernel ELF [--memory 16M..3G] [--append WORDS]\n"
			"       [--since CLOCK_MONOTONIC-NS, of the process's start]");
}

int main(int argc, char **argv)
{
	struct options o = { .memory = 1 << 30, .append = "", .since = now() };
	struct kvm_pit_config pit = { 0 };
	int kvm, vm, vcpu, run_size;
	struct kvm_run *kvm_run;
	uint32_t entry;
	uint8_t *ram;

	options_parse(&o, argc, argv);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		err(1, "/dev/kvm");
	vm = do_ioctl(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	ram = mmap(NULL, o.memory, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram == MAP_FAILED)
		err(1, "guest memory");
	entry = load(&o, ram);
	fill_start_info(&o, ram);
	/* Before the irqchip: afterwards each change of the memory map waits for a grace period. */
	do_ioctl(vm, KVM_SET_USER_MEMORY_REGION,
		 &(struct kvm_userspace_memory_region){
			 .memory_size = o.memory,
			 .userspace_addr = (uint64_t)ram,
		 },
		 "KVM_SET_USER_MEMORY_REGION");
	do_ioctl(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	do_ioctl(vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
	vcpu = do_ioctl(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
	run_size = do_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
	kvm_run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (kvm_run == MAP_FAILED)
		err(1, "kvm_run");
	set_cpuid(kvm, vcpu);
	set_registers(vcpu, entry);
	run(vcpu, kvm_run, o.since);
	return 0;
}
