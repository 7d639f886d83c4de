/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live migration of one VM over TCP: its memory is copied while it runs, again and again what
 * changed meanwhile; then it stops, and the hand-over of docs/handover.md makes sure that it goes
 * on in one place only.  Each side has a thread, "_migrate" or "_receive", that goes through this
 * from top to bottom.  What touches the VM is asked of the control layer, which does it on main.
 *
 * Everything but the callbacks: on main.
 */
#ifndef MIGRATION_H
#define MIGRATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "err.h"
#include "state_codec.h"

enum { MIGRATION_URL_MAX = 300, MIGRATION_STREAMS_MAX = 16 };

struct migration;
struct vm;

/* What compresses pages on their way. */
enum migration_compress {
	MIGRATION_COMPRESS_AUTO, /* whatever brings them over soonest */
	MIGRATION_COMPRESS_NONE,
	MIGRATION_COMPRESS_LZ4,
	MIGRATION_COMPRESS_ZSTD,
};

/* What is wanted; the means are the migration's.  May change at any time. */
struct migration_goals {
	uint32_t blackout_ms; /* at most, in which the guest stands still */
	uint32_t deadline_s; /* at most, in all */
	uint64_t bandwidth; /* bytes a second; 0: all there is */
	unsigned streams; /* connections for memory; 0: as many as are good */
	enum migration_compress compress;
	bool late; /* at the deadline: go on with whatever blackout it takes; else give up */
};

enum migration_end {
	MIGRATION_MOVED, /* the source: it runs there; the destination: it runs here */
	MIGRATION_FAILED, /* the source: the guest goes on here; the destination: it never ran */
	MIGRATION_CANCELLED, /* the same */
};

enum migration_hint { MIGRATION_HINT_CAN, MIGRATION_HINT_ON, MIGRATION_HINT_OFF };

/* What a destination has for a VM that comes.  References are the receiver's. */
struct migration_place {
	struct vm *vm; /* built, and waits; NULL: it is not */
	json_t *versions; /* devices_versions() */
	json_t *blockers; /* sentences why not; NULL: it was not looked at */
};

/*
 * Called on the migration's thread, each returns when it is done; but for over() they may block.
 * -ESHUTDOWN: the VM has ended meanwhile.
 */
struct migration_control {
	/* The source.  Before guest memory is logged, and when it is no more and the VM still here:
	 * meanwhile nobody writes to it but vCPUs and the monitor. */
	int (*log)(void *arg, bool on, struct err *);
	/* Nothing of the VM moves any more; from then on its devices are saved for a
	 * reader that knows these versions.  go_on(): as before stop(). */
	int (*stop)(void *arg, const json_t *versions, struct err *);
	int (*saved)(void *arg, struct state_buf *, struct err *);
	void (*go_on)(void *arg);
	/* vcpu_throttle(), if the VM is still there. */
	void (*throttle)(void *arg, unsigned percent);
	/* Whether its guest can say which pages it need not keep; it does from then on, or no more
	 * (ram_send.h).  NULL: it cannot. */
	bool (*hint)(void *arg, enum migration_hint);
	/* The destination.  hello: what the source says, taken over.  Its VM is built and waits;
	 * or, with stays false, it only could be.  -ENOTSUP: there are blockers. */
	int (*build)(void *arg, json_t *hello, bool stays, struct migration_place *, struct err *);
	/* Its devices are loaded; then it runs, unless it came paused. */
	int (*load)(void *arg, const struct state_buf *, struct err *);
	void (*run)(void *arg, bool paused);
	/* Either: migration_look(), if the VM is still there. */
	void (*look)(void *arg);
	/* Last, once; why is a sentence, NULL if it moved. */
	void (*over)(void *arg, enum migration_end, const char *why);
	void *arg;
};

struct migration_config {
	struct migration_control control;
	const char *url; /* where to, or where to listen; copied, as are all strings */
	const char *tls_dir; /* certificates; NULL: none, in the clear */
	bool in_the_clear; /* the destination may listen on more than loopback without them */
	/* The source. */
	struct vm *vm;
	const char *vm_hello; /* JSON: what the destination hears of it (migration-format.md) */
	const char *uuid;
	bool paused; /* the VM is, and stays so */
	struct migration_goals goals;
};

int migration_send(struct migration **, const struct migration_config *, struct err *);
/* Listens when it returns; migration_url() says where. */
int migration_receive(struct migration **, const struct migration_config *, struct err *);

/* All of them in one sentence: -ENOTSUP. */
int migration_refuse(const json_t *blockers, struct err *);

/* The VM that came here is moved on: its source is answered as before, while another process of
 * this host may receive it. */
void migration_move_on(struct migration *);

const char *migration_url(const struct migration *);
void migration_set_goals(struct migration *, const struct migration_goals *);
/* If it still can be: over() tells.  Twice is fine. */
void migration_cancel(struct migration *);
/* While its VM is there: look what its vCPUs have lost so far, or how it goes on here. */
void migration_look(struct migration *, struct vm *);
bool migration_is_incoming(const struct migration *);
/* Its thread has ended it, and over() is under way. */
bool migration_is_over(struct migration *);
/* A source that has begun to hand over: it cannot be called off, and the VM may run there. */
bool migration_is_past_token(struct migration *);
/* Of these, one whose other side neither has the VM for certain nor can be asked. */
bool migration_is_undecided(struct migration *);
/* A person says where it runs; what comes of it, over() or nothing, is seen later.  -EALREADY: that
 * is known. */
int migration_resolve(struct migration *, bool run, struct err *);
/* What it does, or how it ended: the API's MigrationProgress (docs/api.md), a new reference. */
json_t *migration_progress(struct migration *);
/* Bytes a second that the source has sent in its fastest round; 0: nobody knows. */
uint64_t migration_rate(struct migration *);
/* The same as numbers: one more reading, "_migration".  -ENOMEM. */
int migration_count(struct migration *, struct counter_readings *);
extern const struct counter_table migration_counter_table;
/*
 * The process is to end: calls it off if that can be, and waits for its thread.  -EINPROGRESS with
 * a sentence: it cannot be settled any more; what is written stays, and the guest must not run
 * here.  Not from over(); again is fine.
 */
int migration_leave(struct migration *, struct err *);
/* False: its thread hangs in the kernel, and neither it nor its VM may be freed.  NULL is fine. */
bool migration_free(struct migration *);

#endif
