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
#include "vm.h"

enum {
	MIGRATION_ROUNDS_KEPT = 64,
	MIGRATION_STEPS_KEPT = 32,
	MIGRATION_VCPUS_TOLD = 255,
	MIGRATION_HELLO_MS = 5000, /* for the first words of a connection */
	MIGRATION_SILENCE_MS = 10000,
	MIGRATION_BUILD_MS = 60000, /* for the other side to build the VM */
	MIGRATION_RECONNECT_S = 30,
};

/* In the order in which they come; a side leaves out what is the other's. */
enum migration_phase {
	PHASE_CONNECT, /* of a destination: until somebody comes */
	PHASE_HELLO, /* they agree, and the destination builds the VM */
	PHASE_COPY, /* the guest runs; the first pass, and all that a destination receives */
	PHASE_ROUNDS, /* the source's, until it offers */
	PHASE_OFFER, /* more rounds */
	PHASE_STOP, /* the vCPUs stop; of a destination: it loads */
	PHASE_LAST_PAGES,
	PHASE_DEVICES,
	PHASE_SEAL, /* disks are flushed, the destination has loaded all */
	PHASE_HAND_OVER, /* token and answer; of a destination: waits for it */
	PHASE_TAKE_DISKS,
	PHASE_ACCEPT, /* the commit point, and what has to be written */
	PHASE_RUN,
	PHASE_END, /* after a move: connections are closed, and the like */
	PHASE_OVER,
	MIGRATION_PHASES,
};

/* From when on the vCPUs were slowed down by how much. */
struct migration_step {
	uint64_t at_ns;
	unsigned percent;
};

struct migration_round {
	struct ram_round sent;
	uint64_t written_per_s; /* pages, while it went over */
	unsigned percent; /* that the vCPUs were slowed down by meanwhile */
};

struct migration {
	struct migration_control control;
	bool incoming, paused; /* as migration_config has it */
	char *vm_hello;
	struct tls_credentials *tls; /* NULL: in the clear */
	struct vm *vm; /* a destination's: once it is built */
	char url[MIGRATION_URL_MAX];
	char uuid[37];
	pthread_t thread;
	bool runs; /* main's: the thread is to be joined */
	int cancel_fd;
	int done_fd; /* the thread has nothing more to do */
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
	uint64_t began_wall_us, ended_wall_us; /* since 1970; 0: not yet */
	unsigned nrounds; /* all of them; the last ones are kept */
	struct migration_round round[MIGRATION_ROUNDS_KEPT];
	struct ram_round last; /* with the guest stopped */
	unsigned nsteps; /* as nrounds */
	struct migration_step step[MIGRATION_STEPS_KEPT];
	struct ram_progress counted; /* in the end, when ram is gone */
	uint64_t memory_bytes; /* of the VM */
	uint64_t rate; /* bytes a second, of the fastest round */
	uint64_t blackout_ns; /* predicted, then measured */
	unsigned reconnects;
	/* What main has seen: how long each vCPU was held back before this migration, and by now;
	 * of a destination, how its guest goes on. */
	unsigned nvcpus;
	uint64_t throttled_before_ns[MIGRATION_VCPUS_TOLD], throttled_ns[MIGRATION_VCPUS_TOLD];
	struct vm_arrival arrival;
	bool record_is_whole; /* the thread's */
	bool past_token; /* it cannot be called off any more */
	struct handover_source *hand; /* the source's, while its thread is at work */
	bool left; /* it ended before it could write who has the VM */
	enum migration_end end;
	struct err why;
};

/* Where the last one is; before the first, an empty one. */
static inline unsigned migration_last_round(const struct migration *m)
{
	return (m->nrounds - 1) % MIGRATION_ROUNDS_KEPT;
}

/* In percent; for the thread, or with the lock. */
static inline unsigned migration_throttle(const struct migration *m)
{
	return m->nsteps ? m->step[(m->nsteps - 1) % MIGRATION_STEPS_KEPT].percent : 0;
}

void migration_enter(struct migration *, enum migration_phase);
void migration_enter_at(struct migration *, enum migration_phase, uint64_t at_ns);
uint64_t migration_wall_us(void); /* since 1970 */
/* Its name in a record; NULL: this side has no such phase. */
const char *migration_phase_name(const struct migration *, enum migration_phase);
/* With the lock: how long it took so far; 0: it has not begun. */
uint64_t migration_phase_ns(const struct migration *, enum migration_phase);
void migration_know_peer(struct migration *, const char *peer, const char *identity);
void migration_close(struct migration *); /* all connections */
/* dir NULL: none. */
int migration_read_credentials(struct tls_credentials **, const char *dir, enum tls_side,
			       struct err *);
/* A source's; host: whom a certificate must name. */
int migration_connect(struct channel *, const char *url, const struct tls_credentials *,
		      const char *host, struct err *);
/* What a hand-over touches here, for the VM and session that are known by now. */
int migration_open_journal(struct migration *, struct handover *, enum journal_role, struct err *);

/* What a thread does; 0: it moved. */
int migration_source(struct migration *, struct err *);
int migration_destination(struct migration *, struct err *);
void migration_answer(struct migration *); /* until it is cancelled */

/* migration_record.c, on the migration's thread: write what is known into the history. */
void migration_record(struct migration *);
/* Of a guest that came: all that it does for the first time here is in its record, or it had long
 * enough for that. */
bool migration_record_is_whole(struct migration *);

#endif
