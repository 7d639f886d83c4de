/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TLS_INTERNAL_H
#define TLS_INTERNAL_H

#include "gnutls_library.h"
#include "tls.h"

/* Never changes once it is made, so that any number of threads may use it. */
struct tls_credentials {
	char *dir;
	gnutls_certificate_credentials_t client, server; /* NULL: dir has no files for it */
};

/* Why the certificate of peer is refused, by GNUTLS_CERT_... bits; and the alert that says so. */
int tls_refuse(unsigned status, const char *peer, gnutls_alert_description_t *, struct err *);
/* What a failure of GnuTLS means to whoever talks to peer. */
int tls_explain(gnutls_session_t, int failure, const char *peer, struct err *);

#endif
