/* SPDX-License-Identifier: Apache-2.0 */
/* What a program says of itself on a terminal, from the data of its verbs (verb.h). */
#ifndef HELP_H
#define HELP_H

#include <stdio.h>

#include "verb.h"

void help_verb(const struct program *, const struct verb *);
void help_program(const struct program *, FILE *);

#endif
