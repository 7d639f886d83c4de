/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates for a test, made when it runs. */
#ifndef CERTIFICATES_H
#define CERTIFICATES_H

#include <check.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <time.h>

struct certificate {
	gnutls_x509_crt_t cert;
	gnutls_x509_privkey_t key;
};

enum { A_DAY = 24 * 60 * 60 };

/* signer NULL: an authority.  host: a name or "127.0.0.1", NULL: none.  From yesterday to days
 * from now on. */
static inline struct certificate certificate_new(const struct certificate *signer, const char *name,
						 const char *host, int days)
{
	static uint8_t serial;
	const uint8_t loopback[] = { 127, 0, 0, 1 };
	time_t now = time(NULL);
	struct certificate c;

	ck_assert(!gnutls_x509_crt_init(&c.cert) && !gnutls_x509_privkey_init(&c.key));
	ck_assert(!gnutls_x509_privkey_generate(c.key, GNUTLS_PK_ECDSA, 256, 0));
	serial++;
	ck_assert(!gnutls_x509_crt_set_serial(c.cert, &serial, 1));
	ck_assert(!gnutls_x509_crt_set_version(c.cert, 3));
	ck_assert(!gnutls_x509_crt_set_key(c.cert, c.key));
	ck_assert(!gnutls_x509_crt_set_dn_by_oid(c.cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
						 (unsigned)strlen(name)));
	ck_assert(!gnutls_x509_crt_set_activation_time(c.cert, now - 3 * A_DAY));
	ck_assert(!gnutls_x509_crt_set_expiration_time(c.cert, now + days * A_DAY));
	ck_assert(!gnutls_x509_crt_set_basic_constraints(c.cert, !signer, -1));
	if (!signer)
		ck_assert(!gnutls_x509_crt_set_key_usage(c.cert, GNUTLS_KEY_KEY_CERT_SIGN |
									 GNUTLS_KEY_CRL_SIGN));
	if (host && !strcmp(host, "127.0.0.1"))
		ck_assert(!gnutls_x509_crt_set_subject_alt_name(c.cert, GNUTLS_SAN_IPADDRESS,
								loopback, sizeof(loopback), 0));
	else if (host)
		ck_assert(!gnutls_x509_crt_set_subject_alt_name(c.cert, GNUTLS_SAN_DNSNAME, host,
								(unsigned)strlen(host), 0));
	if (!signer)
		signer = &c;
	ck_assert(!gnutls_x509_crt_sign2(c.cert, signer->cert, signer->key, GNUTLS_DIG_SHA256, 0));
	return c;
}

static inline void certificate_free(struct certificate *c)
{
	gnutls_x509_crt_deinit(c->cert);
	gnutls_x509_privkey_deinit(c->key);
}

static inline void put_file(const char *dir, const char *name, const gnutls_datum_t *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text->data, 1, text->size, f), text->size);
	fclose(f);
}

/* who: "ca", "server" or "client"; an authority's key stays here. */
static inline void certificate_put(const struct certificate *c, const char *dir, const char *who)
{
	gnutls_datum_t text;
	char name[32];

	ck_assert(!gnutls_x509_crt_export2(c->cert, GNUTLS_X509_FMT_PEM, &text));
	snprintf(name, sizeof(name), "%s-cert.pem", who);
	put_file(dir, name, &text);
	gnutls_free(text.data);
	if (!strcmp(who, "ca"))
		return;
	ck_assert(!gnutls_x509_privkey_export2(c->key, GNUTLS_X509_FMT_PEM, &text));
	snprintf(name, sizeof(name), "%s-key.pem", who);
	put_file(dir, name, &text);
	gnutls_free(text.data);
}

/* The authority's list, which has revoked this one. */
static inline void certificate_revoke(const struct certificate *authority,
				      const struct certificate *revoked, const char *dir)
{
	time_t now = time(NULL);
	gnutls_datum_t text;
	gnutls_x509_crl_t crl;

	ck_assert(!gnutls_x509_crl_init(&crl) && !gnutls_x509_crl_set_version(crl, 2));
	ck_assert(!gnutls_x509_crl_set_crt(crl, revoked->cert, now - A_DAY));
	ck_assert(!gnutls_x509_crl_set_this_update(crl, now - A_DAY));
	ck_assert(!gnutls_x509_crl_set_next_update(crl, now + A_DAY));
	ck_assert(!gnutls_x509_crl_set_number(crl, "\1", 1));
	ck_assert(
		!gnutls_x509_crl_sign2(crl, authority->cert, authority->key, GNUTLS_DIG_SHA256, 0));
	ck_assert(!gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &text));
	put_file(dir, "ca-crl.pem", &text);
	gnutls_free(text.data);
	gnutls_x509_crl_deinit(crl);
}

#endif
