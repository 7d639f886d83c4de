/* SPDX-License-Identifier: Apache-2.0 */
#include "broker_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "rundir.h"
#include "socket_io.h"
#include "statedir.h"

enum { MESSAGE_BYTES = 64 << 10 };

/* The monitor's side. */
static struct {
	pthread_mutex_t lock[BROKER_CHANNELS]; /* from a question to its answer */
	int channel[BROKER_CHANNELS];
	pid_t pid; /* 0: there is no broker */
	bool is_known; /* the next */
	uid_t owner;
} own = { .lock = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER } };

int broker_send(int channel, const json_t *json, const int *fd, unsigned nfds)
{
	CLEANUP(free) char *text = json_dumps(json, JSON_COMPACT);
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(BROKER_FDS * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = text, .iov_len = text ? strlen(text) : 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!text)
		return -ENOMEM;
	if (nfds) {
		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(nfds * sizeof(int)),
						  .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.align), fd, nfds * sizeof(int));
	}
	return sendmsg(channel, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int broker_receive(int channel, json_t **json, int fd[BROKER_FDS], unsigned *nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(BROKER_FDS * sizeof(int))];
	} control;
	CLEANUP(free) char *text = malloc(MESSAGE_BYTES);
	struct iovec iov = { .iov_base = text, .iov_len = MESSAGE_BYTES };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;
	ssize_t n;

	if (!text)
		return -ENOMEM;
	do
		n = recvmsg(channel, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -EPIPE;
	c = CMSG_FIRSTHDR(&m);
	*nfds = 0;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*nfds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fd, CMSG_DATA(c), *nfds * sizeof(int));
	}
	*json = json_loadb(text, (size_t)n, JSON_DECODE_ANY, NULL);
	return *json ? 0 : -EBADMSG;
}

json_t *broker_bytes(const char *text)
{
	CLEANUP(free) char *out = malloc(2 * strlen(text) + 1);
	char *at = out;

	if (!out)
		return NULL;
	for (; *text; text++) {
		uint8_t byte = (uint8_t)*text;

		if (byte >= 0x80)
			*at++ = (char)(0xc0 | byte >> 6);
		*at++ = (char)(byte >= 0x80 ? 0x80 | (byte & 0x3f) : byte);
	}
	*at = '\0';
	return json_string(out);
}

void broker_take_bytes(const json_t *json, char *text, size_t size)
{
	const uint8_t *from = (const uint8_t *)json_string_value(json);
	size_t n = 0;

	for (; from && *from && n + 1 < size; from++) {
		uint8_t byte = *from;

		if (byte >= 0x80 && from[1])
			byte = (uint8_t)(byte << 6 | (*++from & 0x3f));
		text[n++] = (char)byte;
	}
	text[n] = '\0';
}

void broker_answer_free(struct broker_answer *a)
{
	for (unsigned i = 0; i < a->nfds; i++)
		cleanup_fd(&a->fd[i]);
	json_decref(a->json);
}

/* {"result": 0, "why": "", "answer": ...}; what serve() left is without an answer. */
static int take_answer(struct broker_answer *a, struct err *e)
{
	json_auto_t *all = a->json;
	json_t *answer = json_object_get(all, "answer");
	json_int_t r = json_integer_value(json_object_get(all, "result"));
	const char *why = json_string_value(json_object_get(all, "why"));

	a->json = json_incref(answer);
	if (!r)
		return 0;
	broker_answer_free(a);
	return err_set(e, (int)r, "%s", why ? why : "");
}

int broker_ask(const struct broker_service *s, json_t *ask, const int *fd, unsigned nfds,
	       struct broker_answer *out, struct err *e)
{
	const unsigned way = s->is_slow ? BROKER_SLOW : BROKER_QUICK;
	json_auto_t *question = NULL;
	int r;

	*out = (struct broker_answer){ .nfds = 0 };
	if (!own.pid) {
		question = ask;
		r = s->serve(ask, fd, nfds, out, e);
		if (r)
			broker_answer_free(out);
		return r;
	}
	question = json_pack("{s:s, s:o*}", "service", s->name, "ask", ask);
	pthread_mutex_lock(&own.lock[way]);
	r = question ? broker_send(own.channel[way], question, fd, nfds) : -ENOMEM;
	r = r ? r : broker_receive(own.channel[way], &out->json, out->fd, &out->nfds);
	pthread_mutex_unlock(&own.lock[way]);
	return r ? err_set(e, r, "the broker does not answer: %s", strerror(-r))
		 : take_answer(out, e);
}

/* Of the process that is to be the broker: what the terminal asks of the VM is not for it, and it
 * ends when the VM does. */
static void leave_signals(void)
{
	static const int asking[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2 };
	sigset_t none;

	sigemptyset(&none);
	for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
		signal(asking[i], SIG_IGN);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}

static int open_monitor(struct broker *b, struct err *e)
{
	b->memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	b->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (b->memory < 0)
		return err_set(e, -errno, "/proc/self/mem cannot be read: %s", strerror(errno));
	return 0;
}

static int find_own(struct broker *b, struct err *e)
{
	struct err ignored;

	if (!getcwd(b->cwd, sizeof(b->cwd)))
		return err_set(e, -errno, "the current directory is gone: %s", strerror(errno));
	if (rundir_path(own.owner, b->rundir, sizeof(b->rundir)))
		b->rundir[0] = '\0'; /* who needs it says why */
	if (statedir_path(b->statedir, sizeof(b->statedir), &ignored))
		b->statedir[0] = '\0';
	return 0;
}

static int open_channels(struct broker *b, struct err *e)
{
	for (unsigned i = 0; i < BROKER_CHANNELS; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
			return err_set(e, -errno, "no socket for the broker: %s", strerror(errno));
		own.channel[i] = pair[0];
		b->channel[i] = pair[1];
	}
	return 0;
}

static void close_all(int fd[BROKER_CHANNELS])
{
	for (unsigned i = 0; i < BROKER_CHANNELS; i++)
		cleanup_fd(&fd[i]);
}

static void be_broker(struct broker *b)
{
	close_all(own.channel);
	own.pid = 0;
	prctl(PR_SET_NAME, "broker");
	leave_signals();
	if (b->config.user.given)
		setgroups(0, NULL);
	unsetenv("NOTIFY_SOCKET"); /* not for programs that are started, as the next */
	close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
	broker_learn(b->config.named);
	if (b->config.named_later)
		broker_let_name();
	_exit(broker_main(b));
}

uid_t broker_owner(void)
{
	return own.is_known ? own.owner : geteuid();
}

int broker_start(const struct broker_config *config, struct err *e)
{
	struct broker b = { .config = *config,
			    .monitor = getpid(),
			    .ending = PTHREAD_MUTEX_INITIALIZER,
			    .channel = { -1, -1 },
			    .memory = -1,
			    .pagemap = -1 };
	int r;

	own.owner = geteuid();
	own.is_known = true;
	r = find_own(&b, e);
	r = r ? r : open_monitor(&b, e);
	r = r ? r : open_channels(&b, e);
	if (!r) {
		own.pid = fork();
		if (!own.pid)
			be_broker(&b);
		if (own.pid < 0)
			r = err_set(e, -errno, "no broker can be made: %s", strerror(errno));
	}
	if (r)
		own.pid = 0; /* and the process is about to end */
	close_all(b.channel);
	cleanup_fd(&b.memory);
	cleanup_fd(&b.pagemap);
	return r;
}

int broker_attach(int listener, struct err *e)
{
	json_auto_t *nothing = json_object();
	int r = broker_send(own.channel[BROKER_QUICK], nothing, &listener, 1);

	return r ? err_set(e, r, "the broker does not listen: %s", strerror(-r)) : 0;
}

void broker_end(void)
{
	ssize_t n;
	char byte;

	if (!own.pid)
		return;
	for (unsigned i = 0; i < BROKER_CHANNELS; i++)
		shutdown(own.channel[i], SHUT_WR);
	/* It closes its ends when it has ended. */
	do
		n = socket_receive(own.channel[BROKER_QUICK], &byte, 1, 0);
	while (n > 0 || (n < 0 && errno == EINTR));
	close_all(own.channel);
	own.pid = 0;
}
