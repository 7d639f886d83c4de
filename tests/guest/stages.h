/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pieces of stages.c.  An item brings one part of the machine into a state that follows from a
 * generation number, and later tells whether it is still in it.
 */
#ifndef GUEST_STAGES_H
#define GUEST_STAGES_H

#include "lib/virtio.h"

/* How the first processor waits for the harness; the generation decides, see stage_hold() */
enum hold { HOLD_SPIN, HOLD_REGISTERS, HOLD_HALT, NHOLDS };

enum {
	VECTOR_GO = VECTOR_IRQ,
	VECTOR_TICK,
	VECTOR_PENDING,
	VECTOR_BLK,
	IRQ_MS = 30000, /* how long an interrupt may take */
};

struct item {
	const char *name;
	bool (*present)(void); /* NULL: always */
	void (*build)(uint32_t generation);
	void (*verify)(uint32_t generation);
};

extern const struct item memory_item, cmos_item, chips_item, pci_item, msr_item, debug_item,
	apic_item, clock_item, kvmclock_item, rng_item, blk_item;

enum hold stage_hold(uint32_t generation);
uint64_t mix(uint64_t a, uint64_t b); /* any two numbers to one that looks like neither */
bool irq_wait(unsigned vector, uint32_t count); /* at least so many */

/* The serial port is part of every stage: how it is set is how the harness is awaited. */
void uart_prepare(uint32_t generation);
void uart_arm(void);
void uart_wait_go(uint32_t generation);
void registers_start(void); /* secondary processors, "cpus=N" */
void registers_build(uint32_t generation);
void registers_hold(void); /* until VECTOR_GO was counted */
void registers_verify(uint32_t generation);

#endif
