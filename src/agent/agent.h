/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit-agent: what one host knows, and the lock around it.
 *
 * Threads: main runs the loop, whose callbacks have the lock; "look" (look.h) asks the VMs and the
 * host how they are, "local" (local.h) does what can be done for them here, and "rounds" (rounds.h)
 * plans; each connection with another agent has one
 * (peers.h), and so does whatever takes its time, such as a move (task.h).  They take the lock to
 * read or change what is here, for as short as that takes, and never while they wait for a VM, a
 * peer or a file that is not their own.
 *
 * What is kept over a restart is in files (store.h).  VMs are processes of their own and go on
 * when the agent ends; they are found again by their sockets.
 */
#ifndef AGENT_H
#define AGENT_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "event_watchers.h"
#include "ledger.h"
#include "list.h"
#include "loop.h"
#include "settings.h"
#include "signals.h"

enum { AGENT_ID_MAX = 64, AGENT_PATH_MAX = 4096 };

/* What "godwit-agent run" was told; constant. */
struct agent_options {
	char id[AGENT_ID_MAX + 1]; /* of this host */
	char monitor[AGENT_PATH_MAX]; /* the program godwit */
	char address[256]; /* of this host, for VMs that come; "": none do */
	const char *listen; /* "tcp:HOST:PORT" for other agents; NULL: none */
	const char *peers; /* "HOST:PORT,..." */
	const char *tls; /* folder of certificates (tls.h) */
	double cores; /* that VMs may have; 0: all */
	uint64_t memory, reserve; /* bytes; memory 0: all */
	double link; /* bytes per second */
};

/* A VM of this host, from when its process is found until it is gone. */
struct agent_vm {
	struct list node;
	char name[65], uuid[37];
	char state[20]; /* as vm.info says it; "": not yet */
	pid_t pid;
	struct watch died; /* a pidfd */
	struct agent *agent;
	uint64_t found_at, at; /* seconds since 1970: of the process, and of its last answer */
	bool seen; /* by the look under way */
	uint64_t vcpus, memory, resident; /* memory: what it has now; bytes */
	uint64_t most; /* bytes that it may have without being asked anything */
	double dirty_rate; /* bytes per second */
	uint64_t write_set, to_send; /* bytes; to_send: a move sends them, 0: not known yet */
	struct signals signals;
	json_t *config; /* of vm.info; NULL: not yet */
};

/* What was read of the host at one time (host_view.h); counts since it began. */
struct host_reading {
	uint64_t now_ns;
	double cores; /* online */
	uint64_t busy_ticks, all_ticks; /* of all cores; all 0: not known */
	uint64_t memory, available, swap; /* bytes; swap: that is free */
	double psi_cpu, psi_mem, psi_io; /* shares of the last ten seconds; 0: not known */
};

/* What VMs may have of the host, and what is left of it. */
struct agent_host {
	uint64_t at; /* seconds since 1970; 0: not known yet */
	double cores;
	uint64_t memory, available; /* bytes */
	struct windows use; /* share of cores that was busy */
	double psi_cpu, psi_mem, psi_io;
	struct host_reading last;
	uint64_t window_ns; /* CLOCK_MONOTONIC of the window's begin */
	double use_now; /* between the last two looks, share of cores */
	double use_ns; /* busy time in the window, as a share of all cores */
};

struct days;
struct lessons;
struct local;
struct peers;
struct processes;
struct pulse;
struct specs;

struct agent {
	pthread_mutex_t lock;
	struct loop *loop;
	const struct agent_options *options;
	struct events *events;
	int store; /* directory (store.h) */
	struct settings settings;
	struct agent_host host;
	struct list vms; /* struct agent_vm */
	struct peers *peers; /* peers.h */
	struct processes *processes;
	struct specs *specs;
	struct ledger ledger;
	struct list flights; /* struct flight_entry (moves.h): VMs that leave */
	struct {
		uint64_t begun, moved, failed, refused; /* since the agent began; all but
							 * the first are over */
		double last_s, last_blackout_s; /* of the last that moved */
	} moves;
	struct list orders; /* struct order (orders.h): moves that persons wait for */
	struct list arrivals; /* struct arrival (arrivals.h): VMs that come */
	json_t *past; /* past.h */
	struct days *days;
	struct lessons *lessons;
	json_t *plan; /* the last one that was made here, as JSON; NULL: none */
	struct local *local;
	struct pulse *look, *local_pulse, *rounds;
	struct {
		unsigned n; /* that run */
		pthread_cond_t over;
		int end_fd; /* an eventfd, readable when the agent ends */
	} tasks;
	struct {
		struct event_watchers events;
		struct list watchers;
	} routes;
};

/* All but the sockets and the threads that look and plan (run.c); to be closed in any case, when
 * the loop and all threads have ended. */
int agent_open(struct agent *, const struct agent_options *, struct err *);
void agent_close(struct agent *);

uint64_t agent_now(void); /* seconds since 1970 */

/* The VM of that name on this host, or NULL. */
struct agent_vm *agent_vm(const struct agent *, const char *name);

/* Settings changed, here or at another agent: all hear it, and what goes by them begins anew. */
void agent_settings_changed(struct agent *);

/*
 * What the agent does, decides or will not do: an event (source "agent") and a line of the log.
 * about: a VM or a host; why: a sentence.
 */
void agent_say(struct agent *, const char *event, const char *about, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
