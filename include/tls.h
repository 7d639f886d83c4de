/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 over a channel, with certificates on both sides.  Once tls_client() or tls_server()
 * is done, channel_write() and channel_read() go through it, and channel_close() ends it.
 *
 * The files in the folder of credentials have the names that QEMU and libvirt give them:
 *
 *	ca-cert.pem                       who may sign the certificate of the other side
 *	ca-crl.pem                        what it has revoked; may be missing
 *	client-cert.pem, client-key.pem   for tls_client(); a host that only receives has none
 *	server-cert.pem, server-key.pem   for tls_server(); a host that only sends has none
 *
 * After its handshake the server sends one byte of value 1.  The client waits for it, as in TLS
 * 1.3 a client cannot tell otherwise whether the server accepts its certificate.
 *
 * One thread may read a channel while another writes it.  GnuTLS renews keys inside of both,
 * which its sessions do not survive from two threads at once; so a lock is around each call of
 * it, and nothing waits for the network while it has the lock.
 */
#ifndef TLS_H
#define TLS_H

#include <stddef.h>

#include "channel.h"
#include "err.h"

struct tls_credentials;

enum { TLS_IDENTITY_MAX = 256 };
enum tls_side { TLS_CLIENT, TLS_SERVER };

/* Reads the files once.  The credentials may serve many channels and must outlive them. */
int tls_credentials_read(struct tls_credentials **, const char *dir, struct err *);
void tls_credentials_free(struct tls_credentials *);
/* -ENOENT: they have no certificate for this side of a connection. */
int tls_credentials_check(const struct tls_credentials *, enum tls_side, struct err *);

/*
 * The channel is connected; its cancel_fd and silence_ms limit the handshake too.  On failure the
 * channel is good for nothing but to be closed.  -ENOTCONN and -ECANCELED as in channel.h; anything
 * else, such as a certificate that is refused, is final.
 */
int tls_client(struct channel *, const struct tls_credentials *, const char *hostname,
	       struct err *);
/* identity: the name in the client's certificate, such as "CN=host1,O=Example". */
int tls_server(struct channel *, const struct tls_credentials *, char identity[TLS_IDENTITY_MAX],
	       struct err *);

#endif
