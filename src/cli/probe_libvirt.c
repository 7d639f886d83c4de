/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the program that asks libvirt, and believes it no more than is needed. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "bits.h"
#include "cleanup.h"
#include "loop.h"
#include "probe.h"

#define PROGRAM "godwit-probe-libvirt"

enum { LIMIT_S = 5, ANSWER_BYTES = MIB };

/* Beside this program, as in a build folder, or where it is installed. */
static bool find_program(char *path, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", path, size - sizeof("/" PROGRAM));
	char *slash;

	if (len > 0) {
		path[len] = '\0';
		slash = strrchr(path, '/');
		strcpy(slash ? slash + 1 : path, PROGRAM);
		if (!access(path, X_OK))
			return true;
	}
	snprintf(path, size, "%s", GODWIT_LIBEXEC "/" PROGRAM);
	return !access(path, X_OK);
}

/* Start it with nothing but a pipe. */
static int start(const char *path, pid_t *pid, int *answer_fd)
{
	char *argv[] = { (char[]){ PROGRAM }, NULL };
	posix_spawn_file_actions_t actions;
	CLEANUP(fd) int in = -1;
	CLEANUP(fd) int out = -1;
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	in = fds[0];
	out = fds[1];
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	rc = -posix_spawn(pid, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (!rc)
		*answer_fd = TAKE_FD(in);
	return rc;
}

/* Read to the end: the length; -ETIMEDOUT, -E2BIG, -errno. */
static ssize_t read_answer(int fd, char *text, size_t size)
{
	uint64_t deadline_ns = loop_now_ns() + LIMIT_S * UINT64_C(1000000000), now_ns;
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	size_t len = 0;

	while ((now_ns = loop_now_ns()) < deadline_ns) {
		ssize_t n;

		if (poll(&ready, 1, (int)((deadline_ns - now_ns) / 1000000) + 1) < 1)
			continue;
		n = read(fd, text + len, size - len);
		if (n <= 0)
			return n ? -errno : (ssize_t)len;
		len += (size_t)n;
		if (len == size)
			return -E2BIG;
	}
	return -ETIMEDOUT;
}

static json_t *unusable(const char *why)
{
	return json_pack("{s:s+}", "usable", PROGRAM " ", why);
}

static json_t *understand(const char *text, ssize_t len)
{
	json_auto_t *answer = NULL;

	if (len == -ETIMEDOUT)
		return unusable("gave no answer within 5 s");
	if (len == -E2BIG)
		return unusable("answered at too great a length");
	if (len < 0)
		return unusable("could not be heard");
	answer = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(answer))
		return unusable("did not answer with a JSON object");
	return TAKE(answer);
}

json_t *probe_libvirt(void)
{
	CLEANUP(free) char *text = malloc(ANSWER_BYTES);
	CLEANUP(fd) int answer_fd = -1;
	char path[4096];
	ssize_t len;
	pid_t pid;

	if (!text || !find_program(path, sizeof(path)))
		return NULL;
	if (start(path, &pid, &answer_fd))
		return unusable("cannot be started");
	len = read_answer(answer_fd, text, ANSWER_BYTES);
	kill(pid, SIGKILL); /* it has nothing left to do */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return understand(text, len);
}
