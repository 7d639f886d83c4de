/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong with TLS, in words. */
#include <errno.h>

#include "bits.h"
#include "tls_internal.h"

/* Of several reasons the first counts. */
static const struct reason {
	unsigned status;
	gnutls_alert_description_t alert;
	const char *text;
} reasons[] = {
	{ GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA | GNUTLS_CERT_SIGNATURE_FAILURE,
	  GNUTLS_A_UNKNOWN_CA, "is not signed by ca-cert.pem" },
	{ GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED, "is revoked by ca-crl.pem" },
	{ GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, "has expired" },
	{ GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_CERTIFICATE_UNKNOWN,
	  "is not valid yet; look at the clocks of both hosts" },
	{ GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE,
	  GNUTLS_A_CERTIFICATE_UNKNOWN, "cannot be checked: ca-crl.pem is out of date" },
	{ GNUTLS_CERT_UNEXPECTED_OWNER, GNUTLS_A_BAD_CERTIFICATE,
	  "is for other names; connect by a name that it has" },
	{ GNUTLS_CERT_PURPOSE_MISMATCH, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
	  "is not meant for this side of a connection" },
	{ GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_BAD_CERTIFICATE,
	  "uses an algorithm that is not secure" },
	{ ~0U, GNUTLS_A_BAD_CERTIFICATE, "is not acceptable" },
};

int tls_refuse(unsigned status, const char *peer, gnutls_alert_description_t *alert, struct err *e)
{
	const struct reason *r = reasons;

	while (!(r->status & status))
		r++;
	*alert = r->alert;
	return err_set(e, -EACCES, "the certificate of %s %s", peer, r->text);
}

static const struct {
	gnutls_alert_description_t alert;
	const char *text;
} alerts[] = {
	{ GNUTLS_A_UNKNOWN_CA, "its ca-cert.pem has not signed this side's certificate" },
	{ GNUTLS_A_CERTIFICATE_REVOKED, "its ca-crl.pem has revoked this side's certificate" },
	{ GNUTLS_A_CERTIFICATE_EXPIRED, "this side's certificate has expired" },
	{ GNUTLS_A_CERTIFICATE_UNKNOWN, "it cannot check this side's certificate" },
	{ GNUTLS_A_BAD_CERTIFICATE, "this side's certificate is not acceptable or names another" },
	{ GNUTLS_A_UNSUPPORTED_CERTIFICATE,
	  "this side's certificate is not meant for this side of a connection" },
	{ GNUTLS_A_CERTIFICATE_REQUIRED, "it wants a certificate" },
	{ GNUTLS_A_PROTOCOL_VERSION, "it does not speak TLS 1.3" },
};

static const char *alert_text(gnutls_alert_description_t alert)
{
	const char *name = gnutls.alert_get_name(alert);

	for (size_t i = 0; i < ARRAY_SIZE(alerts); i++)
		if (alerts[i].alert == alert)
			return alerts[i].text;
	return name ? name : "it did not say why";
}

int tls_explain(gnutls_session_t s, int failure, const char *peer, struct err *e)
{
	switch (failure) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		return err_set(e, -EACCES, "%s refused the connection: %s", peer,
			       alert_text(gnutls.alert_get(s)));
	case GNUTLS_E_NO_CIPHER_SUITES: /* those of TLS 1.3 are its own */
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
		return err_set(e, -EPROTO, "%s does not speak TLS 1.3", peer);
	case GNUTLS_E_UNEXPECTED_PACKET:
	case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
	case GNUTLS_E_RECORD_OVERFLOW:
		return err_set(e, -EPROTO, "%s does not speak TLS; give it --tls too", peer);
	case GNUTLS_E_DECRYPTION_FAILED:
		return err_set(e, -EBADMSG, "the connection to %s is tampered with or damaged",
			       peer);
	default:
		return err_set(e, -EPROTO, "TLS with %s failed: %s", peer,
			       gnutls.strerror(failure));
	}
}
