/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "bits.h"
#include "handover.h"
#include "uuid.h"

/* The payload: uuid, arbiter, generation, sentence. */
enum { UUID_BYTES = 36, AT_ARBITER = 36, AT_GENERATION = 40, AT_SENTENCE = 48 };

static const char *const names[] = {
	[SECTION_OFFER - SECTION_OFFER] = "OFFER",
	[SECTION_SEEN - SECTION_OFFER] = "SEEN",
	[SECTION_SEAL - SECTION_OFFER] = "SEAL",
	[SECTION_READY - SECTION_OFFER] = "READY",
	[SECTION_TOKEN - SECTION_OFFER] = "TOKEN",
	[SECTION_ACCEPTED - SECTION_OFFER] = "ACCEPTED",
	[SECTION_REFUSED - SECTION_OFFER] = "REFUSED",
	[SECTION_CANCEL - SECTION_OFFER] = "CANCEL",
	[SECTION_ASK - SECTION_OFFER] = "ASK",
};

const char *handover_message_name(enum section_type type)
{
	return handover_is_message(type) ? names[type - SECTION_OFFER] : "another section";
}

int handover_send(struct channel *ch, const struct handover_message *m, struct err *e)
{
	uint8_t head[AT_SENTENCE];
	struct iovec iov[3] = {
		[1] = { head, sizeof(head) },
		[2] = { (void *)m->sentence, strnlen(m->sentence, HANDOVER_SENTENCE_MAX) },
	};

	memcpy(head, m->session, UUID_BYTES);
	put_le(head + AT_ARBITER, 4, m->arbiter);
	put_le(head + AT_GENERATION, 8, m->generation);
	return section_write(ch, m->type, iov, ARRAY_SIZE(iov), e);
}

/* It is shown on terminals. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

int handover_receive(struct section *s, struct handover_message *m, struct err *e)
{
	struct handover_message in = { .type = s->type };
	uint8_t head[AT_SENTENCE];
	int r;

	if (!handover_is_message(s->type))
		return err_set(e, -EBADMSG,
			       "a section of type %u came where a hand-over's message belongs",
			       s->type);
	if (s->left < sizeof(head) || s->left > sizeof(head) + HANDOVER_SENTENCE_MAX)
		return err_set(e, -EBADMSG, "%s has a wrong length",
			       handover_message_name(s->type));
	r = section_read(s, head, sizeof(head), e);
	if (!r)
		r = section_read(s, in.sentence, s->left, e);
	if (!r)
		r = section_end(s, e);
	if (r)
		return r;
	memcpy(in.session, head, UUID_BYTES);
	in.arbiter = (enum arbiter)get_le(head + AT_ARBITER, 4);
	in.generation = get_le(head + AT_GENERATION, 8);
	if (!uuid_is(in.session) || get_le(head + AT_ARBITER, 4) > ARBITER_LEASE)
		return err_set(e, -EBADMSG, "%s is damaged", handover_message_name(s->type));
	make_printable(in.sentence);
	*m = in;
	return 0;
}

int handover_wait(const struct channel *ch, int timeout_ms)
{
	struct pollfd p[2] = { { .fd = ch->fd, .events = POLLIN },
			       { .fd = ch->cancel_fd, .events = POLLIN } };
	bool buffered = channel_has_buffered(ch);
	int n;

	do
		n = poll(p, ARRAY_SIZE(p), buffered ? 0 : timeout_ms);
	while (n < 0 && errno == EINTR);
	if (p[1].revents)
		return -ECANCELED;
	return n > 0 || buffered;
}

void handover_say(struct handover *h, enum section_type type, const char *sentence)
{
	struct handover_message m = { .type = type,
				      .generation = h->id.generation,
				      .arbiter = type == SECTION_SEEN ? h->arbiter : ARBITER_NONE };
	struct err e;

	memcpy(m.session, h->id.session, sizeof(m.session));
	snprintf(m.sentence, sizeof(m.sentence), "%s", sentence);
	if (h->connected && handover_send(h->ch, &m, &e))
		h->connected = false;
}

/* A connection that brings what does not belong there is as good as none. */
static int lose(struct handover *h, int r)
{
	if (!r || r == -ECANCELED)
		return r;
	h->connected = false;
	return -ENOTCONN;
}

int handover_take(struct handover *h, struct section *s, struct handover_message *m, struct err *e)
{
	int r = handover_receive(s, m, e);

	if (!r && (strcmp(m->session, h->id.session) || m->generation != h->id.generation))
		r = err_set(e, -EBADMSG, "%s is of another migration",
			    handover_message_name(m->type));
	return lose(h, r);
}

int handover_hear(struct handover *h, struct handover_message *m, struct err *e)
{
	struct section s;
	int r;

	if (!h->connected)
		return err_set(e, -ENOTCONN, "the connection is lost");
	r = section_begin(&s, h->ch, e);
	return r ? lose(h, r) : handover_take(h, &s, m, e);
}

int handover_journal(struct handover *h, enum journal_state state, struct err *e)
{
	struct journal_entry entry = { .state = state,
				       .generation = h->id.generation,
				       .arbiter = h->arbiter };

	/* As in the records: a new owner counts one more. */
	entry.generation += state == JOURNAL_ACCEPTED;
	memcpy(entry.session, h->id.session, sizeof(entry.session));
	memcpy(entry.peer, h->peer, sizeof(entry.peer));
	return h->ops->journal_write(h->ctx, &entry, e);
}
