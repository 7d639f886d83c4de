/* SPDX-License-Identifier: Apache-2.0 */
/*
 * void registers_spin(void): loads every register of ring 3 from the struct registers at gs:0,
 * waits for an interrupt to be counted without using any of them, stores what they are then. rsp
 * is one of them: an interrupt takes its stack from the TSS.
 */
#include "lib/layout.h"

#define WANTED(n)	%gs:((n) * 8)
#define GOT(n)		%gs:(128 + (n) * 8)
#define FLAGS		%gs:256
#define STACK		%gs:264
#define FX_WANTED	%gs:272
#define FX_GOT		%gs:784

	.text
	.globl registers_spin
registers_spin:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, STACK
	fxrstor64 FX_WANTED
	std
	mov WANTED(0), %rax
	mov WANTED(1), %rcx
	mov WANTED(2), %rdx
	mov WANTED(3), %rbx
	mov WANTED(4), %rsp
	mov WANTED(5), %rbp
	mov WANTED(6), %rsi
	mov WANTED(7), %rdi
	mov WANTED(8), %r8
	mov WANTED(9), %r9
	mov WANTED(10), %r10
	mov WANTED(11), %r11
	mov WANTED(12), %r12
	mov WANTED(13), %r13
	mov WANTED(14), %r14
	mov WANTED(15), %r15
1:	pause
	cmpl $0, guest_irq_count + 4 * VECTOR_IRQ	/* VECTOR_GO */
	je 1b
	mov %rax, GOT(0)
	mov %rcx, GOT(1)
	mov %rdx, GOT(2)
	mov %rbx, GOT(3)
	mov %rsp, GOT(4)
	mov %rbp, GOT(5)
	mov %rsi, GOT(6)
	mov %rdi, GOT(7)
	mov %r8, GOT(8)
	mov %r9, GOT(9)
	mov %r10, GOT(10)
	mov %r11, GOT(11)
	mov %r12, GOT(12)
	mov %r13, GOT(13)
	mov %r14, GOT(14)
	mov %r15, GOT(15)
	mov STACK, %rsp
	pushfq
	popq FLAGS
	cld
	fxsave64 FX_GOT
	fninit
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.section .note.GNU-stack, "", @progbits
