/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between agents: one JSON object on one line of a channel.  Who sends is not trusted:
 * what is too long, nested too deeply, not UTF-8, or anything but one object ends the connection.
 */
#ifndef WIRE_H
#define WIRE_H

#include <jansson.h>
#include <stddef.h>

#include "channel.h"

enum { WIRE_BYTES_MAX = 1 << 20, WIRE_DEPTH_MAX = 16 };

struct wire {
	struct channel ch;
	char *text; /* what was read and is no message yet */
	size_t len, room, seen; /* seen: of it no line feed */
};

/*
 * limit_ms: for all of a message, and at most so long; 0: for ever.  -ENOTCONN: the other side is
 * gone or took too long.  -EPROTO: it sends no messages; -EMSGSIZE: one that is too long.
 */
int wire_write(struct wire *, const json_t *, unsigned limit_ms, struct err *);
int wire_read(struct wire *, unsigned limit_ms, json_t **, struct err *);
void wire_close(struct wire *); /* and its channel */

#endif
