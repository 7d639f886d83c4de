/* SPDX-License-Identifier: Apache-2.0 */
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "log.h"

#define JOURNAL "/run/systemd/journal/socket"
#define JOURNAL_FIELDS "SYSLOG_IDENTIFIER=godwit\nPRIORITY=5\nMESSAGE="

struct audit {
	char *where;
	int fd;
	int (*journal)(struct err *); /* NULL: it is a file */
	bool torn; /* the file ends within a line */
	bool told;
	_Atomic uint64_t written, failed;
	pthread_mutex_t lock;
	char vm[65]; /* under the lock */
};

static int serve_journal(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
			 struct err *e)
{
	static const struct sockaddr_un journal = { AF_UNIX, JOURNAL };

	(void)ask, (void)fd, (void)nfds;
	if (!broker_knows("journal"))
		return err_set(e, -EACCES, "it was not asked for");
	out->fd[0] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (out->fd[0] < 0)
		return err_set(e, -errno, "%s", strerror(errno));
	out->nfds = 1;
	return connect(out->fd[0], (const struct sockaddr *)&journal, sizeof(journal))
		       ? err_set(e, -errno, "%s", strerror(errno))
		       : 0;
}

const struct broker_service audit_journal_service = { "journal", false, serve_journal };

int audit_journal(struct err *e)
{
	struct broker_answer a;
	struct err why;
	int r = broker_ask(&audit_journal_service, json_object(), NULL, 0, &a, &why), fd = -1;

	if (!r && a.nfds) {
		fd = a.fd[0];
		a.fd[0] = -1;
	}
	broker_answer_free(&a);
	return fd >= 0 ? fd
		       : err_set(e, r ? r : -EPROTO,
				 "--audit: no journal is to be had at " JOURNAL
				 ": %s; name a file instead",
				 r ? why.text : "no answer");
}

static int open_file(struct audit *a, struct err *e)
{
	struct stat st;

	/* O_NONBLOCK: not to wait at a FIFO, which is refused. */
	a->fd = open(a->where,
		     O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		     0600);
	if (a->fd < 0 || fstat(a->fd, &st))
		return err_set(e, -errno, "--audit: %s cannot be opened: %s%s", a->where,
			       strerror(errno), errno == ELOOP ? "; it is a symbolic link" : "");
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "--audit: %s is there already and is no plain file",
			       a->where);
	return 0;
}

static int open_journal(struct audit *a, struct err *e)
{
	a->fd = a->journal(e);
	return a->fd < 0 ? a->fd : 0;
}

int audit_new(struct audit **out, const char *where, int (*journal)(struct err *), struct err *e)
{
	struct audit *a = calloc(1, sizeof(*a));
	int r;

	if (a)
		a->where = strdup(where);
	if (!a || !a->where) {
		free(a);
		return err_set(e, -ENOMEM, "out of memory");
	}
	a->fd = -1;
	pthread_mutex_init(&a->lock, NULL);
	a->journal = strcmp(where, "journal") ? NULL : journal;
	r = a->journal ? open_journal(a, e) : open_file(a, e);
	if (r)
		audit_free(a);
	else
		*out = a;
	return r;
}

void audit_free(struct audit *a)
{
	if (!a)
		return;
	cleanup_fd(&a->fd);
	pthread_mutex_destroy(&a->lock);
	free(a->where);
	free(a);
}

void audit_name(struct audit *a, const char *vm)
{
	pthread_mutex_lock(&a->lock);
	snprintf(a->vm, sizeof(a->vm), "%s", vm);
	pthread_mutex_unlock(&a->lock);
}

static json_t *head_of(struct audit *a)
{
	struct timespec now;
	char day[32], text[64];
	struct tm tm;
	json_t *head;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%06ldZ", day, now.tv_nsec / 1000);
	pthread_mutex_lock(&a->lock);
	head = json_pack("{s:s, s:i, s:s*}", "time", text, "monitor", (int)getpid(), "vm",
			 a->vm[0] ? a->vm : NULL);
	pthread_mutex_unlock(&a->lock);
	return head;
}

/* The journal may have been started anew: who connected to the old one does so again. */
static int send_line(struct audit *a, const char *text)
{
	struct iovec part[] = { { JOURNAL_FIELDS, sizeof(JOURNAL_FIELDS) - 1 },
				{ (void *)text, strlen(text) },
				{ "\n", 1 } };
	const struct msghdr m = { .msg_iov = part, .msg_iovlen = ARRAY_SIZE(part) };
	struct err e;
	int fd;

	if (sendmsg(a->fd, &m, MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno != ECONNREFUSED && errno != ENOTCONN)
		return -errno;
	fd = a->journal(&e);
	if (fd < 0)
		return -ECONNREFUSED;
	cleanup_fd(&a->fd);
	a->fd = fd;
	return sendmsg(a->fd, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* In one piece, so that several monitors may share the file. */
static int write_line(struct audit *a, const char *text)
{
	CLEANUP(free) char *line = NULL;
	int len = asprintf(&line, "%s%s\n", a->torn ? "\n" : "", text);
	ssize_t n;

	if (len < 0) {
		line = NULL;
		return -ENOMEM;
	}
	n = write(a->fd, line, (size_t)len);
	if (n == len) {
		a->torn = false;
		return 0;
	}
	if (n > 0)
		a->torn = line[n - 1] != '\n';
	return n < 0 ? -errno : -ENOSPC;
}

static void failed(struct audit *a, int error)
{
	atomic_fetch_add(&a->failed, 1);
	if (!a->told)
		log_warn("the audit log at %s cannot be written to: %s; what is lost is counted, "
			 "and this is not said again",
			 a->where, strerror(error));
	a->told = true;
}

void audit_write(struct audit *a, json_t *line)
{
	json_auto_t *body = line, *all = head_of(a);
	CLEANUP(free) char *text = NULL;
	int r;

	/* ASCII and without a line feed, whatever is in it. */
	if (body && all && !json_object_update(all, body))
		text = json_dumps(all, JSON_COMPACT | JSON_ENSURE_ASCII);
	r = !text ? -ENOMEM : a->journal ? send_line(a, text) : write_line(a, text);
	if (r)
		failed(a, -r);
	else
		atomic_fetch_add(&a->written, 1);
}

struct audit_count audit_count(const struct audit *a)
{
	return (struct audit_count){ atomic_load(&a->written), atomic_load(&a->failed) };
}
