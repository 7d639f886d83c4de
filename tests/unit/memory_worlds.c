/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_worlds SEED: an hour of memory_world.h for hosts of several sizes and each policy, a line
 * each: "SHARE POLICY MiBxS STALLS", SHARE: percent of what guests may have that the host has.
 */
#include <stdio.h>

#include "bits.h"
#include "memory_world.h"

static const struct {
	const char *name;
	world_policy policy;
	int every_s;
} policies[] = {
	{ "ours", world_ours, MEMORY_BEAT_S },
	{ "published", world_published, 10 },
	{ "published-often", world_published, MEMORY_BEAT_S },
};

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	for (int share = 50; share <= 80; share += 10)
		for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
			struct world_ours ours = { .reserve = 0.15, .margin = 0.05 };
			struct world_result r;
			struct world w;

			world_new(&w, strtoull(argv[1], NULL, 10), share / 100.0);
			r = world_run(&w, WORLD_HOUR_S, policies[i].every_s, policies[i].policy,
				      &ours);
			printf("%d %s %.0f %.0f\n", share, policies[i].name, r.reclaimed, r.stalls);
		}
	return 0;
}
