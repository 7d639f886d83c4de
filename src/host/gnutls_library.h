/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GnuTLS, loaded when TLS is first wanted.  It and the libraries that it needs would take longer
 * to start than all of a VM, and most VMs never use it.
 */
#ifndef GNUTLS_LIBRARY_H
#define GNUTLS_LIBRARY_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>

#include "err.h"

#define GNUTLS_FUNCTIONS(FUNCTION)                                                                 \
	FUNCTION(alert_get)                                                                        \
	FUNCTION(alert_get_name)                                                                   \
	FUNCTION(alert_send)                                                                       \
	FUNCTION(bye)                                                                              \
	FUNCTION(certificate_allocate_credentials)                                                 \
	FUNCTION(certificate_free_credentials)                                                     \
	FUNCTION(certificate_get_peers)                                                            \
	FUNCTION(certificate_send_x509_rdn_sequence)                                               \
	FUNCTION(certificate_server_set_request)                                                   \
	FUNCTION(certificate_set_x509_crl_file)                                                    \
	FUNCTION(certificate_set_x509_key_file)                                                    \
	FUNCTION(certificate_set_x509_trust_file)                                                  \
	FUNCTION(certificate_verify_peers)                                                         \
	FUNCTION(credentials_set)                                                                  \
	FUNCTION(deinit)                                                                           \
	FUNCTION(error_is_fatal)                                                                   \
	FUNCTION(error_to_alert)                                                                   \
	FUNCTION(handshake)                                                                        \
	FUNCTION(init)                                                                             \
	FUNCTION(priority_set_direct)                                                              \
	FUNCTION(record_check_pending)                                                             \
	FUNCTION(record_recv)                                                                      \
	FUNCTION(record_send)                                                                      \
	FUNCTION(session_get_ptr)                                                                  \
	FUNCTION(session_set_ptr)                                                                  \
	FUNCTION(session_set_verify_function)                                                      \
	FUNCTION(strerror)                                                                         \
	FUNCTION(transport_set_errno)                                                              \
	FUNCTION(transport_set_ptr)                                                                \
	FUNCTION(transport_set_pull_function)                                                      \
	FUNCTION(transport_set_push_function)                                                      \
	FUNCTION(x509_crt_deinit)                                                                  \
	FUNCTION(x509_crt_get_dn)                                                                  \
	FUNCTION(x509_crt_import)                                                                  \
	FUNCTION(x509_crt_init)

#define GNUTLS_POINTER(name) __typeof__(gnutls_##name) *name;

/* gnutls.init is gnutls_init, and so on; none may be called before gnutls_load() said 0.  Written
 * once, as the dynamic linker would. */
extern struct gnutls_library {
	GNUTLS_FUNCTIONS(GNUTLS_POINTER)
	pthread_once_t once;
	char failure[256]; /* empty: there was none */
} gnutls;

/* May be called again, by any thread.  -ENOENT: it is not installed, or is not as it should be. */
int gnutls_load(struct err *);

#endif
