/* SPDX-License-Identifier: Apache-2.0 */
/* The manual pages of section 1, from the data of the verbs (verb.h), in roff (groff_man(7)). */
#ifndef MAN_H
#define MAN_H

#include "command/verb.h"
#include "err.h"

/* PROGRAM.1 and a PROGRAM-VERB.1 for each verb that people are shown, in that folder, which is
 * made; -errno. */
int man_write(const struct program *, const char *folder, struct err *);

#endif
