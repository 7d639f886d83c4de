/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor of one VM as its users see it: empty, created (a configuration and a name), booted,
 * paused.  What is asked of it is a request; requests are done one after another, in order, so
 * that none meets a machine that another is building or taking apart.  Looking (vmm_info) waits
 * for nobody.  All of it runs on main.
 *
 * A machine is made and freed between two runs of the main loop, where nothing is in a callback.
 */
#ifndef VMM_H
#define VMM_H

#include <jansson.h>

#include "events.h"
#include "list.h"
#include "loop.h"

struct config;
struct counter_readings;
struct machine;
struct vmm;

/* What a request found wrong, for answers in the terms of HTTP. */
enum vmm_fault {
	VMM_OK,
	VMM_INVALID, /* the request itself */
	VMM_NO_VM, /* none was created, or none of that id */
	VMM_TAKEN, /* of that id there is one */
	VMM_LATER, /* the guest has not answered the one before */
	VMM_FAILED, /* anything else */
};

struct vmm_request {
	void (*run)(struct vmm *, struct vmm_request *); /* vmm_boot, ...; ends in done() */
	const json_t *in; /* its argument; NULL: none */
	int *fds; /* that came with it: -1 where one was taken */
	unsigned nfds;
	void (*done)(struct vmm_request *);
	void *arg; /* of the caller */
	/* The answer. */
	enum vmm_fault fault;
	struct err e;
	json_t *out; /* the caller's from then on; NULL: nothing to say */
	bool ends_process; /* vmm_end() is due when the caller has dealt with the answer */
	/* The monitor's. */
	struct vmm *vmm;
	struct list node;
};

struct vmm_hooks {
	struct loop *loop; /* main's */
	struct events *events;
	/* A VM has a name, and until it is deleted a directory (rundir.h).  May refuse. */
	int (*created)(void *arg, const char *name, int dir_fd, struct err *);
	/* The guest powered off or failed: 0, or 1 and why.  The process is to end. */
	void (*over)(void *arg, int status, const char *why);
	/* Main is about to do what may take long, or is back.  Meanwhile nothing of what may be
	 * asked for at once changes. */
	void (*away)(void *arg, bool away);
	/* A migration has ended, or stays undecided: an object, taken over.  NULL: never mind. */
	void (*moved)(void *arg, json_t *what);
	void *arg;
};

int vmm_new(struct vmm **, const struct vmm_hooks *, struct err *);
/* False: as machine_free().  NULL is fine. */
bool vmm_free(struct vmm *);

/* Runs the main loop until vmm_quit(). */
void vmm_run(struct vmm *);
void vmm_quit(struct vmm *); /* from over() */
void vmm_end(struct vmm *); /* the process is to end, and all is well */
/* Somebody wants the process to end: a migration is called off, if there is one and it still can
 * be.  True: it is one to here, and the VM is another's until it is over. */
bool vmm_call_off(struct vmm *);
/* The guest stands still until it is settled where it runs: machine_end() would wait for that. */
bool vmm_is_held(const struct vmm *);
/* From over(): as migration_leave(). */
int vmm_leave_migration(struct vmm *, struct err *);

/* The request is the caller's and lasts until done(). */
void vmm_submit(struct vmm *, struct vmm_request *);

/* For vmm_request.run */
void vmm_create(struct vmm *, struct vmm_request *); /* in: VmConfig */
void vmm_boot(struct vmm *, struct vmm_request *);
void vmm_pause(struct vmm *, struct vmm_request *);
void vmm_resume(struct vmm *, struct vmm_request *);
void vmm_reboot(struct vmm *, struct vmm_request *); /* hard */
void vmm_soft_reboot(struct vmm *, struct vmm_request *); /* when the guest has powered off */
void vmm_shutdown(struct vmm *, struct vmm_request *); /* hard; created again */
void vmm_delete(struct vmm *, struct vmm_request *);
void vmm_power_button(struct vmm *, struct vmm_request *);
void vmm_nmi(struct vmm *, struct vmm_request *);

void vmm_snapshot(struct vmm *, struct vmm_request *); /* in: {destination_url} */
/* in: {source_url, ...}; fds: taps.  As vmm_create() and vmm_boot(), but paused. */
void vmm_restore(struct vmm *, struct vmm_request *);

void vmm_add_disk(struct vmm *, struct vmm_request *); /* in: DiskConfig; out: {id, bdf} */
void vmm_add_net(struct vmm *, struct vmm_request *); /* in: NetConfig; fds: its tap's */
void vmm_remove_device(struct vmm *, struct vmm_request *); /* in: {id} */
void vmm_resize_disk(struct vmm *, struct vmm_request *); /* in: {id, desired_size} */
/* in: {desired_vcpus, desired_ram, desired_balloon}, some of them */
void vmm_resize(struct vmm *, struct vmm_request *);
void vmm_balloon_stats(struct vmm *, struct vmm_request *); /* out: BalloonStats */
void vmm_set_rate_limit(struct vmm *, struct vmm_request *); /* in: {id, rate_limiter_config} */

/* in: SendMigrationData; out: MigrationCheck.  Moves nothing. */
void vmm_check_migration(struct vmm *, struct vmm_request *);
/* As far as this host knows, in a second; out: MigrationPrediction. */
void vmm_predict_migration(struct vmm *, struct vmm_request *);
/* in: SendMigrationData; done at once, or with wait at the end. */
void vmm_send_migration(struct vmm *, struct vmm_request *);
/* in: ReceiveMigrationData; done at the end. */
void vmm_receive_migration(struct vmm *, struct vmm_request *);

/* At once, without vmm_submit() and without done(): fills the answer. */
void vmm_info(struct vmm *, struct vmm_request *); /* out: VmInfo */
void vmm_migration_progress(struct vmm *, struct vmm_request *); /* out: MigrationProgress */
/* The last one, if there was one: as counters_add(). */
int vmm_count_migration(struct vmm *, struct counter_readings *);
/* What a balancer wants to know; what the guest writes is found out for the next time. */
int vmm_count_signals(struct vmm *, struct counter_readings *);
void vmm_cancel_migration(struct vmm *, struct vmm_request *);
void vmm_resolve_migration(struct vmm *, struct vmm_request *); /* in: {run} */
/* in: those of SendMigrationData that are goals */
void vmm_set_migration_parameters(struct vmm *, struct vmm_request *);
void vmm_refuse_none(struct vmm_request *); /* no VM was created */

struct machine *vmm_machine(struct vmm *); /* NULL: not booted */
const struct config *vmm_config(struct vmm *); /* NULL: no VM */

#endif
