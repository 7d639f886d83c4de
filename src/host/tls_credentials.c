/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "tls_internal.h"

static void cleanup_credentials(struct tls_credentials **c)
{
	tls_credentials_free(*c);
}

static void cleanup_certificates(gnutls_certificate_credentials_t *c)
{
	if (*c)
		gnutls.certificate_free_credentials(*c);
}

/* The path of a file that can be read; -ENOENT: it is not there. */
static int find(const char *dir, const char *name, char path[PATH_MAX], struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the path of %s is too long", name);
	if (!access(path, R_OK))
		return 0;
	if (errno == ENOENT)
		return err_set(e, -ENOENT, "%s is not in %s", name, dir);
	return err_set(e, -errno, "cannot read %s: %s", path, strerror(errno));
}

static int cannot_use(const char *path, int failure, struct err *e)
{
	return err_set(e, -EINVAL, "cannot use %s: %s", path, gnutls.strerror(failure));
}

static int add_authority(gnutls_certificate_credentials_t c, const char *dir, struct err *e)
{
	char path[PATH_MAX];
	int r = find(dir, "ca-cert.pem", path, e), n;

	if (r)
		return r;
	n = gnutls.certificate_set_x509_trust_file(c, path, GNUTLS_X509_FMT_PEM);
	if (n <= 0)
		return cannot_use(path, n ? n : GNUTLS_E_NO_CERTIFICATE_FOUND, e);
	r = find(dir, "ca-crl.pem", path, e);
	if (r)
		return r == -ENOENT ? 0 : r;
	n = gnutls.certificate_set_x509_crl_file(c, path, GNUTLS_X509_FMT_PEM);
	return n < 0 ? cannot_use(path, n, e) : 0;
}

/* side: "client" or "server". */
static int add_pair(gnutls_certificate_credentials_t c, const char *dir, const char *side,
		    struct err *e)
{
	char name[32], cert[PATH_MAX], key[PATH_MAX];
	int r;

	snprintf(name, sizeof(name), "%s-cert.pem", side);
	r = find(dir, name, cert, e);
	if (r)
		return r;
	snprintf(name, sizeof(name), "%s-key.pem", side);
	r = find(dir, name, key, e);
	if (r) /* half of a pair is a mistake, and none at all is not */
		return r == -ENOENT ? -EINVAL : r;
	r = gnutls.certificate_set_x509_key_file(c, cert, key, GNUTLS_X509_FMT_PEM);
	if (r == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return err_set(e, -EINVAL, "%s is not the key of %s", key, cert);
	return r < 0 ? cannot_use(cert, r, e) : 0;
}

/* *out stays NULL where dir has no files for this side. */
static int read_side(gnutls_certificate_credentials_t *out, const char *dir, const char *side,
		     struct err *e)
{
	CLEANUP(certificates) gnutls_certificate_credentials_t c = NULL;
	int r;

	if (gnutls.certificate_allocate_credentials(&c) < 0)
		return err_set(e, -ENOMEM, "out of memory for certificates");
	r = add_authority(c, dir, e);
	if (r)
		return r;
	r = add_pair(c, dir, side, e);
	if (!r)
		*out = TAKE(c);
	return r == -ENOENT ? 0 : r;
}

int tls_credentials_read(struct tls_credentials **out, const char *dir, struct err *e)
{
	CLEANUP(credentials) struct tls_credentials *c = calloc(1, sizeof(*c));
	int r = gnutls_load(e);

	if (r)
		return r;
	if (c)
		c->dir = strdup(dir);
	if (!c || !c->dir)
		return err_set(e, -ENOMEM, "out of memory for certificates");
	r = read_side(&c->client, dir, "client", e);
	if (!r)
		r = read_side(&c->server, dir, "server", e);
	if (r)
		return r;
	if (!c->client && !c->server)
		return err_set(e, -ENOENT, "neither client-cert.pem nor server-cert.pem is in %s",
			       dir);
	*out = TAKE(c);
	return 0;
}

int tls_credentials_check(const struct tls_credentials *c, enum tls_side side, struct err *e)
{
	if (side == TLS_CLIENT ? c->client : c->server)
		return 0;
	return err_set(e, -ENOENT, "%s-cert.pem is not in %s",
		       side == TLS_CLIENT ? "client" : "server", c->dir);
}

void tls_credentials_free(struct tls_credentials *c)
{
	if (!c)
		return;
	cleanup_certificates(&c->client);
	cleanup_certificates(&c->server);
	free(c->dir);
	free(c);
}
