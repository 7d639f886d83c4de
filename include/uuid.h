/* SPDX-License-Identifier: Apache-2.0 */
/* Random identities (RFC 9562, 5.4). */
#ifndef UUID_H
#define UUID_H

#include <stdbool.h>

#include "err.h"

int uuid_new(char uuid[37], struct err *);
bool uuid_is(const char *); /* in small letters */

#endif
