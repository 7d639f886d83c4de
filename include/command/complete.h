/* SPDX-License-Identifier: Apache-2.0 */
/* A word that shells want to complete, for whoever knows what may stand there. */
#ifndef COMPLETE_H
#define COMPLETE_H

#include <stddef.h>

struct program;

struct completion {
	const struct program *program;
	const char *word;
	size_t kept; /* of the word: what stays before each candidate, such as "--disk=" */
	const char *operand; /* the first one before the word; NULL: there is none */
};

/* A candidate for what is behind kept; printed if it goes on from what is typed. */
void complete_offer(const struct completion *, const char *text);

#endif
