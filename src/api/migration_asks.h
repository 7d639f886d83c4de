/* SPDX-License-Identifier: Apache-2.0 */
/* One migration of the monitor's VM, and what its thread asks of main. */
#ifndef MIGRATION_ASKS_H
#define MIGRATION_ASKS_H

#include <pthread.h>

#include "migration.h"
#include "vmm_internal.h"

/* What the migration's thread asks of main, one thing at a time. */
struct ask {
	struct work work;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done; /* main has answered */
	bool closed; /* nobody answers any more */
	int result;
	struct err e;
};

struct vmm_migration {
	struct vmm *vmm;
	struct migration *m;
	struct vmm_request *waits; /* for its end; NULL: nobody */
	json_t *request; /* complete; its goals may change */
	json_t *overrides; /* of what the source's configuration says, for a destination */
	bool incoming, active;
	bool paused_before; /* when it began, and so the other side has it */
	bool holds; /* the machine: nothing of the VM moves until it is released */
	struct ask ask;
	/* Arguments of what is asked. */
	bool logs;
	unsigned to_log; /* devices that have not done so yet, and one */
	const json_t *versions;
	json_t *hello;
	bool stays;
	struct migration_place place; /* for build() */
	const struct state_buf *states;
	struct vm *vm;
	bool paused;
	unsigned throttle_percent;
	enum migration_hint hint;
	/* Written by main between stop() and saved(). */
	struct state_buf saved;
	int save_result;
	struct err save_error;
	bool is_saved;
	/* How it ended. */
	struct work over;
	uint64_t began_ns;
	bool noted; /* the hook has heard of its end */
	struct timer limit; /* set once it was called off for somebody who ends the VM */
	enum migration_end end;
	char why[sizeof(struct err)];
};

/* For the audit log, once: it has ended, or the process does and it stays unsettled.  why: NULL or
 * "": all is well. */
void vmm_note_migration(struct vmm_migration *, bool settled, const char *why);

void migration_asks_init(struct vmm_migration *);
/* Nobody is answered any more: the VM has ended. */
void migration_asks_close(struct vmm_migration *);
void migration_asks_free(struct vmm_migration *); /* when the thread has ended */

/* All but over(). */
struct migration_control migration_asks(struct vmm_migration *);

/* On main: migration_look(), if the VM is still there. */
void migration_asks_look(struct vmm_migration *);

#endif
