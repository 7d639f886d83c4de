/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection carries, found out with bytes that the other side throws away.  Any thread. */
#ifndef TRIAL_H
#define TRIAL_H

#include <stdint.h>

#include "channel.h"

/* Bytes a second.  Takes a second or two on a connection that is slow. */
int trial_send(struct channel *, uint64_t *rate, struct err *);
int trial_receive(struct channel *, struct err *);

#endif
