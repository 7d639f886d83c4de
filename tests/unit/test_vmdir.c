/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check_main.h"
#include "rundir.h"
#include "vmdir.h"

/* Of this process, so that a run beside this one does not disturb. */
static void own_name(char name[65])
{
	snprintf(name, 65, "unit-test-%d", (int)getpid());
}

static void own_path(const char *name, char path[512])
{
	char parent[256];

	ck_assert_int_eq(rundir_path(geteuid(), parent, sizeof(parent)), 0);
	snprintf(path, 512, "%s/%s", parent, name);
}

START_TEST(a_name_belongs_to_one)
{
	struct vmdir first, second;
	char name[65], found[65];
	struct err e = { "" };

	own_name(name);
	ck_assert_msg(!vmdir_new(&first, name, &e), "%s", e.text);
	ck_assert(rundir_name(geteuid(), getpid(), found, sizeof(found)));
	ck_assert_str_eq(found, name);
	ck_assert_int_eq(vmdir_new(&second, name, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.text, "is running already (process "));
	vmdir_free(&first);
	ck_assert_int_eq(vmdir_new(&second, name, &e), 0);
	vmdir_free(&second);
}
END_TEST

START_TEST(nothing_is_left_and_others_cannot_look)
{
	struct vmdir d;
	char name[65], path[512];
	struct stat st;
	struct err e;

	own_name(name);
	own_path(name, path);
	ck_assert_int_eq(vmdir_new(&d, name, &e), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	vmdir_free(&d);
	ck_assert_int_eq(stat(path, &st), -1);
	vmdir_free(&d); /* harmless */
}
END_TEST

START_TEST(a_stale_directory_is_taken_over)
{
	char name[65], path[512], text[16] = "";
	struct vmdir d;
	struct stat st;
	struct err e;
	pid_t child;
	FILE *f;

	own_name(name);
	own_path(name, path);
	child = fork();
	if (!child) {
		if (vmdir_new(&d, name, &e))
			_exit(1);
		_exit(0); /* as if killed: nothing is removed */
	}
	ck_assert_int_eq(waitpid(child, &(int){ 0 }, 0), child);
	ck_assert_int_eq(chmod(path, 0710), 0); /* a group was let through */
	ck_assert_msg(!vmdir_new(&d, name, &e), "%s", e.text);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	strcat(path, "/pid");
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	fclose(f);
	ck_assert_int_eq(atoi(text), getpid());
	vmdir_free(&d);
}
END_TEST

enum { USER = 4711, OTHER_USER = 4712 };

/* In a process of its own, as USER; the code of vmdir_new() */
static int new_as_user(const char *name)
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct vmdir d;
		struct err e;
		int rc;

		ck_assert_int_eq(setresuid(USER, USER, USER), 0);
		rc = vmdir_new(&d, name, &e);
		if (!rc)
			vmdir_free(&d);
		_exit(-rc);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return -WEXITSTATUS(status);
}

/* What a service manager makes is taken, what another user makes is not. */
START_TEST(root_makes_one_for_a_user)
{
	char runtime[] = "/tmp/test-vmdir-XXXXXX", parent[64], path[80];

	if (geteuid()) {
		printf("skipped: a run directory of another user, as this is not root\n");
		return;
	}
	ck_assert_ptr_nonnull(mkdtemp(runtime));
	snprintf(parent, sizeof(parent), "%s/godwit", runtime);
	snprintf(path, sizeof(path), "%s/vm", parent);
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	ck_assert(!chmod(runtime, 0755) && !mkdir(parent, 0755) && !mkdir(path, 0700));
	ck_assert_int_eq(new_as_user("vm"), -EACCES);
	ck_assert_int_eq(chown(path, USER, 0), 0);
	ck_assert_int_eq(new_as_user("vm"), 0);
	ck_assert_int_eq(new_as_user("other"), -EACCES);
	ck_assert_int_eq(chown(parent, OTHER_USER, 0), 0);
	ck_assert_int_eq(new_as_user("vm"), -EPERM);
	unsetenv("XDG_RUNTIME_DIR");
	ck_assert(!rmdir(path) && !rmdir(parent) && !rmdir(runtime));
}
END_TEST

struct seen {
	const char *name;
	unsigned times;
	pid_t pid;
};

static void see(void *arg, const char *name, int dir, pid_t pid)
{
	struct seen *s = arg;

	ck_assert_int_ge(dir, 0);
	if (strcmp(name, s->name))
		return;
	s->times++;
	s->pid = pid;
}

START_TEST(who_runs)
{
	char name[65], path[512], link[70];
	struct seen s = { .name = name };
	struct vmdir d;
	struct err e;
	int fd;

	own_name(name);
	own_path(name, path);
	ck_assert_int_eq(rundir_open(geteuid(), name), -ENOENT);
	ck_assert_int_eq(mkdir(path, 0700), 0); /* as one that was left behind */
	ck_assert_int_eq(rundir_open(geteuid(), name), -ENOENT);
	ck_assert_int_eq(rundir_each(geteuid(), see, &s), 0);
	ck_assert_uint_eq(s.times, 0);
	ck_assert_int_eq(vmdir_new(&d, name, &e), 0);
	fd = rundir_open(geteuid(), name);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(rundir_connect(fd, "pid"), -ECONNREFUSED);
	ck_assert_int_eq(rundir_connect(fd, "none.sock"), -ENOENT);
	close(fd);
	ck_assert_int_eq(rundir_each(geteuid(), see, &s), 0);
	ck_assert_uint_eq(s.times, 1);
	ck_assert_int_eq(s.pid, getpid());
	/* A name is no path. */
	snprintf(link, sizeof(link), "./%s", name);
	ck_assert_int_eq(rundir_open(geteuid(), link), -ENOENT);
	vmdir_free(&d);
	ck_assert_int_eq(rundir_open(geteuid(), name), -ENOENT);
}
END_TEST

/* What an owner that was killed left is not the next one's. */
START_TEST(sockets_go_with_the_directory)
{
	char name[65], path[512], stale[600];
	struct vmdir d;
	struct err e;

	own_name(name);
	own_path(name, path);
	snprintf(stale, sizeof(stale), "%s/console.sock", path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(mknod(stale, S_IFSOCK | 0600, 0), 0);
	ck_assert_int_eq(vmdir_new(&d, name, &e), 0);
	ck_assert_int_eq(access(stale, F_OK), -1);
	snprintf(stale, sizeof(stale), "%s/serial.sock", d.path);
	ck_assert_int_eq(mknod(stale, S_IFSOCK | 0600, 0), 0);
	vmdir_free(&d);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* Who looks whether a VM runs does not keep it from starting. */
START_TEST(lookers_are_in_nobodys_way)
{
	enum { ROUNDS = 5000 };
	char name[65], path[512];
	pid_t child;

	own_name(name);
	own_path(name, path);
	child = fork();
	while (!child) {
		int fd = rundir_open(geteuid(), name);

		if (fd >= 0)
			close(fd);
	}
	for (int i = 0; i < ROUNDS; i++) {
		struct vmdir d;
		struct err e;

		ck_assert_msg(!vmdir_new(&d, name, &e), "%s", e.text);
		vmdir_free(&d);
	}
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &(int){ 0 }, 0), child);
}
END_TEST

/* Many start and stop under one name at once: never two own it. */
START_TEST(a_crowd)
{
	enum { PROCESSES = 8, ROUNDS = 2000 };
	char name[65], path[512];
	int status, failed = 0;

	own_name(name);
	own_path(name, path);
	strcat(path, "-alone");
	for (int i = 0; i < PROCESSES; i++) {
		if (fork())
			continue;
		for (int round = 0; round < ROUNDS; round++) {
			struct vmdir d;
			struct err e;
			int rc = vmdir_new(&d, name, &e);

			if (rc == -EBUSY)
				continue;
			if (rc || mkdir(path, 0700))
				_exit(1);
			usleep(100); /* so that another would be noticed */
			if (rmdir(path))
				_exit(1);
			vmdir_free(&d);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		failed += status != 0;
	ck_assert_int_eq(failed, 0);
}
END_TEST

static Suite *vmdir_suite(void)
{
	Suite *s = suite_create("vmdir");
	TCase *t = tcase_create("vmdir");

	/* Where there is no runtime directory, such as in a build chroot, use one of ours. */
	if (geteuid())
		setenv("XDG_RUNTIME_DIR", "/tmp", 0);
	tcase_add_test(t, a_name_belongs_to_one);
	tcase_add_test(t, nothing_is_left_and_others_cannot_look);
	tcase_add_test(t, a_stale_directory_is_taken_over);
	tcase_add_test(t, root_makes_one_for_a_user);
	tcase_add_test(t, who_runs);
	tcase_add_test(t, sockets_go_with_the_directory);
	tcase_add_test(t, lookers_are_in_nobodys_way);
	tcase_add_test(t, a_crowd);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(vmdir_suite)
