/* SPDX-License-Identifier: Apache-2.0 */
/* A thread for the monitor's calls, and one for each kind of service: no kind waits for another. */
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "broker_internal.h"
#include "log.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS /* Linux 6.6 */
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

/* The monitor is: several threads may find that. */
static _Noreturn void end(struct broker *b, int status)
{
	pthread_mutex_lock(&b->ending);
	if (b->config.home)
		cgroup_leave(b->config.home);
	_exit(status);
}

static const struct broker_service *find(const struct broker *b, const char *name)
{
	for (const struct broker_service *const *s = b->config.services; s && *s; s++)
		if (!strcmp((*s)->name, name))
			return *s;
	return NULL;
}

static void serve_one(struct broker *b, int channel, const json_t *question, const int *fd,
		      unsigned nfds)
{
	const char *name = json_string_value(json_object_get(question, "service"));
	const struct broker_service *s = name ? find(b, name) : NULL;
	struct broker_answer a = { .nfds = 0 };
	struct err e = { .text = "there is no such service" };
	int r = s ? s->serve(json_object_get(question, "ask"), fd, nfds, &a, &e) : -ENOSYS;
	json_auto_t *all = json_pack("{s:i, s:s*, s:O*}", "result", r, "why", r ? e.text : NULL,
				     "answer", a.json);

	/* Without an answer the monitor would wait for ever. */
	if (broker_send(channel, all, a.fd, r ? 0 : a.nfds))
		end(b, 1);
	broker_answer_free(&a);
}

struct way {
	struct broker *broker;
	int channel;
};

/* Until the monitor closes its end, or is gone. */
static void *serve(void *arg)
{
	const struct way *w = arg;
	int fd[BROKER_FDS];

	for (;;) {
		json_auto_t *question = NULL;
		unsigned nfds = 0;
		int r = broker_receive(w->channel, &question, fd, &nfds);

		if (r == -EPIPE || r == -ECONNRESET)
			end(w->broker, 0);
		if (!r)
			serve_one(w->broker, w->channel, question, fd, nfds);
		for (unsigned i = 0; i < nfds; i++)
			close(fd[i]);
	}
}

static void next_call(struct broker *b)
{
	/* The kernel's may be larger than the header's, and must be zeros. */
	union {
		struct seccomp_notif call;
		char room[512];
	} u;

	memset(&u, 0, sizeof(u));
	/* ENOENT: whoever made it is no more. */
	if (!ioctl(b->listener, SECCOMP_IOCTL_NOTIF_RECV, &u.call))
		broker_serve_call(b, &u.call);
}

int broker_main(struct broker *b)
{
	json_auto_t *hello = NULL;
	struct way way[BROKER_CHANNELS];
	int fd[BROKER_FDS];
	pthread_t thread;
	unsigned nfds;

	if (broker_receive(b->channel[BROKER_QUICK], &hello, fd, &nfds) || nfds != 1)
		end(b, 0); /* it did not come so far */
	b->listener = fd[0];
	/* Who waits for the other need not be woken elsewhere; older kernels do without. */
	ioctl(b->listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	for (unsigned i = 0; i < BROKER_CHANNELS; i++) {
		way[i] = (struct way){ b, b->channel[i] };
		if (pthread_create(&thread, NULL, serve, &way[i])) {
			log_error("the broker has no memory");
			return 1;
		}
	}
	for (;;) {
		struct pollfd p = { .fd = b->listener, .events = POLLIN };

		if (poll(&p, 1, -1) < 0)
			continue;
		if (p.revents & POLLIN)
			next_call(b);
		else if (p.revents & POLLHUP)
			end(b, 0); /* nobody is left who could call */
	}
}
