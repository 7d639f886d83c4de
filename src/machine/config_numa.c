/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes of a guest: which of its vCPUs and how much of its memory each has. */
#include <errno.h>
#include <string.h>

#include "bits.h"
#include "config_tables.h"

enum { DISTANCE_LOCAL = 10, DISTANCE_REMOTE = 20, DISTANCE_MAX = 254 };

struct distance {
	uint32_t destination;
	uint8_t distance;
};

static const struct option distances[] = {
	OPTION(struct distance, destination, .required = true, .max = CONFIG_NODES_MAX - 1),
	OPTION(struct distance, distance, .required = true, .min = DISTANCE_LOCAL,
	       .max = DISTANCE_MAX),
};
static const struct option_table distance_options = OPTION_TABLE(distances);

static const struct option keys[] = {
	OPTION(struct config_node, guest_numa_id, .required = true, .max = CONFIG_NODES_MAX - 1,
	       .help = "its number, from 0 on"),
	OPTION_NUMBERED(struct config_node, cpus, .max = CONFIG_VCPUS_MAX - 1,
			.help = "its vCPUs; those of no node are node 0's"),
	OPTION_LISTED(struct config_node, distances, &distance_options,
		      .help = "how far it is to other nodes, 10 being itself; else 20"),
	OPTION_SIZED(struct config_node, memory,
		     .help = "what it has of the RAM; else a part of the rest"),
	OPTION_REFUSE("memory_zones", .help = "use memory"),
	OPTION_REFUSE("pci_segments"),
};
const struct option_table config_numa_options = OPTION_TABLE(keys);

/* The nodes by number, with all of them there. */
static int take_nodes(struct config *c, bool sized[CONFIG_NODES_MAX], struct err *e)
{
	const json_t *nodes = json_object_get(c->json, "numa"), *each;
	bool seen[CONFIG_NODES_MAX] = { false };
	size_t i;

	if (json_array_size(nodes) > CONFIG_NODES_MAX)
		return err_set(e, -EINVAL, "numa: a guest can have up to %d nodes",
			       CONFIG_NODES_MAX);
	c->numa.n = (unsigned)json_array_size(nodes);
	json_array_foreach(nodes, i, each)
	{
		struct config_node node;
		int r = option_load(&config_numa_options, "numa", each, &node, e);

		if (r)
			return r;
		if (node.guest_numa_id >= c->numa.n || seen[node.guest_numa_id])
			return err_set(
				e, -EINVAL,
				"numa: guest_numa_id %u is %s; number the %u nodes from 0 on",
				node.guest_numa_id,
				node.guest_numa_id < c->numa.n ? "there twice" : "too high",
				c->numa.n);
		seen[node.guest_numa_id] = true;
		sized[node.guest_numa_id] = json_object_get(each, "memory");
		c->numa.node[node.guest_numa_id] = node;
	}
	return 0;
}

static int check_cpus(const struct config *c, struct err *e)
{
	bool seen[CONFIG_VCPUS_MAX] = { false };

	for (unsigned node = 0; node < c->numa.n; node++) {
		const json_t *each;
		size_t i;

		json_array_foreach(c->numa.node[node].cpus, i, each)
		{
			unsigned cpu = (unsigned)json_integer_value(each);

			if (cpu >= c->cpus.max_vcpus)
				return err_set(e, -EINVAL,
					       "numa: node %u: there is no vCPU %u; the last is %u",
					       node, cpu, c->cpus.max_vcpus - 1);
			if (seen[cpu])
				return err_set(e, -EINVAL, "numa: vCPU %u is in two nodes", cpu);
			seen[cpu] = true;
		}
	}
	return 0;
}

/* What is said of one direction holds for the other, unless that is said, too. */
static int take_distances(struct config *c, struct err *e)
{
	struct config_numa *numa = &c->numa;
	bool said[CONFIG_NODES_MAX * CONFIG_NODES_MAX] = { false };
	unsigned n = numa->n;

	for (unsigned at = 0; at < n * n; at++)
		numa->distance[at] = at / n == at % n ? DISTANCE_LOCAL : DISTANCE_REMOTE;
	for (unsigned node = 0; node < n; node++) {
		const json_t *each;
		size_t i;

		json_array_foreach(numa->node[node].distances, i, each)
		{
			json_int_t to = json_integer_value(json_object_get(each, "destination"));
			json_int_t far = json_integer_value(json_object_get(each, "distance"));

			if (to >= n || (to == node) != (far == DISTANCE_LOCAL))
				return err_set(e, -EINVAL,
					       to >= n ? "numa: node %u: there is no node %lld"
						       : "numa: node %u: the distance to node %lld "
							 "must be above 10, and to itself 10",
					       node, (long long)to);
			numa->distance[node * n + to] = (uint8_t)far;
			said[node * n + to] = true;
			if (!said[to * n + node])
				numa->distance[to * n + node] = (uint8_t)far;
		}
	}
	return 0;
}

/* Those that do not say how much memory they have have equal parts of the rest, in MiB. */
static int share_memory(struct config *c, const bool sized[CONFIG_NODES_MAX], struct err *e)
{
	uint64_t rest = c->memory.size, part;
	unsigned unsized = 0;

	for (unsigned i = 0; i < c->numa.n; i++) {
		const struct config_node *node = &c->numa.node[i];

		if (node->memory > rest || node->memory % GUEST_PAGE_BYTES)
			return err_set(e, -EINVAL,
				       "numa: the memory of the nodes must be whole pages, and no "
				       "more than the guest's %llu MiB together",
				       (unsigned long long)(c->memory.size / MIB));
		rest -= node->memory;
		unsized += !sized[i];
	}
	if (rest && !unsized)
		return err_set(e, -EINVAL,
			       "numa: %llu KiB of the guest's memory are in no node; leave memory "
			       "out of one of them",
			       (unsigned long long)(rest / KIB));
	part = unsized ? rest / unsized / MIB * MIB : 0;
	for (unsigned i = 0; i < c->numa.n; i++) {
		if (sized[i])
			continue;
		c->numa.node[i].memory = --unsized ? part : rest;
		rest -= c->numa.node[i].memory;
	}
	return 0;
}

int config_take_numa(struct config *c, struct err *e)
{
	bool sized[CONFIG_NODES_MAX] = { false };
	json_t *each;
	size_t i;
	int r = take_nodes(c, sized, e);

	if (!r)
		r = check_cpus(c, e);
	if (!r)
		r = take_distances(c, e);
	if (!r && c->numa.n)
		r = share_memory(c, sized, e);
	if (r)
		return r;
	json_array_foreach(json_object_get(c->json, "numa"), i, each)
	{
		json_int_t id = json_integer_value(json_object_get(each, "guest_numa_id"));

		json_object_set_new(each, "memory",
				    json_integer((json_int_t)c->numa.node[id].memory));
	}
	return 0;
}
