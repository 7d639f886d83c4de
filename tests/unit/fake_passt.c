/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What test_net_passt starts as "passt".  FAKE_PASST says what it does once it has read the
 * greeting; FAKE_PASST_FILE is what that needs.  Who sends it nonsense sees it die with a
 * sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"

enum {
	SOCKET = 3,
	UNIT_MAX = 4 + 65535,
	FRAME_MIN = 14,
	ETHERTYPE = 0x88b5, /* the test's frames, and the greeting */
	NUMBER_AT = 14,
	FLOOD = 1000,
	PATTERN_AT = 18,
};

static uint8_t unit[UNIT_MAX]; /* a frame after its length */

static void die(const char *why)
{
	fprintf(stderr, "fake passt: hello\nfake passt: %s\n", why);
	exit(EXIT_FAILURE);
}

static void read_all(void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(SOCKET, (char *)buf + done, len - done);

		if (!n && !done)
			exit(EXIT_SUCCESS);
		if (n <= 0)
			die("the stream ends within a frame");
		done += (size_t)n;
	}
}

static void write_all(const void *buf, size_t len, size_t at_once)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(SOCKET, (const char *)buf + done, MIN(at_once, len - done));

		if (n < 0)
			exit(EXIT_SUCCESS);
		done += (size_t)n;
	}
}

/* The bytes of the frame read next, with its length. */
static size_t read_unit(void)
{
	uint32_t len;

	read_all(unit, sizeof(len));
	memcpy(&len, unit, sizeof(len));
	len = be32toh(len);
	if (len < FRAME_MIN || len > UNIT_MAX - sizeof(len))
		die("a frame of an impossible length");
	read_all(unit + sizeof(len), len);
	if (unit[sizeof(len) + 12] != ETHERTYPE >> 8 ||
	    unit[sizeof(len) + 13] != (ETHERTYPE & 0xff))
		die("a frame that nobody sent");
	return sizeof(len) + len;
}

static void echo(size_t at_once)
{
	while (1)
		write_all(unit, read_unit(), at_once);
}

/* As the test makes them (net_guest.h). */
static void flood(void)
{
	read_unit();
	for (uint32_t n = 0; n < FLOOD; n++) {
		uint32_t len = PATTERN_AT + n * 37 % 900, big = htobe32(len), number = htobe32(n);

		memcpy(unit, &big, sizeof(big));
		memcpy(unit + 4 + NUMBER_AT, &number, sizeof(number));
		for (uint32_t i = PATTERN_AT; i < len; i++)
			unit[4 + i] = (uint8_t)(n * 7 + i);
		write_all(unit, 4 + len, SIZE_MAX);
	}
}

static void nonsense(uint32_t len)
{
	read_unit();
	len = htobe32(len);
	write_all(&len, sizeof(len), SIZE_MAX);
}

/* Whoever opens the pipe lets it read. */
static void stall(const char *pipe)
{
	if (open(pipe, O_RDONLY) < 0)
		die(strerror(errno));
}

static void write_arguments(char **argv, const char *path)
{
	FILE *f = fopen(path, "we");

	for (; f && *argv; argv++)
		fprintf(f, "%s ", *argv);
	if (!f || fclose(f))
		die(path);
}

int main(int argc, char **argv)
{
	const char *what = getenv("FAKE_PASST"), *file = getenv("FAKE_PASST_FILE");

	if (!argc || !what || !strcmp(what, "words"))
		die("the words of a program that cannot start");
	if (!strcmp(what, "silent"))
		exit(EXIT_FAILURE);
	if (!strcmp(what, "arguments"))
		write_arguments(argv, file);
	if (!strcmp(what, "late"))
		usleep(200000);
	if (!strcmp(what, "deaf"))
		signal(SIGTERM, SIG_IGN);
	read_unit();
	if (!strcmp(what, "stall"))
		stall(file);
	else if (!strcmp(what, "flood"))
		flood();
	else if (!strcmp(what, "short"))
		nonsense(5);
	else if (!strcmp(what, "long"))
		nonsense(70000);
	else if (!strcmp(what, "die") && read_unit())
		die("tired of this network");
	else if (!strcmp(what, "deaf") && read_unit())
		while (1)
			pause();
	echo(strcmp(what, "chop") ? SIZE_MAX : 1);
}
