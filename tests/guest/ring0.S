/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can this host's KVM run a kernel?  A breakpoint in ring 0 is what a stock kernel tries early and
 * what a KVM that emulates ring 0 cannot do.  Writes 'K' to the serial port from the handler, then
 * switches off.  32-bit code all along, as PVH enters it (xen/include/public/arch-x86/hvm/start_info.h).
 */
#define COM1 0x3f8
#define SLEEP_CONTROL 0x600
#define SLEEP_S5 0x34 /* SLP_TYP 5, SLP_EN: ACPI 6.4, 4.8.3.7 */
#define CODE 8
#define INTERRUPT_GATE 0x8e00

	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long guest_entry32

	.text
	.code32
	.globl guest_entry32
guest_entry32:
	lgdt gdt_pointer
	mov $breakpoint, %eax
	movw %ax, idt + 3 * 8
	shr $16, %eax
	movw %ax, idt + 3 * 8 + 6
	lidt idt_pointer
	mov $stack_end, %esp
	int3
	hlt

breakpoint:
	mov $COM1, %edx
	mov $'K', %al
	out %al, %dx
	mov $SLEEP_CONTROL, %edx
	mov $SLEEP_S5, %al
	out %al, %dx
1:	hlt
	jmp 1b

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff /* CODE: flat, 32 bits */
idt:
	.fill 3, 8, 0
	.word 0, CODE, INTERRUPT_GATE, 0
gdt_pointer:
	.word idt - gdt - 1
	.long gdt
idt_pointer:
	.word gdt_pointer - idt - 1
	.long idt

	.bss
	.balign 16
	.fill 256
stack_end:
