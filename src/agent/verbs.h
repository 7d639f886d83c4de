/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of godwit-agent (command/verb.h) and what they share. */
#ifndef VERBS_H
#define VERBS_H

#include "command/verb.h"

int explain_run(const struct verb *, const struct verb_args *);
int plan_run(const struct verb *, const struct verb_args *);
int run_run(const struct verb *, const struct verb_args *);

#endif
