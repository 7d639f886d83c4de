/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bits.h"
#include "broker.h"
#include "cleanup.h"
#include "passt.h"
#include "socket_io.h"

enum {
	FORWARD_MAX = 64,
	ARGUMENTS_MAX = 2 * FORWARD_MAX + 15,
	SPEC_BYTES = 80,
	CHILD_FD = 3, /* its end of the socket */
	WAIT_MS = 10000,
	LOOK_MS = 1,
	ETHERTYPE_EXPERIMENT = 0x88b5, /* IEEE 802, 9.2.3: for experiments; nobody answers */
	GREETING_BYTES = 60,
};

struct passt {
	pid_t pid;
	int fd;
	int words; /* its standard error */
};

/* What the program is told: -t or -u and a port each. */
struct arguments {
	char *argv[ARGUMENTS_MAX + 1];
	char spec[FORWARD_MAX][SPEC_BYTES];
	char mtu[8];
	unsigned argc, nspecs;
};

static bool is_port(const char *text, size_t len)
{
	unsigned long port = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || len > 5)
			return false;
		port = 10 * port + (unsigned long)(text[i] - '0');
	}
	return port >= 1 && port <= UINT16_MAX;
}

static bool is_address(const char *text, size_t len)
{
	char copy[INET6_ADDRSTRLEN] = "";
	struct in6_addr any;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	return inet_pton(AF_INET, copy, &any) == 1 || inet_pton(AF_INET6, copy, &any) == 1;
}

/* [ADDRESS/]PORT[:PORT], as passt takes it too */
static bool is_forward(const char *text)
{
	const char *slash = strchr(text, '/'), *colon;

	if (slash && !is_address(text, (size_t)(slash - text)))
		return false;
	text = slash ? slash + 1 : text;
	colon = strchrnul(text, ':');
	return is_port(text, (size_t)(colon - text)) &&
	       (!*colon || is_port(colon + 1, strlen(colon + 1)));
}

static int add_forward(struct arguments *a, const char *item, size_t len, struct err *e)
{
	char *spec = a->spec[a->nspecs];
	bool udp = len > 4 && !memcmp(item, "udp:", 4);
	size_t skip = udp ? 4 : 0;

	if (a->nspecs == FORWARD_MAX)
		return err_set(e, -E2BIG, "forward: at most %d ports", FORWARD_MAX);
	snprintf(spec, SPEC_BYTES, "%.*s", (int)(len - skip), item + skip);
	if (len - skip >= SPEC_BYTES || !is_forward(spec))
		return err_set(e, -EINVAL,
			       "forward=%.*s is no port to forward; write HOSTPORT:GUESTPORT, or "
			       "udp:HOSTPORT:GUESTPORT",
			       (int)MIN(len, SPEC_BYTES), item);
	a->argv[a->argc++] = udp ? "-u" : "-t";
	a->argv[a->argc++] = spec;
	a->nspecs++;
	return 0;
}

static int add_forwards(struct arguments *a, const char *list, struct err *e)
{
	int r = 0;

	while (!r && list) {
		const char *end = strchrnul(list, ',');

		r = add_forward(a, list, (size_t)(end - list), e);
		list = *end ? end + 1 : NULL;
	}
	return r;
}

static int make_arguments(struct arguments *a, const struct passt_config *c, struct err *e)
{
	static char *const fixed[] = { "passt", "--foreground", "--quiet", "--fd", "3" };

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		a->argv[a->argc++] = fixed[i];
	if (c->mtu) {
		snprintf(a->mtu, sizeof(a->mtu), "%u", c->mtu);
		a->argv[a->argc++] = "--mtu";
		a->argv[a->argc++] = a->mtu;
	}
	return add_forwards(a, c->forward, e);
}

/* A process group of its own, so that a terminal's Ctrl-C, which asks the guest to power off, does
 * not take its network first. */
static int spawn(struct passt *p, char *const argv[], int fd, int words)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, words, STDERR_FILENO);
	posix_spawn_file_actions_adddup2(&actions, fd, CHILD_FD);
	r = posix_spawnp(&p->pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return -r;
}

/* One end of each pair is the child's alone: its death closes them. */
static int start_here(struct passt *p, char *const argv[], struct err *e)
{
	CLEANUP(fd) int theirs = -1;
	CLEANUP(fd) int words = -1;
	int pair[2], ends[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, -errno, "no socket for passt: %s", strerror(errno));
	p->fd = pair[0];
	theirs = pair[1];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(e, -errno, "no pipe for passt: %s", strerror(errno));
	p->words = ends[0];
	words = ends[1];
	r = spawn(p, argv, theirs, words);
	if (r == -ENOENT)
		return err_set(e, r, "passt is not installed; as root run: apt-get install passt");
	return r ? err_set(e, r, "cannot start passt: %s", strerror(-r)) : 0;
}

/* {"argv": ["passt", ...]}: {"pid": 1}, its socket and what it says. */
static int serve_start(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
		       struct err *e)
{
	const json_t *words = json_object_get(ask, "argv");
	struct passt p = { .fd = -1, .words = -1 };
	char *argv[ARGUMENTS_MAX + 1] = { NULL };
	size_t n = json_array_size(words);
	int r;

	(void)fd;
	(void)nfds;
	if (!n || n > ARGUMENTS_MAX || !broker_knows("passt"))
		return err_set(e, -EINVAL, "passt is not asked for so");
	for (size_t i = 0; i < n; i++)
		argv[i] = (char *)json_string_value(json_array_get(words, i));
	argv[0] = "passt"; /* and no other program */
	r = start_here(&p, argv, e);
	if (p.fd >= 0)
		out->fd[out->nfds++] = p.fd;
	if (p.words >= 0)
		out->fd[out->nfds++] = p.words;
	if (!r)
		out->json = json_pack("{s:i}", "pid", (int)p.pid);
	return r;
}

/* {"pid": 1}: one that was started. */
static int serve_stop(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
		      struct err *e)
{
	pid_t pid = (pid_t)json_integer_value(json_object_get(ask, "pid"));

	(void)fd;
	(void)nfds;
	(void)out;
	/* It is no child, or was one and is over. */
	if (pid <= 0 || waitpid(pid, NULL, WNOHANG))
		return err_set(e, -ESRCH, "there is no such process");
	kill(pid, SIGKILL); /* it has nothing to tidy, and nobody waits for it */
	waitpid(pid, NULL, 0);
	return 0;
}

const struct broker_service passt_start_service = { "passt_start", true, serve_start };
const struct broker_service passt_stop_service = { "passt_stop", true, serve_stop };

static int start(struct passt *p, char *const argv[], struct err *e)
{
	json_t *words = json_array();
	struct broker_answer a;
	int r, pid = 0;

	for (char *const *word = argv; *word; word++)
		json_array_append_new(words, json_string(*word));
	r = broker_ask(&passt_start_service, json_pack("{s:o}", "argv", words), NULL, 0, &a, e);
	if (r)
		return r;
	if (a.nfds == 2 && !json_unpack(a.json, "{s:i}", "pid", &pid)) {
		p->fd = TAKE_FD(a.fd[0]);
		p->words = TAKE_FD(a.fd[1]);
	}
	p->pid = pid;
	broker_answer_free(&a);
	if (p->fd < 0 || fcntl(p->fd, F_SETFL, O_RDWR | O_NONBLOCK))
		return err_set(e, -EBADMSG, "the broker's answer makes no sense");
	return 0;
}

/* It is ready when it has read a frame, of which it makes nothing. */
static int wait_until_ready(struct passt *p, const struct passt_config *c, struct err *e)
{
	uint8_t greeting[PASST_LENGTH_BYTES + GREETING_BYTES] = { 0, 0, 0, GREETING_BYTES };
	struct pollfd socket = { .fd = p->fd, .events = POLLRDHUP };
	uint16_t type = htobe16(ETHERTYPE_EXPERIMENT);
	int unread = 1;
	char why[160];

	memcpy(greeting + PASST_LENGTH_BYTES + sizeof(c->mac), c->mac, sizeof(c->mac));
	memcpy(greeting + PASST_LENGTH_BYTES + 2 * sizeof(c->mac), &type, sizeof(type));
	if (socket_send(p->fd, greeting, sizeof(greeting), 0) < 0)
		unread = 0; /* poll() says why */
	for (int waited = 0; unread && waited < WAIT_MS; waited += LOOK_MS) {
		if (poll(&socket, 1, LOOK_MS) > 0)
			break;
		ioctl(p->fd, SIOCOUTQ, &unread);
	}
	if (!poll(&socket, 1, 0))
		return unread ? err_set(e, -ETIMEDOUT, "passt does not answer") : 0;
	passt_last_words(p, why, sizeof(why));
	return err_set(e, -EIO, "passt did not start%s%s", *why ? ": " : "", why);
}

int passt_start(struct passt **out, const struct passt_config *c, struct err *e)
{
	struct arguments a = { .argc = 0 };
	struct passt *p;
	int r = make_arguments(&a, c, e);

	if (r)
		return r;
	p = malloc(sizeof(*p));
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	*p = (struct passt){ .fd = -1, .words = -1 };
	r = start(p, a.argv, e);
	if (!r)
		r = wait_until_ready(p, c, e);
	if (r) {
		passt_stop(p);
		return r;
	}
	*out = p;
	return 0;
}

void passt_stop(struct passt *p)
{
	struct broker_answer a;
	struct err ignored;

	if (!p)
		return;
	if (p->pid > 0 && !broker_ask(&passt_stop_service, json_pack("{s:i}", "pid", (int)p->pid),
				      NULL, 0, &a, &ignored))
		broker_answer_free(&a);
	cleanup_fd(&p->fd);
	cleanup_fd(&p->words);
	free(p);
}

int passt_fd(const struct passt *p)
{
	return p->fd;
}

void passt_last_words(struct passt *p, char *text, size_t size)
{
	char all[4096];
	ssize_t n;

	*text = '\0';
	while ((n = read(p->words, all, sizeof(all) - 1)) > 0) {
		const char *newline;

		for (all[n] = '\0'; n && all[n - 1] == '\n'; all[n] = '\0')
			n--;
		newline = strrchr(all, '\n');
		snprintf(text, size, "%s", newline ? newline + 1 : all);
	}
}
