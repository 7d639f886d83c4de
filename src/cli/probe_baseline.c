/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "cpu_features.h"
#include "probe.h"

/* What a file says of a host: a new reference. */
struct host {
	json_t *facts;
	const char *vendor; /* in facts */
	struct cpu_features features;
};

static int read_host(struct host *h, const char *file, struct err *e)
{
	json_error_t where;
	struct err why;
	const json_t *cpu;

	h->facts = json_load_file(file, JSON_REJECT_DUPLICATES, &where);
	if (!h->facts)
		return err_set(e, -EINVAL, "%s cannot be read as JSON: %s", file, where.text);
	cpu = json_object_get(h->facts, "cpu");
	h->vendor = json_string_value(json_object_get(cpu, "vendor"));
	if (!h->vendor || cpu_features_parse(&h->features, json_object_get(cpu, "features"), &why))
		return err_set(e, -EINVAL,
			       "%s is no output of \"godwit probe --json\" on a host with KVM: %s",
			       file, h->vendor ? why.text : "there is no vendor of a CPU");
	return 0;
}

static int add_host(struct host *sum, const char *file, struct err *e)
{
	struct host h = { 0 };
	int r = read_host(&h, file, e);

	if (!r && strcmp(h.vendor, sum->vendor))
		r = err_set(e, -EINVAL,
			    "%s is of a host by %.16s and the first by %.16s: guests do not move "
			    "between those; make a baseline for each kind",
			    file, h.vendor, sum->vendor);
	if (!r)
		cpu_features_intersect(&sum->features, &h.features);
	json_decref(h.facts);
	return r;
}

int probe_baseline(const char *first, char *const *more, int nmore, json_t **out, struct err *e)
{
	struct host sum = { 0 };
	int r = read_host(&sum, first, e);

	for (int i = 0; !r && i < nmore; i++)
		r = add_host(&sum, more[i], e);
	if (!r)
		*out = json_pack("{s:{s:s, s:o}}", "cpu", "vendor", sum.vendor, "features",
				 cpu_features_json(&sum.features));
	json_decref(sum.facts);
	return r;
}
