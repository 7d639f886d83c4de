/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open taps that somebody passed for a network card.  An open file is no text: its number says
 * nothing to who reads the JSON, and nothing in another process.  So they are kept beside the
 * JSON, by the card's id and for as long as the card is configured, which is longer than a machine
 * lives.  A card under construction is told their numbers as its option fd, like those of files
 * that were inherited, and uses duplicates: it need not know who owns them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bits.h"
#include "classes.h"
#include "cleanup.h"
#include "config_tables.h"
#include "log.h"
#include "tap.h"

struct config_files {
	struct config_files *next;
	char *id; /* the card's */
	unsigned n;
	int fd[TAP_PAIRS_MAX]; /* in the order of its pairs */
};

static bool is_given(const json_t *in, const char *key)
{
	const json_t *v = json_object_get(in, key);

	return v && !json_is_null(v);
}

/* A card has one other side. */
static int check_choice(const json_t *in, struct err *e)
{
	static const struct {
		const char *key, *fits;
	} choices[] = { { "tap", NULL }, { "fd", NULL }, { "bridge", NULL }, { "backend", "Tap" } };

	for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
		const char *text = json_string_value(json_object_get(in, choices[i].key));

		if (!is_given(in, choices[i].key) ||
		    (text && choices[i].fits && !strcasecmp(text, choices[i].fits)))
			continue;
		return err_set(e, -EINVAL,
			       "net: the request came with open taps, and %s says something else; "
			       "choose one of them and leave the other out",
			       choices[i].key);
	}
	return 0;
}

static int check_count(const json_t *in, unsigned n, struct err *e)
{
	const json_t *queues = json_object_get(in, "num_queues");

	if (n > TAP_PAIRS_MAX)
		return err_set(e, -EINVAL,
			       "net: the request came with %u open files; it takes one for each "
			       "pair of queues, and a card has up to %d",
			       n, TAP_PAIRS_MAX);
	/* What is no number is refused as such later. */
	if (json_is_integer(queues) && json_integer_value(queues) != 2 * (json_int_t)n)
		return err_set(e, -EINVAL,
			       "net: num_queues=%lld does not fit the %u open files that the "
			       "request came with: it is two for each; make it %u or leave it out",
			       (long long)json_integer_value(queues), n, 2 * n);
	return 0;
}

/* Clients that passed a tap still send the address that it would have been given; and some the
 * numbers that its files have with them. */
static const char *const of_its_opener[] = { "ip", "mask", "host_mac", "fds" };

static void warn_of_what_its_opener_does(const json_t *in)
{
	for (size_t i = 0; i < ARRAY_SIZE(of_its_opener); i++)
		if (is_given(in, of_its_opener[i]))
			log_warn("net: %s is ignored: the tap is as its opener set it up",
				 of_its_opener[i]);
}

static void drop_what_its_opener_does(json_t *card)
{
	for (size_t i = 0; i < ARRAY_SIZE(of_its_opener); i++)
		json_object_del(card, of_its_opener[i]);
}

int config_files_check(const json_t *in, const int *fd, unsigned n, json_t **card, struct err *e)
{
	json_auto_t *copy = json_copy((json_t *)in);
	int r = check_choice(in, e);
	char what[48];

	if (!r)
		r = check_count(in, n, e);
	for (unsigned i = 0; !r && i < n; i++) {
		snprintf(what, sizeof(what), "net: open file %u of %u", i + 1, n);
		r = tap_check_fd(fd[i], what, e);
	}
	if (r)
		return r;
	warn_of_what_its_opener_does(in);
	drop_what_its_opener_does(copy);
	if (!copy || (!is_given(copy, "num_queues") &&
		      json_object_set_new(copy, "num_queues", json_integer(2 * n))))
		return err_set(e, -ENOMEM, "configuration: out of memory");
	*card = json_incref(copy);
	return 0;
}

int config_files_take(struct config *c, const char *id, const int *fd, unsigned n, struct err *e)
{
	struct config_files *f = calloc(1, sizeof(*f));

	if (f)
		f->id = strdup(id);
	if (!f || !f->id) {
		free(f);
		return err_set(e, -ENOMEM, "configuration: out of memory");
	}
	f->n = n;
	memcpy(f->fd, fd, n * sizeof(*fd));
	f->next = c->files;
	c->files = f;
	return 0;
}

/* The link to the files of this card, or to where they would be. */
static struct config_files **find(struct config_files **at, const char *id)
{
	while (*at && strcmp((*at)->id, id))
		at = &(*at)->next;
	return at;
}

int config_pass_files(struct config *c, const char *id, const int *fd, unsigned n, struct err *e)
{
	json_t *cards = json_object_get(c->json, "net"), *card = NULL;
	json_auto_t *checked = NULL, *complete = NULL;
	size_t i;

	json_array_foreach(cards, i, card)
	{
		if (!strcmp(json_string_value(json_object_get(card, "id")), id))
			break;
	}
	if (i == json_array_size(cards))
		return err_set(e, -EINVAL, "net_fds: there is no network card \"%.64s\"", id);
	if (*find(&c->files, id))
		return err_set(e, -EINVAL, "net_fds: \"%.64s\" is there twice", id);
	drop_what_its_opener_does(card); /* which nobody asked for with these files */
	if (config_files_check(card, fd, n, &checked, e))
		return -EINVAL;
	complete = option_complete(virtio_net_class.options, checked);
	if (json_array_set(cards, i, complete))
		return err_set(e, -ENOMEM, "configuration: out of memory");
	return config_files_take(c, id, fd, n, e);
}

static void files_free(struct config_files *f)
{
	for (unsigned i = 0; i < f->n; i++)
		close(f->fd[i]);
	free(f->id);
	free(f);
}

void config_files_drop(struct config *c, const char *id)
{
	struct config_files **at = find(&c->files, id), *f = *at;

	if (!f)
		return;
	*at = f->next;
	files_free(f);
}

void config_files_free(struct config *c)
{
	while (c->files)
		config_files_drop(c, c->files->id);
}

int config_device_options(const struct config *c, const json_t *device, json_t **options,
			  struct err *e)
{
	const char *id = json_string_value(json_object_get(device, "id"));
	struct config_files *files = c->files;
	const struct config_files *f = *find(&files, id);
	char text[TAP_PAIRS_MAX * sizeof("2147483647")];
	size_t len = 0;

	if (!f) {
		*options = json_incref((json_t *)device);
		return 0;
	}
	for (unsigned i = 0; i < f->n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d", i ? ":" : "",
					f->fd[i]);
	*options = json_copy((json_t *)device);
	if (json_object_set_new(*options, "fd", json_string(text))) {
		json_decref(*options);
		return err_set(e, -ENOMEM, "configuration: out of memory");
	}
	return 0;
}
