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

#define JOURNAL_FIELDS "SYSLOG_IDENTIFIER=godwit\nPRIORITY=5\nMESSAGE="

struct audit {
	char *where;
	int fd;
	struct sockaddr_un journal; /* sun_path "": it is a file */
	bool torn; /* the file ends within a line */
	bool told;
	_Atomic uint64_t written, failed;
	pthread_mutex_t lock;
	char vm[65]; /* under the lock */
};

/* Not connected: the journal may be started anew at any time. */
static int open_journal(struct audit *a, const char *path, struct err *e)
{
	CLEANUP(fd) int trial = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	a->journal.sun_family = AF_UNIX;
	snprintf(a->journal.sun_path, sizeof(a->journal.sun_path), "%s", path);
	a->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0 || trial < 0 ||
	    connect(trial, (struct sockaddr *)&a->journal, sizeof(a->journal)))
		return err_set(e, -errno,
			       "--audit: no journal is to be had at %s: %s; name a file instead",
			       path, strerror(errno));
	return 0;
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

int audit_new(struct audit **out, const char *where, const char *journal, struct err *e)
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
	r = strcmp(where, "journal") ? open_file(a, e) : open_journal(a, journal, e);
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

static int send_line(struct audit *a, const char *text)
{
	struct iovec part[] = { { JOURNAL_FIELDS, sizeof(JOURNAL_FIELDS) - 1 },
				{ (void *)text, strlen(text) },
				{ "\n", 1 } };
	const struct msghdr m = { .msg_name = &a->journal,
				  .msg_namelen = sizeof(a->journal),
				  .msg_iov = part,
				  .msg_iovlen = ARRAY_SIZE(part) };

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
	r = !text ? -ENOMEM : a->journal.sun_path[0] ? send_line(a, text) : write_line(a, text);
	if (r)
		failed(a, -r);
	else
		atomic_fetch_add(&a->written, 1);
}

struct audit_count audit_count(const struct audit *a)
{
	return (struct audit_count){ atomic_load(&a->written), atomic_load(&a->failed) };
}
