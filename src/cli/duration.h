/* SPDX-License-Identifier: Apache-2.0 */
/* Times as options give them. */
#ifndef DURATION_H
#define DURATION_H

#include <jansson.h>

#include "err.h"

/* "50ms", "60s", "2m", "1h" in milliseconds; option is what it was given for.  -EINVAL. */
int duration_ms(const char *option, const char *text, json_int_t *ms, struct err *);

#endif
