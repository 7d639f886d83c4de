/* SPDX-License-Identifier: Apache-2.0 */
/* Open taps that came for a network card. */
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "bits.h"
#include "check_main.h"
#include "config_of.h"
#include "log.h"
#include "own_network.h"

/* What else may be said of it. */
START_TEST(files_of_cards)
{
	static const struct {
		const char *card, *sentence;
		unsigned n;
	} refused[] = {
		{ "{'tap':'x'}", "open taps, and tap says something else", 1 },
		{ "{'fd':'3'}", "and fd says", 1 },
		{ "{'bridge':'br0'}", "and bridge says", 1 },
		{ "{'backend':'Passt'}", "and backend says", 1 },
		{ "{'num_queues':4}", "make it 2", 1 },
		{ "{'num_queues':2}", "make it 4", 2 },
		{ "{'num_queues':'2'}", "open file 1 of 1 is no open tap", 1 },
		{ "{}", "net: open file 1 of 2 is no open tap", 2 },
		{ "{}", "16 open files; it takes one for each pair of queues", 16 },
	};
	const json_t *added;
	struct config c;
	struct err e;
	int fd[16];

	ck_assert_int_eq(pipe(fd), 0);
	assert_loads(&c, "{" KERNEL "}");
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		json_auto_t *card = json_of(refused[i].card);

		ck_assert_int_eq(config_add(&c, "net", card, fd, refused[i].n, &added, &e),
				 -EINVAL);
		ck_assert_msg(strstr(e.text, refused[i].sentence), "%s", e.text);
	}
	ck_assert_uint_eq(json_array_size(json_object_get(c.json, "net")), 0);
	config_free(&c);
	ck_assert(!close(fd[0]) && !close(fd[1]));
}
END_TEST

static int open_tap(void)
{
	struct ifreq ifr = { .ifr_name = "t0",
			     .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE };
	int fd = open("/dev/net/tun", O_RDWR);

	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

START_TEST(files_live_as_long_as_their_card)
{
	json_auto_t *card = json_of("{'tap':null,'fds':[7,8],'ip':'10.0.0.1','mac':null}");
	const json_t *added;
	json_t *options;
	char text[32];
	struct config c;
	struct err e;
	int fd[2];

	ck_assert(own_network());
	log_set_level(LOG_ERROR);
	assert_loads(&c, "{" KERNEL ",'net':[{'tap':'x'}]}");
	for (unsigned life = 0; life < 2; life++) {
		fd[0] = open_tap();
		fd[1] = open_tap();
		snprintf(text, sizeof(text), "%d:%d", fd[0], fd[1]);
		ck_assert_int_eq(config_add(&c, "net", card, fd, 2, &added, &e), 0);
		ck_assert_int_eq(json_integer_value(json_object_get(added, "num_queues")), 4);
		ck_assert_ptr_null(json_object_get(added, "fd"));
		ck_assert_str_eq(json_string_value(json_object_get(added, "ip")), "0.0.0.0");
		ck_assert_int_eq(config_device_options(&c, added, &options, &e), 0);
		ck_assert_str_eq(json_string_value(json_object_get(options, "fd")), text);
		json_decref(options);
		ck_assert_uint_ne(if_nametoindex("t0"), 0);
		if (life)
			config_free(&c);
		else
			ck_assert(config_remove(&c, "net1"));
		ck_assert_uint_eq(if_nametoindex("t0"), 0);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("config_files");
	TCase *t = tcase_create("config_files");

	tcase_add_test(t, files_of_cards);
	if (own_network())
		tcase_add_test(t, files_live_as_long_as_their_card);
	else
		printf("skipped: files of taps, as taps are not allowed here\n");
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
