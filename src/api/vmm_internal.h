/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor's parts, for the files that it consists of. */
#ifndef VMM_INTERNAL_H
#define VMM_INTERNAL_H

#include "config.h"
#include "machine.h"
#include "vmdir.h"
#include "vmm.h"
#include "vmm_signals.h"

struct migration;
struct migration_config;
struct snapshot_job;
struct restore_job;
struct vmm_check;

struct vmm {
	struct vmm_hooks hooks;
	struct config config; /* config.json NULL: empty */
	struct vmdir dir;
	struct machine *machine; /* NULL: not booted */
	struct snapshot_job *snapshot; /* under way; NULL: none */
	struct restore_job *restore;
	struct vmm_check *check;
	struct list waiting; /* requests */
	struct vmm_request *current;
	struct work next;
	/* Due between two runs of the loop, where nothing is in a callback; NULL: nothing is. */
	void (*between)(struct vmm *);
	bool disks_shared; /* with a snapshot: when the guest runs they are not as there any more */
	bool discarding; /* the machine's end is not the VM's */
	struct vmm_migration *migration; /* the last one; NULL: none yet */
	struct vmm_migration *came; /* the one before, which answers whoever sent the VM; or NULL */
	struct vmm_signals signals;
	bool quit, stuck;
	int away; /* how often vmm_away() was said */
};

/* The current request is answered: q->done(); vmm_fail() says why. */
void vmm_finish(struct vmm *, enum vmm_fault);
void vmm_fail(struct vmm *, enum vmm_fault, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The next one may begin, though this one's done() comes later. */
void vmm_release(struct vmm *);
/* Leave the loop to do it.  No other request begins before it is done. */
void vmm_between(struct vmm *, void (*)(struct vmm *));
/* False: the current request was refused, as there is no VM, or it does not run. */
bool vmm_check_created(struct vmm *);
bool vmm_check_booted(struct vmm *);

void vmm_tell(struct vmm *, const char *event);
/* To be found by this name from now on, until vmdir_free(). */
int vmm_take_name(struct vmm *, const char *name, struct err *);
/* Become a VM with this configuration, and be none any more. */
enum vmm_fault vmm_take_config(struct vmm *, const json_t *, struct err *);
void vmm_drop_config(struct vmm *);

/* Around what may take long, before anybody hears of what came of it; may be nested. */
void vmm_away(struct vmm *, bool away);
/* Between two runs of the loop; how: what is special in it, the rest is filled in. */
int vmm_build(struct vmm *, const struct machine_hooks *how, struct err *);

/* vmm_disks.c: the disks of a snapshot, and those of a VM that is made from it. */
json_t *vmm_list_disks(struct vmm *);
int vmm_check_disks(struct vmm *, const json_t *recorded, const json_t *given, struct err *);
int vmm_part_disks(struct vmm *, struct err *);

/* vmm_migrate.c.  The VM belongs to a migration: what would change it waits or is refused. */
bool vmm_is_migrating(const struct vmm *);
struct migration *vmm_migration(const struct vmm *); /* NULL: none is under way */
bool vmm_migration_holds(const struct vmm *); /* its guest does not run, or not here */
void vmm_call_migration_off(struct vmm *); /* for the first of waiting, which ends the VM */
void vmm_migration_lost_vm(struct vmm *); /* the machine has ended by itself */
bool vmm_migration_free(struct vmm *); /* false: as migration_free() */
/* What in, a SendMigrationData, says of a migration: where to and its goals.  Strings are in's. */
int vmm_load_send(const char *what, const json_t *in, struct migration_config *, struct err *);

/* vmm_migrating.c */
bool vmm_is_handed_over(const struct vmm *); /* and cannot be called off */
bool vmm_is_undecided(const struct vmm *); /* where the VM runs */
bool vmm_migration_refuses(struct vmm *, const struct vmm_request *, struct err *);
void vmm_tell_ports(struct vmm *, const char *url); /* whoever is attached: it runs there now */
void vmm_refuse_idle(struct vmm_request *); /* no migration is under way */

bool vmm_go_on(struct vmm *, struct err *); /* a paused VM; false: it stays so */
void vmm_over(struct vmm *, int status, const char *why);
/* False: a device still moves; the process has to end, which vmm_over() with VMM_STUCK tells. */
bool vmm_free_machine(struct vmm *);
#define VMM_STUCK "a device did not stop: its host file or disk does not answer"

void vmm_snapshot_cancel(struct vmm *); /* and wait until nobody works at it */
void vmm_restore_cancel(struct vmm *);
void vmm_check_cancel(struct vmm *); /* the same */

#define VMM_NONE_CREATED "no VM was created; vm.create makes one"

/* The guest has its time to answer, and so has a disk; others need not wait for that: the request,
 * which is arg, is over for the queue by vmm_release(), and done by this. */
void vmm_done_later(void *arg, int result, const char *why);

void vmm_bdf(unsigned slot, char bdf[16]); /* how the API writes a PCI address */

#endif
