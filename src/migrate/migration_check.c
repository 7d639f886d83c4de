/* SPDX-License-Identifier: Apache-2.0 */
#include "migration_check.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bits.h"
#include "check_estimate.h"
#include "cleanup.h"
#include "devices.h"
#include "hello.h"
#include "migration_internal.h"
#include "page_sample.h"
#include "tcp.h"
#include "thread.h"
#include "trial.h"
#include "vm.h"

enum { BETWEEN_LOOKS_MS = 1000 };

struct migration_check {
	struct migration_check_config c;
	char *url, *vm_hello;
	struct tls_credentials *tls;
	pthread_t thread;
	int cancel_fd;
	/* The thread's until done(). */
	char host[65];
	uint64_t rate; /* that was measured */
	struct check_estimate estimate;
	int result;
	struct err e;
};

static int take_answer(struct migration_check *k, const json_t *hello, const json_t *answer,
		       struct err *e)
{
	const json_t *versions = json_object_get(answer, "versions");
	char refused[400];

	hello_copy_text(answer, "refused", refused, sizeof(refused));
	if (*refused)
		return err_set(e, -ECONNREFUSED, "the destination refuses: %s", refused);
	hello_copy_text(answer, "host", k->host, sizeof(k->host));
	hello_append_sentences(answer, "blockers", k->c.blockers);
	/* A destination that could not build the VM does not say them. */
	if (versions)
		devices_check_versions(json_object_get(hello, "records"), versions, k->c.blockers);
	return 0;
}

static int exchange_hello(struct migration_check *k, struct channel *ch, struct err *e)
{
	json_auto_t *hello = json_loads(k->vm_hello, 0, NULL);
	json_auto_t *answer = NULL;
	int r;

	json_object_set_new(hello, "role", json_string("check"));
	json_object_set_new(hello, "godwit", json_string(GODWIT_VERSION));
	r = hello_begin(ch, hello, e);
	ch->silence_ms = MIGRATION_BUILD_MS;
	if (!r)
		r = hello_await_answer(ch, &answer, e);
	ch->silence_ms = MIGRATION_SILENCE_MS;
	return r ? r : take_answer(k, hello, answer, e);
}

static int ask(struct migration_check *k, struct err *e)
{
	struct channel ch = { .fd = -1,
			      .cancel_fd = k->cancel_fd,
			      .silence_ms = MIGRATION_SILENCE_MS };
	char host[TCP_HOST_MAX];
	int r = tcp_host(k->url, host, e);

	if (!r)
		r = migration_connect(&ch, k->url, k->tls, host, e);
	if (!r)
		r = exchange_hello(k, &ch, e);
	if (!r)
		r = trial_send(&ch, &k->rate, e);
	channel_close(&ch);
	return r;
}

static int watch_guest(struct migration_check *k, struct err *e)
{
	struct page_sample *s = page_sample_new(k->c.vm->mem);
	struct pollfd p = { .fd = k->cancel_fd, .events = POLLIN };
	struct memory_writes writes;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	page_sample_look(s, PAGE_WINDOW_SHORT);
	poll(&p, 1, BETWEEN_LOOKS_MS);
	page_sample_look(s, PAGE_WINDOW_SHORT);
	page_sample_find(s, &writes);
	page_sample_free(s);
	k->estimate.bytes = writes.bytes;
	k->estimate.written = writes.rate;
	return 0;
}

static void *check_main(void *arg)
{
	struct migration_check *k = arg;
	struct check_estimate *c = &k->estimate;
	const struct migration_goals *goals = &k->c.goals;

	k->result = ask(k, &k->e);
	if (!k->result)
		k->result = watch_guest(k, &k->e);
	c->rate = k->rate;
	check_estimate(c, goals);
	if (!k->result && !c->converges)
		json_array_append_new(k->c.blockers, check_estimate_why(c, goals));
	k->c.done(k->c.arg);
	return NULL;
}

json_t *migration_check_result(struct migration_check *k, struct err *e)
{
	json_t *json;

	if (k->result) {
		*e = k->e;
		return NULL;
	}
	json = json_pack("{s:b, s:O, s:s}", "migratable", !json_array_size(k->c.blockers),
			 "blockers", k->c.blockers, "host", k->host);
	json_object_update_new(json, check_estimate_json(&k->estimate));
	return json;
}

uint64_t migration_check_rate(const struct migration_check *k)
{
	return k->rate;
}

/* All but the thread. */
static void discard(struct migration_check *k)
{
	if (k->cancel_fd >= 0)
		close(k->cancel_fd);
	tls_credentials_free(k->tls);
	json_decref(k->c.blockers);
	free(k->url);
	free(k->vm_hello);
	free(k);
}

int migration_check_new(struct migration_check **out, const struct migration_check_config *c,
			struct err *e)
{
	struct migration_check *k = calloc(1, sizeof(*k));
	int r;

	if (!k) {
		json_decref(c->blockers);
		return err_set(e, -ENOMEM, "out of memory");
	}
	k->c = *c;
	k->url = strdup(c->url);
	k->vm_hello = strdup(c->vm_hello);
	k->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!k->url || !k->vm_hello || k->cancel_fd < 0)
		r = err_set(e, -ENOMEM, "out of memory, or of open files");
	else
		r = migration_read_credentials(&k->tls, c->tls_dir, TLS_CLIENT, e);
	if (!r) {
		r = thread_new(&k->thread, "_check", SANDBOX_MAIN, 0, check_main, k);
		if (r)
			err_set(e, r, "cannot start a thread: %s", strerror(-r));
	}
	if (!r)
		*out = k;
	else
		discard(k);
	return r;
}

void migration_check_free(struct migration_check *k)
{
	if (!k)
		return;
	eventfd_write(k->cancel_fd, 1);
	pthread_join(k->thread, NULL);
	discard(k);
}
