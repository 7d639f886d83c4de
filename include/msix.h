/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of one PCI function: the table and pending bits in a BAR of their own, and an eventfd
 * per vector that KVM turns into the message.  msix_signal() may be called by any thread; a
 * masked vector keeps the signal in its eventfd until it is unmasked.
 *
 * Source: PCI Local Bus 3.0, 6.8.2.
 */
#ifndef MSIX_H
#define MSIX_H

#include "pci.h"

enum { MSIX_VECTORS_MAX = 64, MSIX_NO_VECTOR = 0xffff };

struct msix_entry {
	uint64_t address;
	uint32_t data, control;
};

struct msix_state {
	struct msix_entry entry[MSIX_VECTORS_MAX];
	uint32_t nentries; /* as many as the device has vectors */
	uint64_t pending;
};

extern const struct state_desc msix_state_desc;

struct msix {
	struct pci_function *fn;
	struct msix_state *s;
	unsigned nvectors, cap;
	uint8_t bar;
	struct msix_vector {
		int fd;
		unsigned gsi;
		bool connected;
	} vector[MSIX_VECTORS_MAX];
};

/* Claims a BAR and nvectors eventfds; the function's written hook must call msix_written(). */
int msix_attach(struct msix *, struct pci_function *, unsigned bar, unsigned nvectors,
		struct msix_state *, struct err *);
void msix_written(struct msix *, unsigned offset, unsigned size);
void msix_reset(struct msix *);
int msix_fetch(struct msix *, struct err *); /* what is waiting in the eventfds */
int msix_loaded(struct msix *, struct err *);

/* Any thread; a vector that does not exist is ignored. */
void msix_signal(struct msix *, unsigned vector);

#endif
