/* SPDX-License-Identifier: Apache-2.0 */
/* One side of a live migration, for the files that it consists of. */
#ifndef MIGRATION_INTERNAL_H
#define MIGRATION_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "channel.h"
#include "handover.h"
#include "handover_disks.h"
#include "migration.h"
#include "ram_send.h"
#include "tls.h"

enum {
	MIGRATION_ROUNDS_KEPT = 64,
	MIGRATION_STEPS_KEPT = 32,
	MIGRATION_VCPUS_TOLD = 255,
	MIGRATION_HELLO_MS = 5000, /* for the first words of a connection */
	MIGRATION_RECONNECT_S = 30,
};

/* In the order in which they come; those of the destination are the same. */
enum migration_phase {
	PHASE_CONNECT, /* and agree */
	PHASE_COPY, /* the guest runs */
	PHASE_OFFER, /* it still does */
	PHASE_STOP, /* the guest stands still: last pages, states of devices */
	PHASE_HAND_OVER,
	PHASE_OVER,
	MIGRATION_PHASES,
};

/* From when on the vCPUs were slowed down by how much. */
struct migration_step {
	uint64_t at_ns;
	unsigned percent;
};

struct migration {
	struct migration_control control;
	bool incoming, paused; /* as migration_config has it */
	char *vm_config;
	struct tls_credentials *tls; /* NULL: in the clear */
	struct vm *vm; /* a destination's: once it is built */
	unsigned streams;
	char url[MIGRATION_URL_MAX];
	char uuid[37];
	pthread_t thread;
	int cancel_fd;
	int listen_fd; /* -1: a source */
	struct acceptor *acceptor; /* NULL: a source */
	struct channel talk, data[MIGRATION_STREAMS_MAX];
	unsigned ndata;
	struct handover_disks disks; /* its journal is opened by the thread */
	struct ram_sender *ram; /* the source's, from PHASE_COPY on */

	pthread_mutex_t lock; /* of all below; the thread writes, main reads, but for goals */
	struct migration_goals goals;
	char session[37]; /* constant once it is known */
	char peer[TLS_IDENTITY_MAX], peer_identity[TLS_IDENTITY_MAX]; /* "": not known */
	enum migration_phase phase;
	uint64_t began_ns[MIGRATION_PHASES]; /* CLOCK_MONOTONIC; 0: not yet */
	uint64_t began_wall_ms; /* since 1970 */
	unsigned nrounds; /* all of them; the last ones are kept */
	struct ram_round round[MIGRATION_ROUNDS_KEPT];
	struct ram_round last; /* with the guest stopped */
	unsigned nsteps; /* as nrounds */
	struct migration_step step[MIGRATION_STEPS_KEPT];
	struct ram_progress counted; /* in the end, when ram is gone */
	uint64_t memory_bytes; /* of the VM */
	uint64_t rate; /* bytes a second, of the fastest round */
	uint64_t written_per_s; /* pages, of the last round */
	uint64_t blackout_ns; /* predicted, then measured */
	unsigned reconnects;
	/* Main's: how long each vCPU was held back before this migration, and by now. */
	unsigned nvcpus;
	uint64_t throttled_before_ns[MIGRATION_VCPUS_TOLD], throttled_ns[MIGRATION_VCPUS_TOLD];
	bool past_token; /* it cannot be called off any more */
	struct handover_source *hand; /* the source's, while its thread is at work */
	enum migration_end end;
	struct err why;
};

/* In percent; for the thread, or with the lock. */
static inline unsigned migration_throttle(const struct migration *m)
{
	return m->nsteps ? m->step[(m->nsteps - 1) % MIGRATION_STEPS_KEPT].percent : 0;
}

void migration_enter(struct migration *, enum migration_phase);
void migration_know_peer(struct migration *, const char *peer, const char *identity);
void migration_close(struct migration *); /* all connections */
/* What a hand-over touches here, for the VM and session that are known by now. */
int migration_open_journal(struct migration *, struct handover *, enum journal_role, struct err *);

/* What a thread does; 0: it moved. */
int migration_source(struct migration *, struct err *);
int migration_destination(struct migration *, struct err *);
void migration_answer(struct migration *); /* until it is cancelled */

#endif
