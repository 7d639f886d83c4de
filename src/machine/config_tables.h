/* SPDX-License-Identifier: Apache-2.0 */
/* Options of those sections that are not devices, and the struct behind one of them. */
#ifndef CONFIG_TABLES_H
#define CONFIG_TABLES_H

#include "config.h"

enum {
	CONFIG_NAME_MAX = 64,
	CONFIG_MANY_MAX = 64, /* of a section: more than PCI has slots and a guest nodes */
};

struct config_platform {
	const char *uuid;
};

extern const struct option_table config_payload_options;
extern const struct option_table config_cpus_options;
extern const struct option_table config_memory_options;
extern const struct option_table config_numa_options; /* of one node */
extern const struct option_table config_platform_options;

/* Load one object into base by way of its complete form, which *complete then owns: strings in
 * base point into it. */
int config_load_object(const struct option_table *, const char *what, const json_t *in, void *base,
		       json_t **complete, struct err *);

/* config_devices.c */
int config_check_device(const struct config_section *, const char *what, const json_t *in,
			json_t **complete, struct err *);
int config_check_many(const struct config_section *, size_t n, struct err *);
/* Give what needs one an id and an address. */
int config_finish_devices(struct config *, const struct config_section *, struct err *);

/* config_numa.c */
/* Of its JSON, where memory is written that was left open. */
int config_take_numa(struct config *, struct err *);

/* wanted: bytes, unless the host need not have them. */
int config_check_host_memory(const struct config_memory *, uint64_t wanted, struct err *);
int config_check_balloon(struct config *, struct err *);

/* config_files.c */
/* Are these n > 0 open files what a card may be plugged into?  Then *card is in without what they
 * leave open: a new reference. */
int config_files_check(const json_t *in, const int *fd, unsigned n, json_t **card, struct err *);
/* The card's until one of the latter two closes them. */
int config_files_take(struct config *, const char *id, const int *fd, unsigned n, struct err *);
void config_files_drop(struct config *, const char *id); /* if there are any */
void config_files_free(struct config *); /* all */

#endif
