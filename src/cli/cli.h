/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of the command and what they share. */
#ifndef CLI_H
#define CLI_H

#include "config.h"
#include "err.h"

/* Exit status: the guest powered off; the host or the guest failed; the command is wrong. */
enum { CLI_OK, CLI_FAILED, CLI_USAGE };

/* argv[0] is the verb. */
int run_main(int argc, char **argv);
int console_main(int argc, char **argv);
int probe_main(int argc, char **argv);

/* "godwit run": the command line merged over the file of --config. */
struct run_options {
	json_t *json; /* for config_load() */
	bool dry_run, help;
};

int run_options_parse(struct run_options *, int argc, char **argv, struct err *);
void run_options_free(struct run_options *);
void run_options_help(void);

/* Build the VM and keep it until it is over; returns the exit status. */
int lifecycle_run(const struct config *);

/* The directory of a running VM (rundir.h): holds its name for one process and user. */
struct vmdir {
	char name[65];
	char path[32]; /* to it, by way of fd: short enough for the address of a socket */
	int parent_fd, fd;
};

int vmdir_new(struct vmdir *, const char *name, struct err *);
void vmdir_free(struct vmdir *); /* removes it and what is in it */

#endif
