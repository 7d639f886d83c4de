/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of channels have in common. */
#ifndef CHANNEL_INTERNAL_H
#define CHANNEL_INTERNAL_H

#include "channel.h"

/* Until fd is ready for events, as the channel's cancel_fd and silence_ms allow. */
int channel_wait(const struct channel *, int fd, short events, struct err *);

/* What a transfer that moved nothing means, waited for if need be; 0: it may be tried again. */
int channel_failed(const struct channel *, int error, short events, struct err *);

/* tls.c: channel_write() and the others where the channel has a tls. */
int tls_write(struct channel *, struct iovec *iov, int niov, struct err *);
int tls_read_some(struct channel *, void *data, size_t len, size_t *done, struct err *);
bool tls_has_buffered(struct tls *);
void tls_end(struct channel *);

/* Step over the first done bytes. */
void channel_advance(struct iovec **iov, int *niov, size_t done);

#endif
