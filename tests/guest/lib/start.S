/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a PVH entry (32-bit protected mode, paging off, ebx = hvm_start_info) to guest_c_entry() in
 * ring 3. Ring 0 may be interpreted at half a microsecond an instruction, so it does only what
 * nothing else can do: page tables, GDT and stacks are data of the image, the IDT is filled in by
 * C code in ring 3 (cpu.c). A secondary processor joins at guest_ap_entry32.
 *
 * The page tables map the first 4 GiB one to one, for ring 3, by 2 MiB pages: 1 GiB pages would be
 * smaller, but a monitor may run with a CPUID that lacks them without being able to hide the
 * host's bit from us.
 */
#include "layout.h"

#define PTE_USER	0x07		/* present, writable, user */
#define PTE_LARGE	0x80

#define MSR_APIC_BASE	0x1b
#define MSR_EFER	0xc0000080
#define MSR_X2APIC_SVR	0x80f

	.section .note.Xen, "a", @note
	.balign 4
	.long 4				/* name */
	.long 8				/* descriptor: an address of the ELF's class */
	.long 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad guest_entry32

	.section .text.start, "ax"
	.code32
	.globl guest_entry32
guest_entry32:
	movb guest_early_byte, %al
	test %al, %al
	jz 1f
	mov $COM1, %dx
	out %al, %dx
1:	mov %ebx, guest_start_info
	xor %ebp, %ebp			/* processor 0 */

/* ebp = processor's index; flat segments of any descriptor table */
	.globl guest_ap_entry32
guest_ap_entry32:
	lgdt gdt_pointer
	mov $0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $pml4, %eax
	mov %eax, %cr3
	mov $MSR_EFER, %ecx
	mov $0x100, %eax		/* LME */
	xor %edx, %edx
	wrmsr
	mov $0x80000033, %eax		/* PG, NE, ET, MP, PE */
	mov %eax, %cr0
	ljmp $SEL_KCODE, $entry64

	.code64
entry64:
	xor %eax, %eax
	mov %eax, %ss
	mov $SEL_UDATA, %eax
	mov %eax, %ds
	mov %eax, %es
	lidt idt_pointer

	/* The descriptor of this processor's TSS: an address in pieces is beyond the linker. */
	mov %ebp, %ecx
	shl $4, %ecx			/* rcx: offset of the descriptor in the table's TSS part */
	imul $TSS_BYTES, %ebp, %edx
	mov $TASKS_IOMAP, %eax
	sub %edx, %eax			/* all TSSs share the permission bitmap behind the last */
	lea guest_tasks(%rdx), %edx
	mov %ax, TSS_IOMAP_BASE(%rdx)
	add $IOMAP_BYTES, %eax		/* limit: the bitmap and the byte of ones behind it */
	mov %ax, gdt_tss(%rcx)
	mov %dx, gdt_tss + 2(%rcx)
	mov %edx, %eax
	shr $16, %eax
	mov %al, gdt_tss + 4(%rcx)
	movb $0x89, gdt_tss + 5(%rcx)	/* present, 64-bit TSS, available */
	mov %ah, gdt_tss + 7(%rcx)
	add $SEL_TSS, %ecx
	mov %ebp, %eax
	inc %eax
	shl $STACK_SHIFT, %eax
	lea guest_kstacks(%rax), %rsp
	mov %rsp, TSS_RSP0(%rdx)
	ltr %cx

	mov $MSR_APIC_BASE, %ecx
	rdmsr
	or $0xc00, %eax			/* x2APIC mode */
	wrmsr
	mov $MSR_X2APIC_SVR, %ecx
	mov $0x1ff, %eax		/* software enable, spurious vector 0xff */
	xor %edx, %edx
	wrmsr

	mov %ebp, %eax
	inc %eax
	shl $STACK_SHIFT, %eax
	lea guest_ustacks - 8(%rax), %rax	/* as if called: rsp + 8 is a multiple of 16 */
	pushq $SEL_UDATA
	pushq %rax
	pushq $2			/* interrupts off until cpu_irqs_on() */
	pushq $SEL_UCODE
	pushq $guest_c_entry
	mov %ebp, %edi
	iretq

	.text
/*
 * uint64_t cpu_ring0(fn, a, b): fn(a, b) in ring 0. The door is an invalid opcode at a known
 * address: KVM's emulator has neither "int" in protected mode nor sysret, exceptions work
 * everywhere. The frame of the interrupted ring 3 lies above fn's return address, see
 * guest_irqs_on.
 */
	.globl cpu_ring0
cpu_ring0:
	mov %rdi, %rax
	mov %rsi, %rdi
	mov %rdx, %rsi
ring0_door:
	ud2
	ret

	.globl guest_stub_invalid
guest_stub_invalid:
	cmpq $ring0_door, (%rsp)
	jne guest_fault_stubs + VECTOR_INVALID * STUB_BYTES
	addq $2, (%rsp)
	call *%rax
	iretq

#define FRAME_RFLAGS	(8 + 16)	/* behind the return address, rip and cs */

	.globl guest_irqs_on, guest_irqs_off, guest_wait_irq, guest_halt, guest_rdmsr, guest_wrmsr
guest_irqs_on:
	orl $0x200, FRAME_RFLAGS(%rsp)
	ret
guest_irqs_off:
	andl $~0x200, FRAME_RFLAGS(%rsp)
	ret
guest_wait_irq:
	sti				/* takes effect behind the next instruction: none is lost */
	hlt
	cli
	ret
guest_halt:
	cli
	hlt
	jmp guest_halt
guest_rdmsr:
	mov %edi, %ecx
	rdmsr
	shl $32, %rdx
	or %rdx, %rax
	ret
guest_wrmsr:
	mov %edi, %ecx
	mov %esi, %eax
	mov %rsi, %rdx
	shr $32, %rdx
	wrmsr
	ret

/*
 * Interrupts: count the vector, tell the APIC.  The stubs are STUB_BYTES apart.
 */
	.balign STUB_BYTES
	.globl guest_irq_stubs
guest_irq_stubs:
	vector = VECTOR_IRQ
	.rept NVECTORS_IRQ
	.balign STUB_BYTES
	push %rcx
	mov $(vector), %ecx
	jmp irq_common
	vector = vector + 1
	.endr

irq_common:
	push %rax
	push %rdx
	lock incl guest_irq_count(, %rcx, 4)
	mov $MSR_X2APIC_EOI, %ecx
	xor %eax, %eax
	xor %edx, %edx
	wrmsr
	pop %rdx
	pop %rax
	pop %rcx
guest_spurious:
	iretq
	.globl guest_spurious

/*
 * Exceptions: note what is known in guest_fault and go on in ring 3 at guest_c_fault(), which
 * prints at native speed. Exceptions without an error code get a zero.
 */
#define PUSHES_ERROR	0x60227d00	/* 8, 10-14, 17, 21, 29, 30 */

	.balign STUB_BYTES
	.globl guest_fault_stubs
guest_fault_stubs:
	vector = 0
	.rept 32
	.balign STUB_BYTES
	.if !((PUSHES_ERROR >> vector) & 1)
	push $0
	.endif
	push $(vector)
	jmp fault_common
	vector = vector + 1
	.endr

fault_common:				/* stack: vector, error, rip, cs, rflags, rsp, ss */
	mov 16(%rsp), %rax
	mov %rax, guest_fault_rip
	mov (%rsp), %rdi
	mov 8(%rsp), %rsi
	mov %cr2, %rdx
	mov 40(%rsp), %rcx
	and $~0xf, %rcx
	sub $8, %rcx
	pushq $SEL_UDATA
	push %rcx
	pushq $2
	pushq $SEL_UCODE
	pushq $guest_c_fault
	iretq

/*
 * Real-mode start of a secondary processor, copied to a page below 1 MiB (AP_PAGE). Processors are
 * started one at a time, so the index comes from memory without a lock.
 */
	.code16
	.globl guest_ap_start, guest_ap_start_end, guest_ap_index
guest_ap_start:
	cli
	lgdtl %cs:ap_gdt_pointer - guest_ap_start
	mov $1, %eax
	mov %eax, %cr0
	ljmpl $SEL_KCODE32, $ap_start32
ap_gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
guest_ap_start_end:

	.code32
ap_start32:
	mov $SEL_KDATA, %eax
	mov %eax, %ds
	mov %eax, %ss
	mov guest_ap_index, %ebp
	jmp guest_ap_entry32

	.data
	.weak guest_early_byte
guest_early_byte:
	.byte 0

	.balign 16
gdt:	.quad 0
	.quad 0x00af9b000000ffff	/* SEL_KCODE: 64-bit, ring 0 */
	.quad 0x00cf93000000ffff	/* SEL_KDATA */
	.quad 0x00cff3000000ffff	/* SEL_UDATA */
	.quad 0x00affb000000ffff	/* SEL_UCODE: 64-bit, ring 3 */
	.quad 0x00cf9b000000ffff	/* SEL_KCODE32 */
gdt_tss:
	.fill MAX_CPUS * 2, 8, 0
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt
idt_pointer:
	.word 256 * 16 - 1
	.quad guest_idt
guest_ap_index:
	.long 0

	.section .tables, "aw"
	.balign 4096
pml4:	.quad guest_pdpt + PTE_USER
	.fill 511, 8, 0
	.globl guest_pdpt
guest_pdpt:
	.quad pd + PTE_USER, pd + 0x1000 + PTE_USER, pd + 0x2000 + PTE_USER, pd + 0x3000 + PTE_USER
	.fill 508, 8, 0
pd:
	page = 0
	.rept 4 * 512
	.quad page << 21 | PTE_LARGE | PTE_USER
	page = page + 1
	.endr

	.bss
	.balign 4096
	.globl guest_idt, guest_tasks, guest_kstacks, guest_ustacks
guest_idt:
	.skip 256 * 16
guest_kstacks:
	.skip MAX_CPUS << STACK_SHIFT
guest_ustacks:
	.skip MAX_CPUS << STACK_SHIFT
guest_tasks:
	.skip TASKS_IOMAP + IOMAP_BYTES
	.skip 1				/* set to ones by cpu.c: no port lies behind the last */

	.globl guest_start_info, guest_fault_rip, guest_irq_count
	.balign 8
guest_fault_rip:
	.skip 8
guest_start_info:
	.skip 4
guest_irq_count:
	.skip 256 * 4
	.section .note.GNU-stack, "", @progbits
