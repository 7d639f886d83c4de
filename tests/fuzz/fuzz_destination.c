/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes over the first connection of a live migration, given to a destination that is whole
 * but for its VM. The input is a list of sections, u8 type, u16 length and payload each, which are
 * framed here with checksums that are right. One of type HELLO in front is what the source says of
 * itself; else it is something good. A later one comes over new connections, as when the source has
 * lost the others. Of the hand-over's messages the payload is the sentence, and
 * the rest is as it should be, unless 128 is added to the type.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/migrate/handover.h"
#include "../../src/migrate/hello.h"
#include "bits.h"
#include "cleanup.h"
#include "devices.h"
#include "guest_mem.h"
#include "log.h"
#include "migration.h"
#include "state_codec.h"
#include "tcp.h"
#include "vm.h"

enum { RAM_BYTES = 64 << 10, AS_IT_IS = 128, PATIENCE_MS = 200 };

static const char session[] = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

/* In memory: journals are synced. */
static char state_dir[] = "/dev/shm/fuzz_destination.XXXXXX";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* One migration; the source is on a thread of its own. */
struct world {
	struct vm vm;
	struct migration *m;
	struct state_view input;
	bool own_hello, token;
	struct channel talk, data;
};

static void require(bool what)
{
	if (!what)
		abort();
}

/* The destination */

static int build(void *arg, json_t *hello, bool stays, struct migration_place *place, struct err *e)
{
	struct world *w = arg;
	bool refused = json_is_true(json_object_get(hello, "refused"));

	json_decref(hello);
	place->vm = stays ? &w->vm : NULL;
	place->versions = devices_versions(&w->vm);
	place->blockers = json_array();
	/* Connections that belong to this hello do not come. */
	if (w->own_hello)
		migration_cancel(w->m);
	return refused ? err_set(e, -EINVAL, "it is not to be built") : 0;
}

static int load(void *arg, const struct state_buf *states, struct err *e)
{
	struct world *w = arg;

	return devices_load(&w->vm, states->data, states->len, e);
}

static void run(void *arg, bool paused)
{
	(void)arg;
	(void)paused;
}

static void look(void *arg)
{
	struct world *w = arg;

	migration_look(w->m, &w->vm);
}

static void over(void *arg, enum migration_end end, const char *why)
{
	(void)arg;
	require((end == MIGRATION_MOVED) == !why);
}

/* The source */

static void connect_one(const struct world *w, struct channel *ch)
{
	/* No port is to wait for what may still come. */
	const struct linger none = { .l_onoff = 1 };
	struct err e;

	*ch = channel_of(-1);
	require(!tcp_connect(migration_url(w->m), ch, &e));
	setsockopt(ch->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

static int introduce(struct channel *ch, const char *role, struct err *e)
{
	json_auto_t *hello = json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:{}}", "role", role,
				       "session", session, "vm", session, "streams", 1, "index", 0,
				       "generation", 1, "config");

	return hello_begin(ch, hello, e);
}

static int send_section(struct channel *ch, uint64_t type, const uint8_t *payload, size_t len,
			struct err *e)
{
	struct handover_message m = { .type = (enum section_type)type, .generation = 1 };
	struct iovec iov[2] = { [1] = { (void *)(uintptr_t)payload, len } };

	if (!handover_is_message((uint32_t)type))
		return section_write(ch, (enum section_type)(type % AS_IT_IS), iov, 2, e);
	memcpy(m.session, session, sizeof(session));
	memcpy(m.sentence, payload, MIN(len, (size_t)HANDOVER_SENTENCE_MAX));
	return handover_send(ch, &m, e);
}

/* All of it is zero.  The talk goes on when this is acknowledged, as a source's does. */
static int send_no_memory(struct channel *ch, struct err *e)
{
	static const uint8_t none[8];
	uint8_t ack[24];
	int r = introduce(ch, "data", e);

	if (!r)
		r = channel_read(ch, &(struct iovec){ ack, sizeof(ack) }, 1, e);
	return r ? r : send_section(ch, SECTION_DONE, none, sizeof(none), e);
}

/* Until the destination ends it. */
static void hear_out(struct channel *ch)
{
	uint8_t byte;
	struct err e;

	while (!channel_read(ch, &(struct iovec){ &byte, 1 }, 1, &e))
		;
}

/* The destination may wait for more than what comes then. */
static int come_again(struct world *w, const uint8_t *hello, size_t len, struct err *e)
{
	json_auto_t *answer = NULL;
	int r;

	/* What was not heard when this is closed is lost. */
	w->talk.silence_ms = PATIENCE_MS;
	if (w->token)
		hear_out(&w->talk);
	channel_close(&w->talk);
	channel_close(&w->data);
	connect_one(w, &w->talk);
	connect_one(w, &w->data);
	w->talk.silence_ms = w->data.silence_ms = PATIENCE_MS;
	r = section_write_magic(&w->talk, e);
	r = r ? r : send_section(&w->talk, SECTION_HELLO, hello, len, e);
	r = r ? r : hello_await_answer(&w->talk, &answer, e);
	return r || !memmem(hello, len, "again", 5) ? r : send_no_memory(&w->data, e);
}

/* Until the destination has enough of it. */
static void send_all(struct world *w)
{
	struct state_view v = w->input;
	const uint8_t *payload;
	uint64_t type, len;
	struct err e;
	int r = 0;

	while (!r && state_view_take_le(&v, 1, &type) && state_view_take_le(&v, 2, &len)) {
		len = MIN(len, v.len);
		state_view_take(&v, len, &payload);
		r = type == SECTION_HELLO && payload != w->input.data + 3
			    ? come_again(w, payload, len, &e)
			    : send_section(&w->talk, type, payload, len, &e);
		w->token |= type == SECTION_TOKEN;
	}
	shutdown(w->talk.fd, SHUT_WR);
}

static int begin(struct world *w, struct err *e)
{
	json_auto_t *answer = NULL;
	int r;

	if (w->own_hello)
		return section_write_magic(&w->talk, e);
	r = introduce(&w->talk, "begin", e);
	if (!r)
		r = hello_await_answer(&w->talk, &answer, e);
	return r ? r : send_no_memory(&w->data, e);
}

static void *source(void *arg)
{
	struct world *w = arg;
	struct err e;

	if (!begin(w, &e))
		send_all(w);
	shutdown(w->data.fd, SHUT_WR);
	hear_out(&w->talk);
	migration_cancel(w->m);
	return NULL;
}

static void remove_state_dir(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", state_dir);
	require(!system(command));
}

static void make_vm(struct world *w)
{
	const struct guest_mem_config memory = { .size_bytes = RAM_BYTES };
	struct err e;

	log_set_level(LOG_ERROR);
	require(mkdtemp(state_dir) && !setenv("GODWIT_STATE_DIR", state_dir, 1) &&
		!atexit(remove_state_dir));
	list_init(&w->vm.devices);
	list_init(&w->vm.disks);
	require(!guest_mem_new(&w->vm.mem, &memory, &e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct world w;
	const struct migration_config c = { .url = "tcp:127.0.0.1:0",
					    .control = { .build = build,
							 .load = load,
							 .run = run,
							 .look = look,
							 .over = over,
							 .arg = &w } };
	pthread_t thread;
	struct err e;

	if (!w.vm.mem)
		make_vm(&w);
	w.input = (struct state_view){ data, len };
	w.own_hello = len && data[0] == SECTION_HELLO;
	w.token = false;
	require(!migration_receive(&w.m, &c, &e));
	connect_one(&w, &w.talk);
	connect_one(&w, &w.data);
	require(!pthread_create(&thread, NULL, source, &w));
	pthread_join(thread, NULL);
	migration_free(w.m);
	channel_close(&w.talk);
	channel_close(&w.data);
	return 0;
}
