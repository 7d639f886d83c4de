/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end of a connection. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "peers_internal.h"
#include "planner/names.h"
#include "record.h"

json_t *hello_message(const struct agent *a)
{
	return json_pack("{s:{s:s, s:i, s:s, s:s}}", "hello", "id", a->options->id, "version",
			 PEERS_PROTOCOL, "listen", a->peers->listen, "run", a->peers->run);
}

const char *peer_sentence(const char *why)
{
	return why && record_is_text(why, sizeof(((struct err *)0)->text)) ? why
									   : "it does not say why";
}

bool peer_address_is_valid(const char *text)
{
	char url[TCP_URL_MAX], host[TCP_HOST_MAX];
	struct err ignored;

	if (!text || !*text || !record_is_text(text, PEER_ADDRESS_MAX))
		return false;
	snprintf(url, sizeof(url), "tcp:%s", text);
	return !tcp_host(url, host, &ignored);
}

int hello_read(const json_t *message, struct hello *out, struct err *e)
{
	const json_t *hello = json_object_get(message, "hello");
	const char *id = json_string_value(json_object_get(hello, "id"));
	const char *listen = json_string_value(json_object_get(hello, "listen"));
	const char *run = json_string_value(json_object_get(hello, "run"));
	json_int_t version = json_integer_value(json_object_get(hello, "version"));

	if (!id || !name_is_valid(id) || !version)
		return err_set(e, -EPROTO, "it does not say who it is as agents do");
	if (version != PEERS_PROTOCOL)
		return err_set(e, -EPROTO,
			       "the agent of %s speaks version %" JSON_INTEGER_FORMAT
			       ", this one %d; install the same on both hosts",
			       id, version, PEERS_PROTOCOL);
	if (!peer_address_is_valid(listen))
		return err_set(e, -EPROTO, "the agent of %s says no address where it listens", id);
	snprintf(out->id, sizeof(out->id), "%s", id);
	snprintf(out->listen, sizeof(out->listen), "%s", listen);
	snprintf(out->run, sizeof(out->run), "%s", run ? run : "");
	return 0;
}

/* The end of a part of a name: "CN=host1,O=Example"; \ takes the next letter as it is. */
static const char *end_of_part(const char *p)
{
	while (*p && *p != ',' && *p != '+')
		p += *p == '\\' && p[1] ? 2 : 1;
	return p;
}

bool hello_is_certified(const char *identity, const char *id)
{
	size_t len = strlen(id);
	unsigned names = 0, same = 0;

	for (const char *end; *identity; identity = *end ? end + 1 : end) {
		end = end_of_part(identity);
		if (strncmp(identity, "CN=", 3))
			continue;
		names++;
		same += (size_t)(end - identity) == len + 3 && !strncmp(identity + 3, id, len);
	}
	return names == 1 && same == 1;
}

static void said(struct peer *p, const struct hello *h)
{
	bool moved = strcmp(p->said, h->listen) && strcmp(p->address, h->listen) && !p->given;

	strcpy(p->said, h->listen);
	if (moved) {
		strcpy(p->address, h->listen);
		peers_keep(p->agent);
	}
}

int hello_meet(struct agent *a, const struct hello *h, struct peer **out, struct err *e)
{
	struct peer *p = peer_of(a->peers, h->id);

	if (!strcmp(h->id, a->options->id) && !strcmp(h->run, a->peers->run))
		return err_set(e, -EALREADY, "it is this agent itself");
	if (!strcmp(h->id, a->options->id))
		return err_set(e, -EINVAL,
			       "the agent that listens at %s has the id of this one, \"%s\"; give "
			       "each its own with --id",
			       h->listen, h->id);
	if (p && (p->up || p->accepted) && strcmp(p->said, h->listen))
		return err_set(e, -EINVAL,
			       "two agents have the id \"%s\", at %s and at %s; give each its own "
			       "with --id",
			       h->id, p->said, h->listen);
	p = p ? p : peer_know(a, h->id, h->listen);
	if (!p)
		return err_set(e, -EINVAL, "there are too many agents to know that of %s", h->id);
	said(p, h);
	*out = p;
	return 0;
}

int hello_meet_dialled(struct peer *p, const struct hello *h, struct err *e)
{
	struct peer *known = peer_of(p->agent->peers, h->id);
	int r;

	if (*p->id && strcmp(p->id, h->id))
		return err_set(e, -EINVAL, "the agent of %s answers there, and not that of %s",
			       h->id, p->id);
	if (!known && strcmp(h->id, p->agent->options->id)) {
		strcpy(p->id, h->id);
		peers_keep(p->agent);
	}
	r = hello_meet(p->agent, h, &known, e);
	p->twin = r == -EALREADY;
	if (r || known == p)
		return r;
	/* This address works; that by which it is known may not. */
	if (!known->up) {
		strcpy(known->address, p->address);
		peers_keep(p->agent);
	}
	known->given |= p->given;
	known->now = true;
	p->twin = true;
	peers_wake(p->agent->peers);
	return -EALREADY;
}
