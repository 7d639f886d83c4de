/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner's search with the score of another program, Ganeti's hbal, on that program's own
 * files: plan_hbal CLUSTER UTILISATION KNEE-MOVES OUTPUT, for scripts/bench plan.  Of the score
 * it has what differs where storage is shared and no node is offline: the standard deviations of
 * free memory and of vCPUs, as shares of their node's, and of CPU load.  Prints the score at
 * first and after each move, and writes the cluster as it is then.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "search.h"

enum { NODES_MAX = 1000, INSTANCES_MAX = 10000, MEASURES = 3 };

struct node {
	char name[32];
	double memory, free, cpus;
	double value[MEASURES];
};

struct instance {
	char name[32];
	double memory, vcpus, load;
	unsigned node;
	char rest[128]; /* of its line, behind the node */
};

struct cluster {
	struct node node[NODES_MAX];
	struct instance instance[INSTANCES_MAX];
	unsigned nnode, ninstance;
	double sum[MEASURES], squares[MEASURES];
};

static void die(const char *what)
{
	fprintf(stderr, "plan_hbal: %s\n", what);
	exit(1);
}

static double score(const struct cluster *c, const double *sum, const double *squares)
{
	double all = 0;

	for (int i = 0; i < MEASURES; i++) {
		double mean = sum[i] / c->nnode;

		all += sqrt(MAX(squares[i] / c->nnode - mean * mean, 0));
	}
	return all;
}

/* What an instance adds to the values of a node. */
static void share(const struct instance *i, const struct node *n, double *add)
{
	add[0] = -i->memory / n->memory;
	add[1] = i->vcpus / n->cpus;
	add[2] = i->load;
}

static void change(const double *value, const double *add, double sign, double *sum,
		   double *squares)
{
	for (int i = 0; i < MEASURES; i++) {
		sum[i] += sign * add[i];
		squares[i] += (2 * value[i] + sign * add[i]) * sign * add[i];
	}
}

/* Nodes of one size: what they would have of an instance, and squares of the means with it. */
struct visit {
	double add[MEASURES], square_mean[MEASURES];
};

static struct visit visit_of(const struct cluster *c, const struct instance *i,
			     const struct node *n, const double *sum)
{
	struct visit v;

	share(i, n, v.add);
	for (int m = 0; m < MEASURES; m++) {
		double mean = (sum[m] + v.add[m]) / c->nnode;

		v.square_mean[m] = mean * mean;
	}
	return v;
}

static double score_at(const struct cluster *c, const struct node *n, const struct visit *v,
		       const double *squares)
{
	double all = 0;

	for (int m = 0; m < MEASURES; m++) {
		double with = squares[m] + (2 * n->value[m] + v->add[m]) * v->add[m];

		all += sqrt(MAX(with / c->nnode - v->square_mean[m], 0));
	}
	return all;
}

/* The best place of one instance, if it wins more than best does. */
static void best_of_instance(const struct cluster *c, unsigned instance, double now,
			     struct search_move *best)
{
	const struct instance *i = &c->instance[instance];
	const struct node *last = NULL;
	double sum[MEASURES], squares[MEASURES], add[MEASURES];
	struct visit v;

	memcpy(sum, c->sum, sizeof(sum));
	memcpy(squares, c->squares, sizeof(squares));
	share(i, &c->node[i->node], add);
	change(c->node[i->node].value, add, -1, sum, squares);
	for (unsigned to = 0; to < c->nnode; to++) {
		const struct node *n = &c->node[to];
		double gain;

		if (to == i->node || n->free < i->memory)
			continue;
		if (!last || n->memory != last->memory || n->cpus != last->cpus)
			v = visit_of(c, i, n, sum);
		last = n;
		gain = now - score_at(c, n, &v, squares);
		if (gain > best->gain)
			*best = (struct search_move){ instance, to, gain, gain };
	}
}

static bool best_of_node(void *arg, uint32_t node, struct search_move *best)
{
	const struct cluster *c = arg;
	double now = score(c, c->sum, c->squares);

	best->gain = 1e-9;
	best->to = NODES_MAX;
	for (unsigned i = 0; i < c->ninstance; i++)
		if (c->instance[i].node == node)
			best_of_instance(c, i, now, best);
	return best->to < NODES_MAX;
}

static void put(struct cluster *c, struct instance *i, unsigned node, double sign)
{
	struct node *n = &c->node[node];
	double add[MEASURES];

	share(i, n, add);
	change(n->value, add, sign, c->sum, c->squares);
	for (int m = 0; m < MEASURES; m++)
		n->value[m] += sign * add[m];
	n->free -= sign * i->memory;
	i->node = node;
}

static int take(void *arg, const struct search_move *m)
{
	struct cluster *c = arg;
	struct instance *i = &c->instance[m->vm];

	put(c, i, i->node, -1);
	put(c, i, m->to, 1);
	printf("%.8f\n", score(c, c->sum, c->squares));
	return 0;
}

static unsigned find_node(const struct cluster *c, const char *name)
{
	for (unsigned i = 0; i < c->nnode; i++)
		if (!strcmp(c->node[i].name, name))
			return i;
	die("an instance is on no node");
	return 0;
}

static void read_line(struct cluster *c, const char *line)
{
	struct node n = { 0 };
	struct instance i = { 0 };
	char on[32];

	if (sscanf(line, "%31[^|]|%lf|%*f|%*f|%*f|%*f|%lf|N|", n.name, &n.memory, &n.cpus) == 3) {
		n.value[0] = 1;
		n.free = n.memory;
		c->node[c->nnode++] = n;
		c->sum[0] += 1;
		c->squares[0] += 1;
	} else if (sscanf(line, "%31[^|]|%lf|%*f|%lf|running|Y|%31[^|]|%127[^\n]", i.name,
			  &i.memory, &i.vcpus, on, i.rest) == 5) {
		i.node = find_node(c, on);
		c->instance[c->ninstance++] = i;
	}
}

static void each_line(const char *path, struct cluster *c,
		      void (*read)(struct cluster *, const char *))
{
	FILE *f = fopen(path, "r");
	char line[512];

	if (!f)
		die("a file cannot be read");
	while (fgets(line, sizeof(line), f)) {
		if (c->nnode == NODES_MAX || c->ninstance == INSTANCES_MAX)
			die("the cluster is too large");
		read(c, line);
	}
	fclose(f);
}

/* Instances are in the same order in both files. */
static void read_load(struct cluster *c, const char *line)
{
	char name[32];
	double load;

	if (sscanf(line, "%31s %lf", name, &load) != 2)
		return;
	for (unsigned i = 0; i < c->ninstance; i++)
		if (!strcmp(c->instance[i].name, name))
			c->instance[i].load = load;
}

/* The file with the instances where they are now. */
static void write_cluster(const struct cluster *c, const char *from, const char *to)
{
	FILE *in = fopen(from, "r"), *out = fopen(to, "w");
	char line[512], name[32], total[32], used[32], free_mib[32];
	unsigned node = 0, instance = 0;
	int end;

	if (!in || !out)
		die("the result cannot be written");
	while (fgets(line, sizeof(line), in)) {
		const struct instance *i = &c->instance[instance];

		if (instance < c->ninstance && sscanf(line, "%31[^|]", name) == 1 &&
		    !strcmp(name, i->name)) {
			fprintf(out, "%s|%.0f|1024|%.0f|running|Y|%s|%s\n", i->name, i->memory,
				i->vcpus, c->node[i->node].name, i->rest);
			instance++;
		} else if (sscanf(line, "%31[^|]|%31[^|]|%31[^|]|%31[^|]|%n", name, total, used,
				  free_mib, &end) == 4 &&
			   node < c->nnode && !strcmp(name, c->node[node].name)) {
			fprintf(out, "%s|%s|%s|%.0f|%s", name, total, used,
				c->node[node].free - atof(used), line + end);
			node++;
		} else {
			fputs(line, out);
		}
	}
	fclose(in);
	if (fclose(out))
		die("the result cannot be written");
}

int main(int argc, char **argv)
{
	struct cluster *c = calloc(1, sizeof(*c));
	uint32_t source[NODES_MAX];
	struct search s = { .arg = c,
			    .best = best_of_node,
			    .take = take,
			    .exact = true,
			    .max = UINT32_MAX,
			    .knee_share = 0.2 };

	if (!c || argc != 5)
		die("CLUSTER UTILISATION KNEE-MOVES OUTPUT are wanted");
	each_line(argv[1], c, read_line);
	each_line(argv[2], c, read_load);
	s.knee_moves = (uint32_t)atoi(argv[3]);
	for (unsigned i = 0; i < c->ninstance; i++)
		put(c, &c->instance[i], c->instance[i].node, 1);
	for (uint32_t i = 0; i < c->nnode; i++)
		source[i] = i;
	printf("%.8f\n", score(c, c->sum, c->squares));
	if (search_run(&s, source, c->nnode) < 0)
		die("out of memory");
	write_cluster(c, argv[1], argv[4]);
	free(c);
	return 0;
}
