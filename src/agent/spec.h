/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person wants of one VM, as JSON:
 *
 *	{"name": "web", "vm": {...}, "restart": "on-failure", "state": "running", "weight": 1,
 *	 "pinned": false, "together": [], "apart": [], "borrow_cores": false, "memory_min": "512M"}
 *
 * vm is a configuration as vm.create takes it.  Nothing here knows of an agent.
 */
#ifndef SPEC_H
#define SPEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "restart.h"

enum { SPEC_BYTES_MAX = 60000, SPEC_NAME_MAX = 64 };

struct spec_values {
	const char *name, *uuid; /* of the JSON; uuid NULL: it says none */
	enum restart restart;
	bool runs; /* "state" */
	double borrows; /* cores idle ones may be lent on top of, its own limit; 0: none are */
	bool roams; /* onto idle CPUs that its affinity does not name */
	double weight; /* of its processors; 0: it says none */
	uint64_t memory_min; /* what it keeps when the host is short; 0: all it has */
};

/* -EINVAL: one sentence says what is wrong with it.  NULL is no name. */
int spec_check_name(const char *, struct err *);
int spec_read(const json_t *, struct spec_values *, struct err *);
/* vm.platform.uuid, which later starts and other hosts know the VM by. */
int spec_set_uuid(json_t *, const char *uuid, struct err *);
/* What its monitor is given: vm by the spec's name.  A new reference; NULL: out of memory. */
json_t *spec_config(const json_t *);
/* Keys of the planner's record of the VM. */
void spec_add_to_record(const json_t *, json_t *record);

#endif
