/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates for tests, below a folder:
 *
 *	good      for 127.0.0.1 and for a client, by one authority
 *	strange   the same by another authority, which it trusts alone
 *	renamed   for another host, by the authority of good
 *	forged    for a client, by another authority; it trusts that of good
 *	receiver  as good, without a client's
 *	NAME      as good, with a client's of that name
 *
 * usage: certificates FOLDER [NAME...]
 */
#include <sys/stat.h>

#include "../unit/certificates.h"

static const char *top;
static char **names; /* NULL-terminated */

static void issue(const char *folder, const struct certificate *trusted,
		  const struct certificate *signer, const char *host, const char *client)
{
	struct certificate server = certificate_new(signer, "server", host, 10);
	char dir[200];

	snprintf(dir, sizeof(dir), "%s/%s", top, folder);
	ck_assert(!mkdir(dir, 0700));
	certificate_put(trusted, dir, "ca");
	certificate_put(&server, dir, "server");
	certificate_free(&server);
	if (client) {
		struct certificate c = certificate_new(signer, client, NULL, 10);

		certificate_put(&c, dir, "client");
		certificate_free(&c);
	}
}

START_TEST(make_all)
{
	struct certificate authority = certificate_new(NULL, "authority", NULL, 100);
	struct certificate stranger = certificate_new(NULL, "stranger", NULL, 100);

	issue("good", &authority, &authority, "127.0.0.1", "host1");
	issue("strange", &stranger, &stranger, "127.0.0.1", "host2");
	issue("renamed", &authority, &authority, "b.example", "host3");
	issue("forged", &authority, &stranger, "127.0.0.1", "host4");
	issue("receiver", &authority, &authority, "127.0.0.1", NULL);
	for (char **name = names; *name; name++)
		issue(*name, &authority, &authority, "127.0.0.1", *name);
	certificate_free(&authority);
	certificate_free(&stranger);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("certificates");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	if (argc < 2)
		return 2;
	top = argv[1];
	names = argv + 2;
	tcase_add_test(tcase, make_all);
	suite_add_tcase(suite, tcase);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_MINIMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
