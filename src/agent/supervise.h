/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What should run does: VMs of specs are started and stopped here, and started again when they
 * failed, as restart.h decides.  A start or stop is a job with a thread, which waits for the VM
 * without the lock.  Whether a VM may run on this host at all is the monitor's to know, which asks
 * its journal, owner records and locks; its refusal is shown, and after a while tried again.
 *
 * Under the agent's lock.
 */
#ifndef SUPERVISE_H
#define SUPERVISE_H

#include "specs.h"

/* Why it cannot be; else the asker (NULL: nobody) is told.  One that runs is started. */
int supervise_start(struct spec *, const struct asker *, struct err *);
/* The power button, and when its time is up off.  One that does not run is stopped. */
int supervise_stop(struct spec *, const struct asker *, struct err *);

/* The process is over: told by process.c of those that this agent started, and by inventory.c
 * of those that it found. */
void supervise_ended(struct agent *, const char *name, pid_t);
/* After each look at all VMs. */
void supervise_look(struct agent *);

/* Its VM may run on another host and not on this one, as this host's journal has it. */
bool supervise_is_elsewhere(const struct spec *);
/* A VM has come to this host and has not left it. */
bool supervise_has_come(const char *uuid);

/* The spec is freed; its job may be under way. */
void supervise_forget(struct spec *);
void supervise_end(struct agent *); /* without the lock, when the loop has ended */

#endif
