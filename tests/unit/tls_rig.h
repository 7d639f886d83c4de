/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of a connection with their certificates, signed by one authority. */
#ifndef TLS_RIG_H
#define TLS_RIG_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certificates.h"
#include "tls.h"

static struct certificate authority, stranger;
static char dir_c[64], dir_s[64]; /* of the client and the server */

/* One end of a connection and what became of it; for a thread of its own. */
struct end {
	struct channel ch;
	struct tls_credentials *own;
	char identity[TLS_IDENTITY_MAX];
	uint8_t seed;
	int result;
	struct err e;
	pthread_t thread;
};

static struct end client, server;

static inline void start(struct end *end, void *(*body)(void *))
{
	ck_assert_int_eq(pthread_create(&end->thread, NULL, body, end), 0);
}

static inline int finish(struct end *end)
{
	pthread_join(end->thread, NULL);
	return end->result;
}

static inline void issue(const char *dir, const char *who, const struct certificate *signer,
			 const char *host, int days)
{
	struct certificate c = certificate_new(signer, who, host, days);

	certificate_put(&c, dir, who);
	certificate_free(&c);
}

static inline void setup(void)
{
	int fd[2];

	authority = certificate_new(NULL, "authority", NULL, 100);
	stranger = certificate_new(NULL, "stranger", NULL, 100);
	strcpy(dir_c, "/tmp/test_tls_c.XXXXXX");
	strcpy(dir_s, "/tmp/test_tls_s.XXXXXX");
	ck_assert(mkdtemp(dir_c) && mkdtemp(dir_s));
	certificate_put(&authority, dir_c, "ca");
	certificate_put(&authority, dir_s, "ca");
	issue(dir_c, "client", &authority, NULL, 10);
	issue(dir_s, "server", &authority, "b.example", 10);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	client = (struct end){ .ch = channel_of(fd[0]), .seed = 1 };
	server = (struct end){ .ch = channel_of(fd[1]), .seed = 2 };
}

static inline void remove_all(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static inline void teardown(void)
{
	channel_close(&client.ch);
	channel_close(&server.ch);
	tls_credentials_free(client.own);
	tls_credentials_free(server.own);
	certificate_free(&authority);
	certificate_free(&stranger);
	remove_all(dir_c);
	remove_all(dir_s);
}

static inline void read_credentials(void)
{
	struct err e;

	ck_assert_msg(!tls_credentials_read(&client.own, dir_c, &e), "%s", e.text);
	ck_assert_msg(!tls_credentials_read(&server.own, dir_s, &e), "%s", e.text);
}

static inline void *serve(void *arg)
{
	struct end *end = arg;

	end->result = tls_server(&end->ch, end->own, end->identity, &end->e);
	if (end->result)
		channel_close(&end->ch);
	return NULL;
}

/* Both handshakes; returns what the client got. */
static inline int connect_to(const char *hostname)
{
	int r;

	read_credentials();
	start(&server, serve);
	r = tls_client(&client.ch, client.own, hostname, &client.e);
	if (r)
		channel_close(&client.ch);
	finish(&server);
	return r;
}

static inline void connected(void)
{
	ck_assert_msg(!connect_to("b.example"), "%s", client.e.text);
	ck_assert_msg(!server.result, "%s", server.e.text);
}

static inline int move(int (*f)(struct channel *, struct iovec *, int, struct err *),
		       struct end *end, const void *data, size_t len)
{
	return f(&end->ch, &(struct iovec){ (void *)(uintptr_t)data, len }, 1, &end->e);
}

/* A client that is GnuTLS alone and does as it likes. */
static inline gnutls_session_t stray(const char *priorities, gnutls_certificate_credentials_t *cred)
{
	char cert[128], key[128];
	gnutls_session_t s;

	snprintf(cert, sizeof(cert), "%s/client-cert.pem", dir_c);
	snprintf(key, sizeof(key), "%s/client-key.pem", dir_c);
	ck_assert(!gnutls_certificate_allocate_credentials(cred));
	if (strcmp(priorities, "NORMAL"))
		ck_assert(!gnutls_certificate_set_x509_key_file(*cred, cert, key,
								GNUTLS_X509_FMT_PEM));
	ck_assert(!gnutls_init(&s, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL));
	ck_assert(!gnutls_priority_set_direct(s, priorities, NULL));
	ck_assert(!gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, *cred));
	gnutls_transport_set_int(s, client.ch.fd);
	read_credentials();
	start(&server, serve);
	return s;
}

static inline int handshake(gnutls_session_t s)
{
	int n;

	do
		n = gnutls_handshake(s);
	while (n < 0 && !gnutls_error_is_fatal(n));
	return n;
}

static inline void stray_free(gnutls_session_t s, gnutls_certificate_credentials_t cred)
{
	gnutls_deinit(s);
	gnutls_certificate_free_credentials(cred);
}

#endif
