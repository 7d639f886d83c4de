/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of the command and what they share. */
#ifndef CLI_H
#define CLI_H

#include "caller.h"
#include "command/complete.h"
#include "command/verb.h"
#include "config.h"
#include "err.h"
#include "log.h"
#include "cgroup_home.h"
#include "option.h"
#include "sandbox.h"

extern const struct program godwit;

/* For a word of a verb or option. */
void offer_devices(const struct completion *);
void offer_vms(const struct completion *);

/* argv[0] is the path of the program. */
int cloud_hypervisor_main(int argc, char **argv);
/* argv[0] is the verb, or the command if that was left out. */
int run_main(const struct verb *, int argc, char **argv);
int restore_main(const struct verb *, int argc, char **argv);

int add_run(const struct verb *, const struct verb_args *); /* add-disk, add-net */
int cancel_run(const struct verb *, const struct verb_args *);
int console_run(const struct verb *, const struct verb_args *);
int control_run(const struct verb *, const struct verb_args *); /* pause, resume, reset, nmi */
int dump_run(const struct verb *, const struct verb_args *);
int events_run(const struct verb *, const struct verb_args *);
int info_run(const struct verb *, const struct verb_args *);
int limit_run(const struct verb *, const struct verb_args *);
int list_run(const struct verb *, const struct verb_args *);
int migrate_run(const struct verb *, const struct verb_args *);
int migration_run(const struct verb *, const struct verb_args *);
int probe_run(const struct verb *, const struct verb_args *);
int reboot_run(const struct verb *, const struct verb_args *);
int remove_run(const struct verb *, const struct verb_args *);
int resize_run(const struct verb *, const struct verb_args *);
int resize_disk_run(const struct verb *, const struct verb_args *);
int resize_run(const struct verb *, const struct verb_args *);
int resolve_run(const struct verb *, const struct verb_args *);
int shutdown_run(const struct verb *, const struct verb_args *);
int snapshot_run(const struct verb *, const struct verb_args *);
int stats_run(const struct verb *, const struct verb_args *);
int top_run(const struct verb *, const struct verb_args *);

struct client;

/* Asks each VM that is named in turn; what one refuses does not keep the others from being asked.
 * Returns the exit status. */
int control_each(const struct verb_args *,
		 int (*ask)(struct client *, const void *arg, struct err *), const void *arg);

/* Given as PATH, path=PATH or fd=N. */
struct place {
	const char *path; /* NULL: it is an fd */
	int fd; /* -1: it is a path, or not given */
};

/*
 * "godwit run": the command line merged over the file of --config.  "godwit restore" knows those
 * of its options that say what is local to a host.
 */
struct run_options {
	json_t *json; /* for config_load(), config_relocate() */
	const char *dir; /* restore: of the snapshot */
	bool resume; /* restore */
	struct place api_socket, event_monitor;
	struct caller_group api_group;
	char *metrics_path; /* NULL: none; freed with the rest */
	struct caller_group metrics_group;
	const char *audit; /* a file, or "journal"; NULL: no log */
	const char *incoming; /* where a VM is to come from; NULL: it boots */
	const char *tls_dir; /* for that */
	bool plaintext; /* without it */
	enum log_level log_level;
	enum sandbox_mode sandbox;
	struct user user;
	struct cgroup_limits cgroup; /* its strings are the next's */
	json_t *cgroup_json; /* NULL: not given */
	bool dry_run, help;
	bool signal_ends; /* the VM and the process, without asking the guest */
};

int run_options_parse(struct run_options *, int argc, char **argv, struct err *);
int restore_options_parse(struct run_options *, int argc, char **argv, struct err *);
void run_options_free(struct run_options *);
void run_options_each(void (*each)(void *arg, const struct verb_option *,
				   const struct option_table *),
		      void *arg);
void restore_options_each(void (*each)(void *arg, const struct verb_option *,
				       const struct option_table *),
			  void *arg);

bool place_is_given(const struct place *);
/* From the text of the option of that name. */
int place_take(struct place *, const char *name, const char *text, struct err *);
int sandbox_take(enum sandbox_mode *, const char *name, const char *const words[3],
		 const char *text, struct err *);

extern const struct option_table cgroup_options;
int cgroup_take(struct run_options *, const char *name, const char *text, struct err *);

/* What a monitor begins with. */
enum lifecycle_begin {
	LIFECYCLE_BOOT, /* options->json is its VM */
	LIFECYCLE_RECEIVE, /* options->json is a request for vm.receive-migration */
	LIFECYCLE_RESTORE, /* options->json is a request for vm.restore */
	LIFECYCLE_WAIT, /* nothing: someone creates a VM by the API */
};

/* Be a monitor until it is over; returns the exit status. */
int lifecycle_run(const struct run_options *, enum lifecycle_begin);

#endif
