/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let in at a socket: only root can be others, without it most of this is not tried. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>

#include "in_child.h"
#include "server_rig.h"

enum { OTHER = 64000, GROUP = 64001, THIRD = 64002, HELD = 20 };

#define ASK "GET /peer HTTP/1.1\r\n\r\n"
#define SERVED "HTTP/1.1 200 "
#define REFUSED "HTTP/1.1 403 "

static struct rig rig;
static const struct caller_group nobody;
static const struct caller_group the_group = { true, GROUP };

static bool is_root(void)
{
	return geteuid() == 0;
}

static void start(const struct caller_group *group)
{
	rig_start_for(&rig, &server_limits, group);
	ck_assert_int_eq(chmod(rig.dir, 0755), 0);
}

static void become(uid_t uid, gid_t gid, const gid_t *others, size_t n)
{
	if (setgroups(n, others) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		_exit(2);
}

/* What such a user is told at first; "": not even let in to connect. */
static const char *told(uid_t uid, gid_t gid, const gid_t *others, size_t n)
{
	static char begin[sizeof(SERVED)];
	int ends[2];
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (!pid) {
		struct sockaddr_un a = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		ssize_t got;

		become(uid, gid, others, n);
		strcpy(a.sun_path, rig.path);
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
			_exit(errno == EACCES ? 0 : 1);
		send(fd, ASK, strlen(ASK), MSG_NOSIGNAL);
		got = recv(fd, begin, strlen(SERVED), MSG_WAITALL);
		_exit(got < 0 || write(ends[1], begin, (size_t)got) != got);
	}
	close(ends[1]);
	begin[read(ends[0], begin, strlen(SERVED))] = 0;
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	return begin;
}

START_TEST(the_file_is_its_owners)
{
	if (!is_root())
		return;
	start(&nobody);
	ck_assert_str_eq(told(0, 0, NULL, 0), SERVED);
	ck_assert_str_eq(told(OTHER, OTHER, NULL, 0), "");
	rig_stop(&rig);
}
END_TEST

START_TEST(the_file_is_the_groups)
{
	const gid_t others[] = { THIRD, GROUP };
	struct stat st;

	if (!is_root())
		return;
	start(&the_group);
	ck_assert_int_eq(stat(rig.path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0660);
	ck_assert_uint_eq(st.st_gid, GROUP);
	ck_assert_str_eq(told(OTHER, GROUP, NULL, 0), SERVED);
	ck_assert_str_eq(told(OTHER, OTHER, others, 2), SERVED);
	ck_assert_str_eq(told(OTHER, OTHER, others, 1), "");
	rig_stop(&rig);
}
END_TEST

START_TEST(who_gets_past_the_file_is_looked_at)
{
	const gid_t others[] = { THIRD, GROUP };

	if (!is_root())
		return;
	start(&nobody);
	ck_assert_int_eq(chmod(rig.path, 0666), 0);
	ck_assert_str_eq(told(OTHER, GROUP, others, 2), REFUSED);
	ck_assert_str_eq(told(0, OTHER, NULL, 0), SERVED);
	rig_stop(&rig);
	start(&the_group);
	ck_assert_int_eq(chmod(rig.path, 0666), 0);
	ck_assert_str_eq(told(OTHER, OTHER, NULL, 0), REFUSED);
	ck_assert_str_eq(told(OTHER, OTHER, others, 1), REFUSED);
	ck_assert_str_eq(told(OTHER, OTHER, others, 2), SERVED);
	ck_assert_str_eq(told(OTHER, GROUP, others, 1), SERVED);
	rig_stop(&rig);
}
END_TEST

static void connect_all(int fds[HELD])
{
	pid_t pid = fork();

	if (!pid) {
		struct sockaddr_un a = { .sun_family = AF_UNIX };

		become(OTHER, OTHER, NULL, 0);
		strcpy(a.sun_path, rig.path);
		for (int i = 0; i < HELD; i++)
			if (connect(fds[i], (struct sockaddr *)&a, sizeof(a)))
				_exit(1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* Each hears why, and those that stay all the same are eight. */
START_TEST(those_refused_take_nobodys_place)
{
	struct server_limits limits = server_limits;
	int ours[2], fds[HELD], open = 0;
	char pid[16];

	if (!is_root())
		return;
	limits.connections = 3;
	rig_start_for(&rig, &limits, &nobody);
	ck_assert_int_eq(chmod(rig.dir, 0755), 0);
	ck_assert_int_eq(chmod(rig.path, 0666), 0);
	for (int i = 0; i < HELD; i++)
		fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
	ours[0] = dial(&rig);
	ours[1] = dial(&rig);
	connect_all(fds);
	sprintf(pid, "%d", getpid());
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 2; i++) {
			say(ours[i], ASK);
			hear_text(ours[i], pid);
		}
	for (int i = 0; i < HELD; i++) {
		char text[512];
		struct pollfd p = { .fd = fds[i] };

		ck_assert_int_gt(recv(fds[i], text, sizeof(text), 0), 0);
		ck_assert_int_eq(strncmp(text, REFUSED, strlen(REFUSED)), 0);
		open += poll(&p, 1, 0) == 0;
	}
	ck_assert_int_eq(open, 8);
	for (int i = 0; i < HELD; i++)
		close(fds[i]);
	close(ours[0]);
	close(ours[1]);
	rig_stop(&rig);
	ck_assert_uint_eq(rig.nrefused[403], HELD);
}
END_TEST

/* What a connection asked before is not what is refused now. */
START_TEST(what_is_no_request_has_no_path)
{
	char pid[16];
	int fd;

	start(&nobody);
	fd = dial(&rig);
	say(fd, ASK);
	sprintf(pid, "%d", getpid());
	hear_text(fd, pid);
	say(fd, "no request\r\n\r\n");
	hear_last(fd, "HTTP/1.1 400 ");
	rig_stop(&rig);
	ck_assert_uint_eq(rig.nrefused[400], 1);
}
END_TEST

static void is_let_in_by_itself(void)
{
	struct ucred peer;
	int ends[2];

	become_nobody();
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) ||
	    caller_let_in(ends[0], &nobody, &peer) != 1 || peer.uid != geteuid())
		_exit(1);
}

START_TEST(ones_own_user_is_let_in)
{
	in_child(is_let_in_by_itself);
}
END_TEST

START_TEST(a_socket_that_is_passed_keeps_its_file)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char path[] = "/tmp/test-caller-XXXXXX";
	struct listener l;
	struct stat st;
	struct err e;

	close(mkstemp(path));
	unlink(path);
	strcpy(a.sun_path, path);
	fchmod(fd, 0600);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(listener_adopt(&l, fd, &e), 0);
	ck_assert(!l.group.given);
	ck_assert_int_eq(listener_let_in(&l, &the_group, &e), 0);
	ck_assert(l.group.given && l.group.id == GROUP);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	listener_close(&l);
	unlink(path);
}
END_TEST

START_TEST(a_file_of_another_is_not_touched)
{
	char path[] = "/tmp/test-caller-XXXXXX";
	struct listener l;
	struct stat st;
	struct err e;

	close(mkstemp(path));
	unlink(path);
	ck_assert_int_eq(listener_open(&l, path, 0600, &e), 0);
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(listener_let_in(&l, &the_group, &e), -ESTALE);
	ck_assert(!l.group.given);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	listener_close(&l);
	unlink(path);
}
END_TEST

START_TEST(a_group_has_a_name_or_a_number)
{
	static const char *const wrong[] = { "", "no-such-group", "-1", "4294967295", "7x", " 7" };
	struct caller_group g = { 0 };
	struct err e;

	ck_assert_int_eq(caller_group_find(&g, "root", &e), 0);
	ck_assert(g.given && g.id == 0);
	ck_assert_int_eq(caller_group_find(&g, "64001", &e), 0);
	ck_assert(g.given && g.id == GROUP);
	g = nobody;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		ck_assert_int_eq(caller_group_find(&g, wrong[i], &e), -EINVAL);
		ck_assert_ptr_nonnull(strstr(e.text, "there is no group"));
	}
	ck_assert(!g.given);
}
END_TEST

static Suite *caller_suite(void)
{
	Suite *s = suite_create("caller");
	TCase *t = tcase_create("caller");

	tcase_add_test(t, the_file_is_its_owners);
	tcase_add_test(t, the_file_is_the_groups);
	tcase_add_test(t, who_gets_past_the_file_is_looked_at);
	tcase_add_test(t, those_refused_take_nobodys_place);
	tcase_add_test(t, what_is_no_request_has_no_path);
	tcase_add_test(t, ones_own_user_is_let_in);
	tcase_add_test(t, a_socket_that_is_passed_keeps_its_file);
	tcase_add_test(t, a_file_of_another_is_not_touched);
	tcase_add_test(t, a_group_has_a_name_or_a_number);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(caller_suite)
