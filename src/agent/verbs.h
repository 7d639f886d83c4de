/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of godwit-agent (command/verb.h) and what they share. */
#ifndef VERBS_H
#define VERBS_H

#include "command/verb.h"

int apply_run(const struct verb *, const struct verb_args *);
int drain_run(const struct verb *, const struct verb_args *);
int events_run(const struct verb *, const struct verb_args *);
int explain_run(const struct verb *, const struct verb_args *);
int maintenance_run(const struct verb *, const struct verb_args *);
int mode_run(const struct verb *, const struct verb_args *);
int move_run(const struct verb *, const struct verb_args *);
int name_run(const struct verb *, const struct verb_args *); /* delete, start, stop */
int plan_run(const struct verb *, const struct verb_args *);
int policy_run(const struct verb *, const struct verb_args *);
int run_run(const struct verb *, const struct verb_args *);
int status_run(const struct verb *, const struct verb_args *);
int top_run(const struct verb *, const struct verb_args *);

/* Every value of the policy, as a key. */
void policy_keys(void (*each)(void *arg, const struct option_key *), void *arg);

/* For a word of a verb or option. */
void offer_edits(const struct completion *);
void offer_hosts(const struct completion *);
void offer_vms(const struct completion *);

#endif
