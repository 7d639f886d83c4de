/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of a control socket: of a running VM, found by its name, or of another process whose
 * API is of the same kind.  One request at a time, as
 * src/api/ answers them: HTTP/1.1 with Content-Length.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <jansson.h>
#include <stdint.h>

#include "err.h"

struct client {
	int fd; /* -1: none */
	char name[65]; /* of the VM */
	char who[80]; /* in sentences: VM "web" */
};

/* The sentence for a name that no VM has: it says which are there.  Returns -ENOENT. */
int client_refuse_name(const char *name, struct err *);

/* -ENOENT: no such VM runs. */
int client_open(struct client *, const char *name, struct err *);
/* A process that is no VM, by its socket in the directory where those of the user's VMs are; who:
 * in sentences.  -ENOENT, -ECONNREFUSED: nobody is there. */
int client_open_other(struct client *, const char *socket, const char *who, struct err *);
void client_close(struct client *);
/* From now on an answer has this long to begin, and to go on; then it is -ETIMEDOUT. */
void client_set_limit(struct client *, unsigned ms);

/* A path as a VM's process sees it, which has a working directory of its own. */
int client_path(const char *given, char **path, struct err *);

/*
 * Ask; path is behind /api/v1/.  body NULL: none.  *out, unless NULL, gets the answer, a new
 * reference or NULL if there is nothing to say.  A refusal is -EREMOTEIO with its sentence;
 * -EPIPE: who was asked is gone.
 */
int client_get(struct client *, const char *path, json_t **out, struct err *);
int client_put(struct client *, const char *path, const json_t *body, json_t **out, struct err *);
/* An answer that is not JSON, from a path of its own such as "/metrics"; *out is to be freed. */
int client_get_text(struct client *, const char *path, char **out, struct err *);

/* client_get() and client_put() in two halves, for who does something else meanwhile: what is to be
 * received can be as soon as fd is readable. */
int client_send(struct client *, const char *path, struct err *);
int client_send_put(struct client *, const char *path, const json_t *body, struct err *);
int client_receive(struct client *, json_t **out, struct err *);

#endif
