/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "client.h"
#include "rundir.h"

enum { HEAD_BYTES_MAX = 4096, BODY_BYTES_MAX = 64 << 20 };

static void add_name(void *arg, const char *name, int dir, pid_t pid)
{
	struct err *e = arg;
	size_t len = strlen(e->text);

	(void)dir;
	(void)pid;
	snprintf(e->text + len, sizeof(e->text) - len, "%s%s", len ? ", " : "", name);
}

int client_refuse_name(const char *name, struct err *e)
{
	struct err names = { "" };

	rundir_each(geteuid(), add_name, &names);
	if (!names.text[0])
		return err_set(e, -ENOENT,
			       "VM \"%.64s\" is not running, and no other VM of yours is", name);
	return err_set(e, -ENOENT, "VM \"%.64s\" is not running; these are: %.400s", name,
		       names.text);
}

/* dir: or -errno. */
static int connect_to(struct client *c, int dir, const char *socket, struct err *e)
{
	int r = dir < 0 ? dir : rundir_connect(dir, socket);

	if (r < 0)
		return err_set(e, r, "the control socket of %s cannot be reached: %s", c->who,
			       strerror(-r));
	c->fd = r;
	return 0;
}

int client_open(struct client *c, const char *name, struct err *e)
{
	CLEANUP(fd) int dir = rundir_open(geteuid(), name);

	*c = (struct client){ .fd = -1 };
	if (dir == -ENOENT)
		return client_refuse_name(name, e);
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->who, sizeof(c->who), "VM \"%s\"", c->name);
	return connect_to(c, dir, RUNDIR_API_SOCKET, e);
}

int client_open_other(struct client *c, const char *socket, const char *who, struct err *e)
{
	CLEANUP(fd) int dir = rundir_open_user(geteuid());

	*c = (struct client){ .fd = -1 };
	snprintf(c->who, sizeof(c->who), "%s", who);
	return connect_to(c, dir, socket, e);
}

void client_close(struct client *c)
{
	cleanup_fd(&c->fd);
	c->fd = -1;
}

void client_set_limit(struct client *c, unsigned ms)
{
	const struct timeval limit = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/* n: what recv() returned. */
static int lost(const struct client *c, ssize_t n, struct err *e)
{
	if (n < 0 && errno == EAGAIN)
		return err_set(e, -ETIMEDOUT, "%s does not answer", c->who);
	return err_set(e, -EPIPE, "%s ended before it answered", c->who);
}

static int send_all(struct client *c, const char *text, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = send(c->fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lost(c, 0, e);
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* To the end of the empty line; what came with it of the body is left behind it. */
static int read_head(struct client *c, char *head, size_t *len, char **body, struct err *e)
{
	*len = 0;
	do {
		ssize_t n = recv(c->fd, head + *len, HEAD_BYTES_MAX - *len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return lost(c, n, e);
		*len += (size_t)n;
		head[*len] = '\0';
		*body = strstr(head, "\r\n\r\n");
	} while (!*body && *len < HEAD_BYTES_MAX);
	if (!*body)
		return err_set(e, -EPROTO, "%s does not speak HTTP", c->who);
	*body += 4;
	return 0;
}

static int read_body(struct client *c, char *body, size_t have, size_t len, struct err *e)
{
	while (have < len) {
		ssize_t n = recv(c->fd, body + have, len - have, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return lost(c, n, e);
		have += (size_t)n;
	}
	return 0;
}

/* The sentences of a refusal, the outermost first. */
static int refused(const struct client *c, const json_t *why, struct err *e)
{
	const json_t *sentence;
	size_t i;

	err_set(e, 0, "%s refused", c->who);
	json_array_foreach(why, i, sentence)
	{
		size_t at = strlen(e->text);

		snprintf(e->text + at, sizeof(e->text) - at, ": %s", json_string_value(sentence));
	}
	return -EREMOTEIO;
}

/* The body, ending in a NUL; of a refusal its sentence. */
static int receive(struct client *c, char **out, size_t *len, struct err *e)
{
	char head[HEAD_BYTES_MAX + 1], *body, *text;
	CLEANUP(free) char *whole = NULL;
	json_auto_t *why = NULL;
	size_t have;
	int status, r = read_head(c, head, &have, &body, e);

	if (r)
		return r;
	*len = 0;
	have -= (size_t)(body - head);
	text = strcasestr(head, "\r\nContent-Length: ");
	if (text && text < body)
		*len = strtoul(text + strlen("\r\nContent-Length: "), NULL, 10);
	if (sscanf(head, "HTTP/1.1 %d", &status) != 1 || *len > BODY_BYTES_MAX || have > *len)
		return err_set(e, -EPROTO, "%s does not speak HTTP", c->who);
	whole = calloc(1, *len + 1);
	if (!whole)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(whole, body, have);
	r = read_body(c, whole, have, *len, e);
	if (r)
		return r;
	if (status >= 400) {
		why = json_loadb(whole, *len, 0, NULL);
		return refused(c, why, e);
	}
	*out = TAKE(whole);
	return 0;
}

int client_receive(struct client *c, json_t **out, struct err *e)
{
	CLEANUP(free) char *text = NULL;
	json_auto_t *json = NULL;
	size_t len;
	int r = receive(c, &text, &len, e);

	if (r)
		return r;
	json = len ? json_loadb(text, len, JSON_DECODE_ANY, NULL) : NULL;
	if (len && !json)
		return err_set(e, -EPROTO, "%s answered with what is no JSON", c->who);
	if (out)
		*out = TAKE(json);
	return 0;
}

static int request(struct client *c, const char *method, const char *path, const json_t *body,
		   struct err *e)
{
	CLEANUP(free) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	CLEANUP(free) char *whole = NULL;
	const char *prefix = *path == '/' ? "" : "/api/v1/";
	int len;

	if (body && !text)
		return err_set(e, -ENOMEM, "out of memory");
	len = text ? asprintf(&whole,
			      "%s %s%s HTTP/1.1\r\nHost: localhost\r\n"
			      "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			      method, prefix, path, strlen(text), text)
		   : asprintf(&whole, "%s %s%s HTTP/1.1\r\nHost: localhost\r\n\r\n", method, prefix,
			      path);
	if (len < 0) {
		whole = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	return send_all(c, whole, (size_t)len, e);
}

int client_send(struct client *c, const char *path, struct err *e)
{
	return request(c, "GET", path, NULL, e);
}

int client_send_put(struct client *c, const char *path, const json_t *body, struct err *e)
{
	return request(c, "PUT", path, body, e);
}

static int ask(struct client *c, const char *method, const char *path, const json_t *body,
	       json_t **out, struct err *e)
{
	int r;

	if (out)
		*out = NULL;
	r = request(c, method, path, body, e);
	return r ? r : client_receive(c, out, e);
}

int client_get(struct client *c, const char *path, json_t **out, struct err *e)
{
	return ask(c, "GET", path, NULL, out, e);
}

int client_put(struct client *c, const char *path, const json_t *body, json_t **out, struct err *e)
{
	return ask(c, "PUT", path, body, out, e);
}

int client_get_text(struct client *c, const char *path, char **out, struct err *e)
{
	size_t len;
	int r = client_send(c, path, e);

	return r ? r : receive(c, out, &len, e);
}

int client_path(const char *given, char **path, struct err *e)
{
	CLEANUP(free) char *here = *given == '/' ? strdup("") : getcwd(NULL, 0);
	const char *slash = *given == '/' ? "" : "/";

	if (here && asprintf(path, "%s%s%s", here, slash, given) > 0)
		return 0;
	return err_set(e, -errno, "the path of %s cannot be found: %s", given, strerror(errno));
}
