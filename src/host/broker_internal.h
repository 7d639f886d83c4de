/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's own process. */
#ifndef BROKER_INTERNAL_H
#define BROKER_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <sys/types.h>

#include "broker.h"

struct seccomp_notif;

enum { BROKER_QUICK, BROKER_SLOW, BROKER_CHANNELS }; /* services */

/* What the monitor has under that number, and its calls may refer to: a directory or another place,
 * or a socket that has no address yet. */
struct broker_seen {
	int fd; /* -1: nothing of that kind */
	char *path; /* of a place */
};

struct broker {
	struct broker_config config;
	pid_t monitor;
	pthread_mutex_t ending;
	int channel[BROKER_CHANNELS], listener;
	int memory, pagemap; /* the monitor's, opened when it could be */
	char cwd[PATH_MAX], rundir[PATH_MAX], statedir[PATH_MAX];
	char own[NAME_MAX + 1]; /* the monitor's in the rundir; "": not known yet */
	struct broker_seen *seen;
	unsigned nseen, nrefused;
};

int broker_main(struct broker *); /* until the monitor is over; an exit status */

/* One message, with fds; -errno, -EPIPE: the other end is closed. */
int broker_send(int channel, const json_t *, const int *fd, unsigned nfds);
int broker_receive(int channel, json_t **, int fd[BROKER_FDS], unsigned *nfds);

/* broker_paths.c: a place that the monitor names. */
struct broker_place {
	int parent; /* or of the place itself: where name is "" */
	char name[NAME_MAX + 1];
	char path[PATH_MAX]; /* for the next that begins there */
	bool beneath; /* links lead nowhere */
	bool is_kernels; /* a file of the kernel's that the monitor may have */
};

/* dir: the monitor's number, or AT_FDCWD.  -EACCES: not for the monitor. */
int broker_find(struct broker *, int dir, const char *path, bool write, struct broker_place *);
void broker_place_free(struct broker_place *);
struct broker_seen *broker_see(struct broker *, int number); /* anew; NULL: out of memory */
struct broker_seen *broker_seen(const struct broker *, int number); /* NULL: none */
void broker_forget(struct broker *, int number);

void broker_removed(struct broker *, const char *path); /* the next of its name may be another */
bool broker_is_own(struct broker *, const char *path); /* below its run directory, or that */
bool broker_may_name(void); /* whether they may */
void broker_learn(const json_t *named); /* for broker_knows() */

/* broker_calls.c: files are the user's of --user, from now on until the call is done. */
void broker_be_user(const struct broker *);
/* does what is asked and answers. */
void broker_serve_call(struct broker *, const struct seccomp_notif *);

#endif
