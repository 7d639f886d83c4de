/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "record.h"
#include "supervise.h"

enum {
	LOG_BYTES_MAX = 1 << 20,
	TAIL_BYTES = 16 << 10,
	OVER_MAX = 64, /* ended ones whose status is still known */
	WORDS_MAX = 32,
	PLACE_MAX = SPEC_NAME_MAX + 16,
};

static const char own_prefix[] = "godwit-agent: "; /* of lines that are the agent's */

struct process {
	struct list node;
	struct agent *agent;
	struct watch ended; /* a pidfd */
	pid_t pid;
	bool over;
	int status;
	char name[SPEC_NAME_MAX + 1];
};

struct processes {
	int dir; /* "processes" in the store */
	struct list list;
	char boot[40];
};

static void forget(struct agent *a, struct process *p)
{
	if (p->ended.fd >= 0) {
		loop_unwatch(a->loop, &p->ended);
		close(p->ended.fd);
	}
	list_remove(&p->node);
	free(p);
}

int processes_new(struct processes **out, struct agent *a, struct err *e)
{
	struct processes *ps = calloc(1, sizeof(*ps));
	CLEANUP(file) FILE *boot = fopen("/proc/sys/kernel/random/boot_id", "re");
	int error;

	if (!ps)
		return err_set(e, -ENOMEM, "out of memory");
	list_init(&ps->list);
	if (!boot || fscanf(boot, "%39s", ps->boot) != 1)
		ps->boot[0] = '\0';
	if (mkdirat(a->store, "processes", 0700) && errno != EEXIST)
		ps->dir = -1;
	else
		ps->dir = openat(a->store, "processes",
				 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	error = errno;
	if (ps->dir < 0) {
		free(ps);
		return err_set(e, -error, "the agent's directory of processes cannot be made: %s",
			       strerror(error));
	}
	*out = ps;
	return 0;
}

void processes_free(struct processes *ps)
{
	if (!ps)
		return;
	while (!list_empty(&ps->list)) {
		struct process *p = list_item(ps->list.next, struct process, node);

		forget(p->agent, p);
	}
	close(ps->dir);
	free(ps);
}

static void place(char out[PLACE_MAX], const char *name, const char *end)
{
	snprintf(out, PLACE_MAX, "%.*s%s", SPEC_NAME_MAX, name, end);
}

/* As another process sees it. */
static int full_path(const struct agent *a, const char *name, const char *end,
		     char path[AGENT_PATH_MAX], struct err *e)
{
	char link[64], file[PLACE_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", a->processes->dir);
	n = readlink(link, path, AGENT_PATH_MAX - PLACE_MAX - 1);
	if (n < 0 || n >= AGENT_PATH_MAX - PLACE_MAX - 1)
		return err_set(e, n < 0 ? -errno : -ENAMETOOLONG,
			       "the path of the state directory cannot be told to a process");
	place(file, name, end);
	snprintf(path + n, AGENT_PATH_MAX - (size_t)n, "/%s", file);
	return 0;
}

int process_file(struct agent *a, const char *name, const json_t *json, char path[AGENT_PATH_MAX],
		 struct err *e)
{
	char file[PLACE_MAX];
	int r = full_path(a, name, ".config", path, e);

	if (r)
		return r;
	place(file, name, ".config");
	r = record_write(a->processes->dir, file, 0600, json);
	return r ? err_set(e, r, "%.400s cannot be written: %s", path, strerror(-r)) : 0;
}

/* Beside the agent's own program, else from PATH. */
static void find_monitor(const struct agent *a, char path[AGENT_PATH_MAX])
{
	char *slash;
	ssize_t n;

	if (*a->options->monitor) {
		snprintf(path, AGENT_PATH_MAX, "%s", a->options->monitor);
		return;
	}
	n = readlink("/proc/self/exe", path, AGENT_PATH_MAX - sizeof("/godwit"));
	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		strcpy(slash, "/godwit");
	if (!slash || access(path, X_OK))
		strcpy(path, "godwit");
}

/* Appended to, so that it can be cut while it is written. */
static int open_log(struct agent *a, const char *name)
{
	int dir = a->processes->dir;
	char now[PLACE_MAX], before[PLACE_MAX];
	struct stat st;

	place(now, name, ".log");
	place(before, name, ".log.1");
	if (!fstatat(dir, now, &st, AT_SYMLINK_NOFOLLOW) && st.st_size > LOG_BYTES_MAX / 2)
		renameat(dir, now, dir, before);
	return openat(dir, now, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static char **environment(void)
{
	static const char notify[] = "NOTIFY_SOCKET=";
	size_t n = 0, kept = 0;
	char **copy;

	while (environ[n])
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	/* The service manager's is the agent's business. */
	for (size_t i = 0; copy && i < n; i++)
		if (strncmp(environ[i], notify, strlen(notify)))
			copy[kept++] = environ[i];
	return copy;
}

/* Its own session, an empty signal mask, and no fd of the agent's. */
static int spawn(const char *program, char *const argv[], int log, pid_t *pid)
{
	CLEANUP(free) char **env = environment();
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int r;

	if (!env)
		return -ENOMEM;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, log, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO);
	posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	r = posix_spawnp(pid, program, &actions, &attributes, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return -r;
}

static bool reap(struct process *p)
{
	p->over = p->over || waitpid(p->pid, &p->status, WNOHANG) == p->pid;
	return p->over;
}

static void drop_oldest(struct agent *a)
{
	struct process *p, *oldest = NULL;
	unsigned over = 0;

	list_for_each (p, &a->processes->list, node) {
		if (p->ended.fd >= 0)
			continue;
		over++;
		oldest = oldest ? oldest : p;
	}
	if (over > OVER_MAX)
		forget(a, oldest);
}

static void on_end(void *arg, uint32_t events)
{
	struct process *p = arg;

	(void)events;
	if (!reap(p))
		return;
	loop_unwatch(p->agent->loop, &p->ended);
	close(TAKE_FD(p->ended.fd));
	supervise_ended(p->agent, p->name, p->pid);
}

static int watch(struct agent *a, const char *name, pid_t pid)
{
	struct process *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	drop_oldest(a);
	p->agent = a;
	p->pid = pid;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->ended = (struct watch){ .fd = (int)syscall(SYS_pidfd_open, pid, 0),
				   .ready = on_end,
				   .arg = p };
	r = p->ended.fd < 0 ? -errno : loop_watch(a->loop, &p->ended, EPOLLIN);
	if (r) {
		cleanup_fd(&p->ended.fd);
		free(p);
		return r;
	}
	list_append(&a->processes->list, &p->node);
	return 0;
}

/* Before it runs: what stands behind this line is its own. */
static void write_head(const char *name, int log)
{
	time_t now = time(NULL);
	char when[32] = "";
	struct tm tm;

	if (gmtime_r(&now, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	dprintf(log, "%s%s VM \"%s\" begins\n", own_prefix, when, name);
}

/* What of it has to be known by an agent that comes later. */
static int write_pid(struct agent *a, const char *name, pid_t pid)
{
	json_auto_t *record = json_pack("{s:I, s:s}", "pid", (json_int_t)pid, "boot",
					a->processes->boot);
	char file[PLACE_MAX];

	place(file, name, ".pid");
	return record_write(a->processes->dir, file, 0600, record);
}

int process_start(struct agent *a, const char *name, const char *const words[], pid_t *pid,
		  struct err *e)
{
	CLEANUP(fd) int log = open_log(a, name);
	char program[AGENT_PATH_MAX], events[AGENT_PATH_MAX], file[PLACE_MAX];
	const char *argv[WORDS_MAX + 4] = { "godwit" };
	size_t n = 1;
	int r = full_path(a, name, ".events", events, e);

	if (r)
		return r;
	if (log < 0)
		return err_set(e, -errno, "the log of VM \"%s\" cannot be opened: %s", name,
			       strerror(errno));
	place(file, name, ".events");
	if (unlinkat(a->processes->dir, file, 0) && errno != ENOENT)
		return err_set(e, -errno, "%.400s cannot be removed: %s", events, strerror(errno));
	for (size_t i = 0; words[i]; i++) {
		if (n > WORDS_MAX)
			return err_set(e, -E2BIG, "there are too many words for a process");
		argv[n++] = words[i];
	}
	argv[n++] = "--event-monitor";
	argv[n++] = events;
	find_monitor(a, program);
	write_head(name, log);
	r = spawn(program, (char *const *)argv, log, pid);
	if (r)
		return err_set(e, r, "%.400s cannot be started: %s", program, strerror(-r));
	r = write_pid(a, name, *pid);
	r = r ? r : watch(a, name, *pid);
	if (!r)
		return 0;
	kill(*pid, SIGKILL);
	waitpid(*pid, NULL, 0);
	return err_set(e, r, "VM \"%s\" cannot be looked after: %s", name, strerror(-r));
}

bool process_is_over(struct agent *a, pid_t pid, int *status)
{
	struct process *p;

	list_for_each (p, &a->processes->list, node) {
		if (p->pid != pid || !reap(p))
			continue;
		*status = p->status;
		return true;
	}
	return false;
}

pid_t process_last(struct agent *a, const char *name)
{
	json_auto_t *record = NULL;
	char file[PLACE_MAX];
	const char *boot;

	place(file, name, ".pid");
	if (record_read(a->processes->dir, file, &record))
		return 0;
	boot = json_string_value(json_object_get(record, "boot"));
	if (!boot || strcmp(boot, a->processes->boot))
		return 0;
	return (pid_t)json_integer_value(json_object_get(record, "pid"));
}

/* The end of a file as text, in whole lines. */
static void read_tail(struct agent *a, const char *name, const char *end, char text[TAIL_BYTES])
{
	char file[PLACE_MAX];
	CLEANUP(fd) int fd = -1;
	struct stat st;
	off_t from;
	ssize_t n;

	text[0] = '\0';
	place(file, name, end);
	fd = openat(a->processes->dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return;
	from = MAX(st.st_size - (TAIL_BYTES - 1), 0);
	n = pread(fd, text, TAIL_BYTES - 1, from);
	text[n > 0 ? n : 0] = '\0';
}

/* The last line of text, which is cut before it; NULL: there is none. */
static char *last_line(char *text)
{
	size_t len = strlen(text);
	char *begin;

	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	if (!len)
		return NULL;
	begin = strrchr(text, '\n');
	if (!begin)
		return text;
	*begin = '\0';
	return begin + 1;
}

void process_words(struct agent *a, const char *name, char *line, size_t size)
{
	static const char prefix[] = "godwit: ";
	CLEANUP(free) char *text = malloc(TAIL_BYTES);
	const char *last;

	*line = '\0';
	if (!text)
		return;
	read_tail(a, name, ".log", text);
	last = last_line(text);
	if (!last || !strncmp(last, own_prefix, strlen(own_prefix)))
		return;
	if (!strncmp(last, prefix, strlen(prefix)))
		last += strlen(prefix);
	snprintf(line, size, "%s", last);
	if (!record_is_text(line, size))
		*line = '\0';
}

enum last_event process_event(struct agent *a, const char *name, char *reason, size_t size)
{
	CLEANUP(free) char *text = malloc(TAIL_BYTES);
	char *line;

	if (!text)
		return LAST_NONE;
	read_tail(a, name, ".events", text);
	while ((line = last_line(text))) {
		json_auto_t *event = json_loads(line, 0, NULL);
		const char *source, *what, *why = NULL;

		if (line == text)
			text[0] = '\0';
		if (json_unpack(event, "{s:s, s:s}", "source", &source, "event", &what) ||
		    strcmp(source, "vm"))
			continue;
		if (!strcmp(what, "booted") || !strcmp(what, "rebooted"))
			return LAST_BOOTED;
		if (strcmp(what, "shutdown"))
			continue;
		why = json_string_value(
			json_object_get(json_object_get(event, "properties"), "reason"));
		snprintf(reason, size, "%s", why ? why : "");
		return why ? LAST_FAILED : LAST_ENDED;
	}
	return LAST_NONE;
}

static void trim(int dir, const char *file)
{
	CLEANUP(fd) int fd = openat(dir, file, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > LOG_BYTES_MAX &&
	    ftruncate(fd, 0))
		return; /* the next time, perhaps */
}

void process_trim(struct agent *a, const char *name)
{
	char file[PLACE_MAX];

	place(file, name, ".log");
	trim(a->processes->dir, file);
	place(file, name, ".events");
	trim(a->processes->dir, file);
}

void process_forget(struct agent *a, const char *name)
{
	static const char *const ends[] = { ".log", ".log.1", ".events", ".pid", ".config" };
	char file[PLACE_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		place(file, name, ends[i]);
		unlinkat(a->processes->dir, file, 0);
	}
}
