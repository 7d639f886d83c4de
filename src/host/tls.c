/* SPDX-License-Identifier: Apache-2.0 */
#include "tls.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "bits.h"
#include "channel_internal.h"
#include "cleanup.h"
#include "socket_io.h"
#include "tls_internal.h"

enum {
	RECORD_BYTES = 16 * KIB, /* RFC 8446, 5.1: of plain text, at most */
	IN_BYTES = 64 * KIB,
	OUT_BYTES = 256 * KIB,
	OUT_FULL = OUT_BYTES - 4 * RECORD_BYTES, /* room is left for what one record takes */
	WELCOME = 1,
};

/* AES first: whatever runs guests has instructions for it. */
static const char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:"
				 "+AES-256-GCM:+CHACHA20-POLY1305";

struct tls {
	gnutls_session_t session;
	pthread_mutex_t lock; /* around each call of GnuTLS; nothing waits under it */
	int fd;
	int error; /* of the network, in the last call of GnuTLS that read */
	bool ended; /* the network has no more to read */
	bool client;
	bool open; /* the handshake is done: a goodbye makes sense */
	bool writing; /* GnuTLS was called by the writer, whom out belongs to */
	unsigned status; /* GNUTLS_CERT_...: why the certificate of the peer is refused */
	char peer[TLS_IDENTITY_MAX]; /* for sentences */
	size_t in_at, in_len, out_at, out_len;
	uint8_t in[IN_BYTES], out[OUT_BYTES], plain[RECORD_BYTES];
};

/* GnuTLS wants bytes of the network. */
static ssize_t pull(gnutls_transport_ptr_t arg, void *data, size_t len)
{
	struct tls *t = arg;
	ssize_t n;

	if (t->in_at == t->in_len) {
		n = socket_receive(t->fd, t->in, sizeof(t->in), MSG_DONTWAIT);
		t->error = n < 0 ? errno : 0;
		t->ended = n == 0;
		gnutls.transport_set_errno(t->session, t->error);
		if (n <= 0)
			return n;
		t->in_at = 0;
		t->in_len = (size_t)n;
	}
	len = MIN(len, t->in_len - t->in_at);
	memcpy(data, t->in + t->in_at, len);
	t->in_at += len;
	return (ssize_t)len;
}

/* GnuTLS has bytes for the network; they go once it is left. */
static ssize_t push(gnutls_transport_ptr_t arg, const void *data, size_t len)
{
	struct tls *t = arg;

	len = t->writing ? MIN(len, sizeof(t->out) - t->out_len) : 0;
	if (!len) {
		gnutls.transport_set_errno(t->session, EAGAIN);
		return -1;
	}
	memcpy(t->out + t->out_len, data, len);
	t->out_len += len;
	return (ssize_t)len;
}

/* As much as the network takes at once; false: errno says why it is not all. */
static bool send_out(struct tls *t)
{
	ssize_t n;

	while (t->out_at < t->out_len) {
		n = socket_send(t->fd, t->out + t->out_at, t->out_len - t->out_at, MSG_DONTWAIT);
		if (n < 0)
			return false;
		t->out_at += (size_t)n;
	}
	t->out_at = t->out_len = 0;
	return true;
}

static int flush(struct channel *c, struct err *e)
{
	int r = 0;

	while (!r && !send_out(c->tls))
		r = channel_failed(c, errno, POLLOUT, e);
	return r;
}

/* What a call of GnuTLS that moved nothing means; 0: it may be tried again. */
static int failed(const struct channel *c, ssize_t n, struct err *e)
{
	const struct tls *t = c->tls;

	if (t->ended)
		return err_set(e, -ENOTCONN, "the connection is lost: it is cut short");
	if (n == 0)
		return err_set(e, -ENOTCONN, "the stream is cut short");
	if (t->error)
		return channel_failed(c, t->error, POLLIN, e);
	/* It has read something for itself alone, such as new keys. */
	if (!gnutls.error_is_fatal((int)n))
		return 0;
	return tls_explain(t->session, (int)n, t->peer, e);
}

static int encrypt(struct tls *t, const uint8_t *data, size_t len, struct err *e)
{
	ssize_t n;

	/* out has room for it, so that GnuTLS never has to try again. */
	pthread_mutex_lock(&t->lock);
	t->writing = true;
	do {
		n = gnutls.record_send(t->session, data, len);
		data += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
	} while (n > 0 && len);
	t->writing = false;
	pthread_mutex_unlock(&t->lock);
	return len ? tls_explain(t->session, (int)n, t->peer, e) : 0;
}

/* The next bytes of iov as one record; small pieces are gathered. */
static const uint8_t *next_record(struct tls *t, struct iovec **iov, int *niov, size_t *len)
{
	const uint8_t *whole = (*iov)->iov_base;
	size_t n;

	if ((*iov)->iov_len >= RECORD_BYTES) {
		*len = RECORD_BYTES;
		channel_advance(iov, niov, RECORD_BYTES);
		return whole;
	}
	for (*len = 0; *niov && *len < RECORD_BYTES; *len += n) {
		n = MIN((*iov)->iov_len, RECORD_BYTES - *len);
		memcpy(t->plain + *len, (*iov)->iov_base, n);
		channel_advance(iov, niov, n);
	}
	return t->plain;
}

int tls_write(struct channel *c, struct iovec *iov, int niov, struct err *e)
{
	const uint8_t *record;
	size_t len;
	int r = 0;

	channel_advance(&iov, &niov, 0);
	while (!r && niov) {
		record = next_record(c->tls, &iov, &niov, &len);
		r = encrypt(c->tls, record, len, e);
		if (!r && c->tls->out_len > OUT_FULL)
			r = flush(c, e);
	}
	return r ? r : flush(c, e);
}

int tls_read_some(struct channel *c, void *data, size_t len, size_t *done, struct err *e)
{
	struct tls *t = c->tls;
	ssize_t n;

	pthread_mutex_lock(&t->lock);
	t->error = 0;
	n = gnutls.record_recv(t->session, data, len);
	pthread_mutex_unlock(&t->lock);
	*done = (size_t)MAX(n, 0);
	return n > 0 ? 0 : failed(c, n, e);
}

bool tls_has_buffered(struct tls *t)
{
	size_t n;

	pthread_mutex_lock(&t->lock);
	n = t->in_len - t->in_at + gnutls.record_check_pending(t->session);
	pthread_mutex_unlock(&t->lock);
	return n > 0;
}

void tls_end(struct channel *c)
{
	struct tls *t = c->tls;

	if (!t)
		return;
	/* The goodbye comes behind what a writer that was called off has left in out. */
	if (t->open) {
		t->writing = true;
		gnutls.bye(t->session, GNUTLS_SHUT_WR);
		send_out(t);
	}
	gnutls.deinit(t->session);
	pthread_mutex_destroy(&t->lock);
	free(t);
	c->tls = NULL;
}

/* GnuTLS asks the client in the middle of its handshake, so that the server hears of it there. */
static int verify(gnutls_session_t session)
{
	struct tls *t = gnutls.session_get_ptr(session);
	gnutls_typed_vdata_st data[] = {
		{ GNUTLS_DT_KEY_PURPOSE_OID,
		  (void *)(t->client ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT), 0 },
		{ GNUTLS_DT_DNS_HOSTNAME, (void *)t->peer, 0 }, /* or an IP address */
	};
	unsigned ndata = t->client ? 2 : 1;
	int n = gnutls.certificate_verify_peers(session, data, ndata, &t->status);

	return n < 0 ? n : t->status ? GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR : 0;
}

/* Refuses the peer: it is told, and so is the caller. */
static int refuse(struct tls *t, int failure, struct err *e)
{
	gnutls_alert_description_t alert;
	int level, r;

	if (failure == GNUTLS_E_NO_CERTIFICATE_FOUND) {
		alert = GNUTLS_A_CERTIFICATE_REQUIRED;
		r = err_set(e, -EACCES, "%s has no certificate", t->peer);
	} else if (t->status) {
		r = tls_refuse(t->status, t->peer, &alert, e);
	} else {
		alert = (gnutls_alert_description_t)gnutls.error_to_alert(failure, &level);
		r = tls_explain(t->session, failure, t->peer, e);
	}
	/* As much as can be: a peer that is refused should read why. */
	t->writing = true;
	gnutls.alert_send(t->session, GNUTLS_AL_FATAL, alert);
	t->writing = false;
	send_out(t);
	return r;
}

static int handshake_failed(struct channel *c, int n, struct err *e)
{
	const struct tls *t = c->tls;

	if (t->ended || t->error || n == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return failed(c, n, e);
	return refuse(c->tls, n, e);
}

static int handshake(struct channel *c, struct err *e)
{
	struct tls *t = c->tls;
	int n, r;

	do {
		t->error = 0;
		t->writing = true;
		n = gnutls.handshake(t->session);
		t->writing = false;
		if (n < 0 && gnutls.error_is_fatal(n))
			return handshake_failed(c, n, e);
		r = flush(c, e);
		if (!r && n < 0)
			r = failed(c, n, e);
	} while (!r && n < 0);
	return r;
}

static int name_of_peer(struct tls *t, char identity[TLS_IDENTITY_MAX])
{
	unsigned n;
	size_t size = TLS_IDENTITY_MAX;
	const gnutls_datum_t *chain = gnutls.certificate_get_peers(t->session, &n);
	gnutls_x509_crt_t cert;
	int r = gnutls.x509_crt_init(&cert);

	if (r < 0)
		return r;
	r = chain ? gnutls.x509_crt_import(cert, chain, GNUTLS_X509_FMT_DER)
		  : GNUTLS_E_NO_CERTIFICATE_FOUND;
	if (!r)
		r = gnutls.x509_crt_get_dn(cert, identity, &size);
	gnutls.x509_crt_deinit(cert);
	/* It goes into sentences and logs. */
	for (char *p = identity; !r && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return r;
}

static int begin(struct channel *c, bool client, gnutls_certificate_credentials_t own,
		 const char *peer, struct err *e)
{
	struct tls *t = calloc(1, sizeof(*t));
	unsigned flags = (client ? GNUTLS_CLIENT : GNUTLS_SERVER) | GNUTLS_NONBLOCK |
			 GNUTLS_NO_TICKETS;
	int n;

	if (!t || gnutls.init(&t->session, flags) < 0) {
		free(t);
		return err_set(e, -ENOMEM, "out of memory for TLS");
	}
	pthread_mutex_init(&t->lock, NULL);
	c->tls = t;
	t->fd = c->fd;
	t->client = client;
	snprintf(t->peer, sizeof(t->peer), "%s", peer);
	gnutls.session_set_ptr(t->session, t);
	gnutls.transport_set_ptr(t->session, t);
	gnutls.transport_set_pull_function(t->session, pull);
	gnutls.transport_set_push_function(t->session, push);
	n = gnutls.priority_set_direct(t->session, priorities, NULL);
	if (n >= 0)
		n = gnutls.credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, own);
	return n < 0 ? tls_explain(t->session, n, peer, e) : 0;
}

int tls_client(struct channel *c, const struct tls_credentials *own, const char *hostname,
	       struct err *e)
{
	uint8_t welcome = 0;
	int r;

	r = tls_credentials_check(own, TLS_CLIENT, e);
	if (!r)
		r = begin(c, true, own->client, hostname, e);
	if (r)
		return r;
	gnutls.session_set_verify_function(c->tls->session, verify);
	r = handshake(c, e);
	if (!r)
		r = channel_read(c, &(struct iovec){ &welcome, 1 }, 1, e);
	if (r)
		return r;
	if (welcome != WELCOME)
		return err_set(e, -EPROTO, "%s does not speak TLS as godwit does", hostname);
	c->tls->open = true;
	return 0;
}

int tls_server(struct channel *c, const struct tls_credentials *own,
	       char identity[TLS_IDENTITY_MAX], struct err *e)
{
	uint8_t welcome = WELCOME;
	int r;

	r = tls_credentials_check(own, TLS_SERVER, e);
	if (!r)
		r = begin(c, false, own->server, "the other side", e);
	if (r)
		return r;
	/* Asked for and not required, and checked only when all that the client sent is read: a
	 * socket that is closed before takes the alert with it. */
	gnutls.certificate_server_set_request(c->tls->session, GNUTLS_CERT_REQUEST);
	/* A client that finds no certificate of these authorities would send none. */
	gnutls.certificate_send_x509_rdn_sequence(c->tls->session, 1);
	r = handshake(c, e);
	if (r)
		return r;
	r = verify(c->tls->session);
	if (!r)
		r = name_of_peer(c->tls, identity);
	if (r)
		return refuse(c->tls, r, e);
	c->tls->open = true;
	return tls_write(c, &(struct iovec){ &welcome, 1 }, 1, e);
}
