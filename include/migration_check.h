/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a VM could move, and how that would go, before anything of it does: what the other side
 * says, what the connection carries, and what the guest writes.  The guest is neither stopped nor
 * logged, only a few of its pages are read, twice.  A thread, "_check", does it.
 */
#ifndef MIGRATION_CHECK_H
#define MIGRATION_CHECK_H

#include "migration.h"

struct migration_check;

struct migration_check_config {
	const char *url; /* all strings are copied */
	const char *tls_dir, *vm_hello; /* as in migration_config */
	json_t *blockers; /* that are known already; its reference is taken over */
	struct vm *vm; /* stays until free */
	struct migration_goals goals;
	void (*done)(void *arg); /* called on the thread, last */
	void *arg;
};

int migration_check_new(struct migration_check **, const struct migration_check_config *,
			struct err *);
/* After done(): the API's MigrationCheck, a new reference; NULL: the other side does not answer. */
json_t *migration_check_result(struct migration_check *, struct err *);
/* Bytes a second that the connection was found to carry; 0: it was not measured. */
uint64_t migration_check_rate(const struct migration_check *);
void migration_check_free(struct migration_check *); /* calls it off.  NULL is fine */

#endif
