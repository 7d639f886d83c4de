/* SPDX-License-Identifier: Apache-2.0 */
#include "lease.h"

#include <errno.h>
#include <sys/stat.h>

#include "check_main.h"
#include "lease_server.h"
#include "owner.h"
#include "state_dir.h"

#define VM "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
#define SESSION "6ba7b812-9dad-41d1-80b4-00c04fd430c8"
#define ELSEWHERE "beta/6ba7b813-9dad-41d1-80b4-00c04fd430c8/6ba7b814-9dad-41d1-80b4-00c04fd430c8"

static struct lease_server s;
static struct lease *l;

static void setup(void)
{
	state_setup();
	s = (struct lease_server){ .nanswers = 0 };
	snprintf(s.url, sizeof(s.url), "unix:%s/lease-server", state_parent);
}

static void teardown(void)
{
	lease_free(l);
	l = NULL;
	state_teardown();
}

static struct lease *new_lease(void)
{
	struct lease *new;
	struct err e;

	ck_assert_msg(!lease_new(&new, s.url, VM, &e), "%s", e.text);
	return new;
}

static void serve(const char *first, const char *second)
{
	s.answer[0] = first;
	s.answer[1] = second;
	s.nanswers = second ? 2 : 1;
	lease_server_start(&s, state_parent);
}

/* HOST/PLACE/PROCESS of a lease, as it says it itself. */
static void name_of(struct lease *who, char name[160])
{
	serve("no\n", NULL);
	ck_assert_int_eq(lease_take(who, 7, &(struct err){ "" }), 0);
	lease_server_end(&s);
	ck_assert_int_eq(sscanf(s.asked[0], "take " VM " 7 %159[^\n]\n", name), 1);
}

START_TEST(test_lines)
{
	char name[160], host[65], line[256];
	struct lease_holder h = { 0 };
	struct err e;

	l = new_lease();
	name_of(l, name);
	owner_this_host(host);
	ck_assert_int_eq(strncmp(name, host, strlen(host)), 0);
	ck_assert_uint_eq(strlen(name), strlen(host) + 2 * 37);
	lease_name(l, SESSION);
	serve("yes\n", "yes 8 " ELSEWHERE "\n");
	ck_assert_int_eq(lease_take(l, 8, &e), 1);
	ck_assert_int_eq(lease_who(l, &h, &e), 0);
	lease_server_end(&s);
	snprintf(line, sizeof(line), "take " VM " 8 %.*s/" SESSION "\n",
		 (int)(strrchr(name, '/') - name), name);
	ck_assert_str_eq(s.asked[0], line);
	ck_assert_str_eq(s.asked[1], "who " VM "\n");
	ck_assert_uint_eq(h.generation, 8);
	ck_assert_str_eq(h.name, ELSEWHERE);
	ck_assert(!lease_is(l, &h, "6ba7b814-9dad-41d1-80b4-00c04fd430c8"));
	snprintf(h.name, sizeof(h.name), "%.*s/" SESSION, (int)(strrchr(name, '/') - name), name);
	ck_assert(lease_is(l, &h, SESSION));
	ck_assert(!lease_is(l, &h, VM));
	serve("no\n", NULL);
	ck_assert_int_eq(lease_who(l, &h, &e), 0);
	ck_assert_uint_eq(h.generation, 0);
	lease_server_end(&s);
}
END_TEST

/* Whatever is not an answer: unknown to both questions. */
static const char *const nonsense[] = {
	"",
	"yes",
	"ye",
	"\n",
	"unknown\n",
	"Yes\n",
	"yes \n",
	"no\nno\n",
	"yes\n\n",
	"yes 8\n",
	"yes 0 " ELSEWHERE "\n",
	"yes -1 " ELSEWHERE "\n",
	"yes 08 " ELSEWHERE "\n",
	"yes +8 " ELSEWHERE "\n",
	"yes 99999999999999999999 " ELSEWHERE "\n",
	"yes 8 \n",
	("yes 8  " ELSEWHERE),
	"yes 8 be\tta\n",
	"no\r\n",
	"\xff\xfe\n",
	"yes 8 \xc3\xa9\n",
};

START_TEST(test_nonsense)
{
	struct lease_holder h = { .generation = 3 };
	char text[300];
	struct err e;

	l = new_lease();
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		serve(nonsense[i], nonsense[i]);
		ck_assert_msg(lease_who(l, &h, &e) < 0, "who took \"%s\"", nonsense[i]);
		ck_assert_msg(lease_take(l, 4, &e) < 0, "take took \"%s\"", nonsense[i]);
		lease_server_end(&s);
		ck_assert_ptr_nonnull(strstr(e.text, s.path));
	}
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	serve(text, NULL);
	ck_assert_int_lt(lease_take(l, 4, &e), 0);
	lease_server_end(&s);
	/* An answer to the other question. */
	serve("yes 4 " ELSEWHERE "\n", "yes\n");
	ck_assert_int_lt(lease_take(l, 4, &e), 0);
	ck_assert_int_lt(lease_who(l, &h, &e), 0);
	lease_server_end(&s);
	ck_assert_uint_eq(h.generation, 3);
}
END_TEST

START_TEST(test_no_server)
{
	struct lease_holder h;
	struct err e;

	l = new_lease();
	ck_assert_int_eq(lease_who(l, &h, &e), -ENOENT);
	serve(NULL, NULL);
	ck_assert_int_eq(lease_take(l, 4, &e), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(e.text, "does not answer"));
	lease_server_end(&s);
}
END_TEST

START_TEST(test_begin)
{
	char name[160], who[256], line[256];
	struct lease *other;
	struct err e;

	l = new_lease();
	name_of(l, name);
	serve("no\n", "yes\n");
	ck_assert_msg(!lease_begin(l, &e), "%s", e.text);
	lease_server_end(&s);
	snprintf(line, sizeof(line), "take " VM " 1 %s\n", name);
	ck_assert_str_eq(s.asked[1], line);
	ck_assert_int_eq(lease_begin(l, &e), 0); /* held: nobody is asked */
	/* Another process of this host, while that one lives and later. */
	other = new_lease();
	ck_assert_int_eq(lease_begin(other, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.text, "another process of this host"));
	ck_assert_int_eq(lease_lock(other, &e), -EAGAIN);
	lease_free(l);
	snprintf(who, sizeof(who), "yes 5 %s\n", name);
	l = other;
	name_of(l, name);
	serve(who, "yes\n");
	ck_assert_msg(!lease_begin(l, &e), "%s", e.text);
	lease_server_end(&s);
	snprintf(line, sizeof(line), "take " VM " 6 %s\n", name);
	ck_assert_str_eq(s.asked[1], line);
}
END_TEST

static void refused(const char *who, const char *take, int code, const char *sentence)
{
	struct err e = { "" };

	serve(who, take);
	ck_assert_int_eq(lease_begin(l, &e), code);
	lease_server_end(&s);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	/* It keeps nothing that would keep others away. */
	ck_assert_int_eq(lease_lock(l, &e), 0);
	lease_let_go(l);
}

START_TEST(test_begin_refused)
{
	char place[128], who[256];
	struct err e;

	l = new_lease();
	refused("yes 5 " ELSEWHERE "\n", NULL, -EBUSY, "is held by host beta");
	refused("no\n", "no\n", -EBUSY, "another host took the lease");
	refused("unknown\n", NULL, -ENODATA, "it is not known whether this VM runs elsewhere");
	refused("no\n", "unknown\n", -ENODATA, "it is not known whether this VM runs elsewhere");
	/* Another host of the same name. */
	owner_this_host(place);
	snprintf(who, sizeof(who), "yes 5 %s/" VM "/" SESSION "\n", place);
	refused(who, NULL, -EBUSY, "is held by host");
	serve("yes 5 -\n", "yes\n");
	ck_assert_msg(!lease_begin(l, &e), "%s", e.text);
	lease_server_end(&s);
	ck_assert_ptr_nonnull(strstr(s.asked[1], " 6 "));
}
END_TEST

START_TEST(test_raise)
{
	char name[160], who[256], line[256];
	uint64_t generation = 3;
	struct err e;

	l = new_lease();
	name_of(l, name);
	snprintf(who, sizeof(who), "yes 5 %s\n", name);
	serve(who, NULL);
	ck_assert_int_eq(lease_raise(l, &generation, &e), 0);
	lease_server_end(&s);
	ck_assert_uint_eq(generation, 5);
	generation = 9;
	serve(who, "yes\n");
	ck_assert_int_eq(lease_raise(l, &generation, &e), 0);
	lease_server_end(&s);
	snprintf(line, sizeof(line), "take " VM " 9 %s\n", name);
	ck_assert_str_eq(s.asked[1], line);
	serve(who, "no\n");
	ck_assert_int_eq(lease_raise(l, &generation, &e), -ESTALE);
	lease_server_end(&s);
	serve("no\n", NULL);
	ck_assert_int_eq(lease_raise(l, &generation, &e), -ESTALE);
	lease_server_end(&s);
	serve("yes 9 " ELSEWHERE "\n", NULL);
	ck_assert_int_eq(lease_raise(l, &generation, &e), -ESTALE);
	lease_server_end(&s);
	serve("unknown\n", NULL);
	ck_assert_int_eq(lease_raise(l, &generation, &e), -ENODATA);
	lease_server_end(&s);
	ck_assert_uint_eq(generation, 9);
}
END_TEST

START_TEST(test_place)
{
	char first[160], second[160];
	struct err e;

	l = new_lease();
	name_of(l, first);
	lease_free(l);
	l = new_lease();
	name_of(l, second);
	ck_assert_str_ne(first, second);
	*strrchr(first, '/') = *strrchr(second, '/') = '\0';
	ck_assert_str_eq(first, second);
	lease_free(l);
	l = NULL;
	state_write("lease.json", "{}");
	ck_assert_int_eq(lease_new(&l, s.url, VM, &e), -EBADMSG);
	ck_assert_int_eq(lease_new(&l, "unix:", VM, &e), -EINVAL);
	ck_assert_int_eq(lease_check_url("tcp:alpha:80", &e), -EINVAL);
	ck_assert_int_eq(lease_check_url("unix:/run/lease", &e), 0);
	memset(first, 'x', sizeof(first) - 1);
	memcpy(first, "unix:", 5);
	first[sizeof(first) - 1] = '\0';
	ck_assert_int_eq(lease_check_url(first, &e), -EINVAL);
	first[5 + 107] = '\0';
	ck_assert_int_eq(lease_check_url(first, &e), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *all = suite_create("lease");
	TCase *tc = tcase_create("lease");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_lines);
	tcase_add_test(tc, test_nonsense);
	tcase_add_test(tc, test_no_server);
	tcase_add_test(tc, test_begin);
	tcase_add_test(tc, test_begin_refused);
	tcase_add_test(tc, test_raise);
	tcase_add_test(tc, test_place);
	suite_add_tcase(all, tc);
	return all;
}

CHECK_MAIN(suite)
