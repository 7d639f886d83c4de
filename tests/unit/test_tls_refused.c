/* SPDX-License-Identifier: Apache-2.0 */
/* Whom TLS lets in, and what it says to the others. */
#include "check_main.h"
#include "tls_rig.h"

START_TEST(test_ip_address)
{
	issue(dir_s, "server", &authority, "127.0.0.1", 10);
	ck_assert_msg(!connect_to("127.0.0.1"), "%s", client.e.text);
}
END_TEST

/* The first sentence is the client's, the second the server's. */
static void refused(const char *hostname, const char *to_client, const char *to_server)
{
	int r = connect_to(hostname);

	ck_assert_msg(r && r != -ENOTCONN, "%d", r);
	ck_assert_msg(server.result && server.result != -ENOTCONN, "%s", server.e.text);
	ck_assert_str_eq(client.e.text, to_client);
	ck_assert_str_eq(server.e.text, to_server);
}

START_TEST(test_server_of_another_authority)
{
	issue(dir_s, "server", &stranger, "b.example", 10);
	refused("b.example", "the certificate of b.example is not signed by ca-cert.pem",
		"the other side refused the connection: its ca-cert.pem has not signed this "
		"side's certificate");
}
END_TEST

START_TEST(test_client_of_another_authority)
{
	issue(dir_c, "client", &stranger, NULL, 10);
	refused("b.example",
		"b.example refused the connection: its ca-cert.pem has not signed this side's "
		"certificate",
		"the certificate of the other side is not signed by ca-cert.pem");
}
END_TEST

START_TEST(test_expired_server)
{
	issue(dir_s, "server", &authority, "b.example", -1);
	refused("b.example", "the certificate of b.example has expired",
		"the other side refused the connection: this side's certificate has expired");
}
END_TEST

START_TEST(test_expired_client)
{
	issue(dir_c, "client", &authority, NULL, -1);
	refused("b.example",
		"b.example refused the connection: this side's certificate has expired",
		"the certificate of the other side has expired");
}
END_TEST

START_TEST(test_other_host)
{
	refused("c.example",
		"the certificate of c.example is for other names; connect by a name that it has",
		"the other side refused the connection: this side's certificate is not "
		"acceptable or names another");
}
END_TEST

START_TEST(test_revoked)
{
	struct certificate c = certificate_new(&authority, "lost", NULL, 10);

	certificate_put(&c, dir_c, "client");
	certificate_revoke(&authority, &c, dir_s);
	certificate_free(&c);
	refused("b.example",
		"b.example refused the connection: its ca-crl.pem has revoked this side's "
		"certificate",
		"the certificate of the other side is revoked by ca-crl.pem");
}
END_TEST

START_TEST(test_not_this_side)
{
	channel_close(&client.ch);
	read_credentials();
	ck_assert_int_eq(tls_client(&server.ch, server.own, "b.example", &client.e), -ENOENT);
	ck_assert_msg(strstr(client.e.text, "client-cert.pem is not in /tmp/test_tls_s"), "%s",
		      client.e.text);
	ck_assert_int_eq(tls_server(&server.ch, client.own, client.identity, &client.e), -ENOENT);
	ck_assert_msg(strstr(client.e.text, "server-cert.pem is not in /tmp/test_tls_c"), "%s",
		      client.e.text);
}
END_TEST

static void bad_credentials(const char *sentence)
{
	struct tls_credentials *c;
	struct err e;

	ck_assert(tls_credentials_read(&c, dir_c, &e) < 0);
	ck_assert_msg(strstr(e.text, sentence), "%s", e.text);
}

static void remove_one(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir_c, name);
	ck_assert_int_eq(unlink(path), 0);
}

START_TEST(test_bad_credentials)
{
	const gnutls_datum_t nonsense = { (uint8_t *)"nonsense", 8 };
	struct certificate c = certificate_new(&authority, "other", NULL, 10);

	put_file(dir_c, "ca-crl.pem", &nonsense);
	bad_credentials("ca-crl.pem: ");
	remove_one("ca-crl.pem");
	certificate_put(&c, dir_c, "server");
	remove_one("server-key.pem");
	bad_credentials("server-key.pem is not in /tmp/test_tls_c");
	put_file(dir_c, "server-key.pem", &nonsense);
	bad_credentials("server-cert.pem: ");
	remove_one("server-cert.pem");
	certificate_put(&c, dir_c, "ca"); /* leaves no key there */
	certificate_put(&c, dir_c, "other");
	certificate_free(&c);
	remove_one("client-cert.pem");
	bad_credentials("neither client-cert.pem nor server-cert.pem is in /tmp/test_tls_c");
	put_file(dir_c, "ca-cert.pem", &nonsense);
	bad_credentials("ca-cert.pem: ");
	remove_one("ca-cert.pem");
	bad_credentials("ca-cert.pem is not in /tmp/test_tls_c");
}
END_TEST

START_TEST(test_key_of_another)
{
	char path[128], other[128];
	struct certificate c = certificate_new(&authority, "other", NULL, 10);

	certificate_put(&c, dir_c, "other");
	certificate_free(&c);
	snprintf(path, sizeof(path), "%s/client-key.pem", dir_c);
	snprintf(other, sizeof(other), "%s/other-key.pem", dir_c);
	ck_assert_int_eq(rename(other, path), 0);
	bad_credentials("client-key.pem is not the key of ");
}
END_TEST

START_TEST(test_client_without_certificate)
{
	gnutls_certificate_credentials_t cred;
	gnutls_session_t s = stray("NORMAL", &cred);
	uint8_t byte;

	ck_assert_int_eq(handshake(s), 0); /* it cannot know yet */
	ck_assert_int_eq(gnutls_record_recv(s, &byte, 1), GNUTLS_E_FATAL_ALERT_RECEIVED);
	ck_assert_int_eq(gnutls_alert_get(s), GNUTLS_A_CERTIFICATE_REQUIRED);
	ck_assert_int_eq(finish(&server), -EACCES);
	ck_assert_str_eq(server.e.text, "the other side has no certificate");
	stray_free(s, cred);
}
END_TEST

START_TEST(test_tls_1_2)
{
	gnutls_certificate_credentials_t cred;
	gnutls_session_t s = stray("NORMAL:-VERS-ALL:+VERS-TLS1.2", &cred);

	ck_assert_int_lt(handshake(s), 0);
	ck_assert_int_eq(finish(&server), -EPROTO);
	ck_assert_str_eq(server.e.text, "the other side does not speak TLS 1.3");
	stray_free(s, cred);
}
END_TEST

START_TEST(test_no_tls)
{
	read_credentials();
	start(&server, serve);
	ck_assert_int_eq(move(channel_write, &client, "godwitVM\1\0\0\0\0\0\0\0", 16), 0);
	ck_assert_int_eq(finish(&server), -EPROTO);
	ck_assert_str_eq(server.e.text, "the other side does not speak TLS; give it --tls too");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("tls_refused");
	TCase *t = tcase_create("tls_refused");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_ip_address);
	tcase_add_test(t, test_server_of_another_authority);
	tcase_add_test(t, test_client_of_another_authority);
	tcase_add_test(t, test_expired_server);
	tcase_add_test(t, test_expired_client);
	tcase_add_test(t, test_other_host);
	tcase_add_test(t, test_revoked);
	tcase_add_test(t, test_not_this_side);
	tcase_add_test(t, test_bad_credentials);
	tcase_add_test(t, test_key_of_another);
	tcase_add_test(t, test_client_without_certificate);
	tcase_add_test(t, test_tls_1_2);
	tcase_add_test(t, test_no_tls);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
