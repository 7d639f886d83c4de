/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that start.S and the C files of this folder share. */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#define COM1 0x3f8

#define MAX_CPUS 8
#define STACK_SHIFT 13

/* Selectors */
#define SEL_KCODE 0x08
#define SEL_KDATA 0x10
#define SEL_UDATA 0x1b
#define SEL_UCODE 0x23
#define SEL_KCODE32 0x28
#define SEL_TSS 0x30

/* Task state segments, one a processor, and the I/O permission bitmap they share behind them */
#define TSS_BYTES 0x68
#define TSS_RSP0 4
#define TSS_IOMAP_BASE 0x66
#define TASKS_IOMAP (TSS_BYTES * MAX_CPUS)
#define IOMAP_BYTES 8192

/* Vectors: exceptions, then those a program gives to devices */
#define VECTOR_INVALID 6
#define VECTOR_IRQ 0x30
#define NVECTORS_IRQ 32
#define VECTOR_SPURIOUS 0xff
#define STUB_BYTES 16

#define MSR_X2APIC_EOI 0x80b

#define AP_PAGE 0x8000

#endif
