/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control API: the REST API of Cloud Hypervisor on a Unix socket, with additions.  A thread of
 * its own, "_api", speaks HTTP and JSON; what concerns the VM is posted to main, answered there and
 * posted back, so that no client can hold up the machine, and a VM that is being built no client
 * that asks for something else.
 */
#ifndef API_H
#define API_H

#include "caller.h"
#include "vmm.h"

/* Of the API that this one follows; our own version stands beside it. */
#define API_VERSION "51.0.0"

struct api;

struct api_config {
	const char *path; /* where to listen; or NULL, and */
	int fd; /* a socket that listens already, the server's from then on */
	struct caller_group group; /* is let in, beside our own user and root */
	const char *metrics_path; /* where there is only /metrics; NULL: nowhere */
	struct caller_group metrics_group;
	const char *event_path; /* the event monitor's; or NULL, and */
	int event_fd; /* -1: there is none */
	struct audit *audit; /* the API's from then on to write to; NULL: none */
	struct vmm *vmm;
	struct loop *loop; /* the API's own thread runs it */
	struct loop *main_loop;
	struct events *events;
};

int api_new(struct api **, const struct api_config *, struct err *);
/* For vmm_hooks.moved: takes over what the audit log is to say.  Main. */
void api_note(struct api *, json_t *line);
/* For vmm_hooks.away.  NULL is fine. */
void api_away(struct api *, bool away);
/* Once main's loop has ended, before vmm_free(): requests under way are not answered any more.
 * NULL is fine. */
void api_free(struct api *);

#endif
