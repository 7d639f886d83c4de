/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines of "godwit run" and, if the first byte is odd, of "godwit restore": an argument on
 * each line. Behind an empty line is what is in the file of --config, whatever that is called; no
 * other file is looked at. Every argument is a time, too.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../src/cli/cli.h"
#include "../../src/cli/duration.h"
#include "bits.h"
#include "cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARGUMENTS_MAX = 64 };

static char config_path[32];

static void require(bool what)
{
	if (!what)
		abort();
}

/* Cuts the text into arguments; returns what is behind them. */
static char *split(char *text, char **argv, int *argc)
{
	char *line;

	while (*text && *text != '\n' && *argc < ARGUMENTS_MAX) {
		line = strsep(&text, "\n");
		argv[(*argc)++] = line;
		if (!text)
			return line + strlen(line);
	}
	return text;
}

/* The option --config names the one file that there is. */
static void replace_config(char **argv, int argc)
{
	static char whole[48];

	snprintf(whole, sizeof(whole), "--config=%s", config_path);
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--config=", 9))
			argv[i] = whole;
		if (!strcmp(argv[i - 1], "--config"))
			argv[i] = config_path;
	}
}

static void check_sentence(const struct err *e)
{
	json_auto_t *sentence = json_string(e->text);

	require(sentence && *e->text);
}

static void check_time(const char *text)
{
	json_int_t ms = -1;
	struct err e;

	if (duration_ms("--timeout", text, &ms, &e))
		check_sentence(&e);
	else
		require(ms >= 0);
}

/* What is accepted can be asked of an API. */
static void check_json(const struct run_options *o)
{
	CLEANUP(free) char *text = json_dumps(o->json, 0);

	require(text && json_is_object(o->json));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(fd) int fd = memfd_create("config", MFD_CLOEXEC);
	CLEANUP(free) char *text = strndup((const char *)data, size);
	char program[] = "godwit", *argv[ARGUMENTS_MAX + 2] = { program }, *rest;
	struct run_options o;
	int argc = 1, r;
	struct err e;

	require(text && fd >= 0);
	rest = split(text + !!*text, argv, &argc);
	require(write(fd, rest, strlen(rest)) == (ssize_t)strlen(rest));
	snprintf(config_path, sizeof(config_path), "/proc/self/fd/%d", fd);
	replace_config(argv, argc);
	for (int i = 1; i < argc; i++)
		check_time(argv[i]);
	r = (*text & 1 ? restore_options_parse : run_options_parse)(&o, argc, argv, &e);
	if (r)
		check_sentence(&e);
	else
		check_json(&o);
	run_options_free(&o);
	return 0;
}
