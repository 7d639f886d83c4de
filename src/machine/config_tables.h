/* SPDX-License-Identifier: Apache-2.0 */
/* Options of those sections that are not devices, and the struct behind one of them. */
#ifndef CONFIG_TABLES_H
#define CONFIG_TABLES_H

#include "option.h"

enum { CONFIG_NAME_MAX = 64 };

struct config_platform {
	const char *uuid;
};

extern const struct option_table config_payload_options;
extern const struct option_table config_cpus_options;
extern const struct option_table config_memory_options;
extern const struct option_table config_platform_options;

#endif
