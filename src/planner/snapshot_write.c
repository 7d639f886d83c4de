/* SPDX-License-Identifier: Apache-2.0 */
#include "planner/fields.h"
#include "planner/snapshot.h"

static void write_record(const struct snapshot *s, const char *key, const struct field_table *t,
			 const void *base, bool all, FILE *f)
{
	fprintf(f, "{\"%s\":", key);
	fields_write(t, &s->names, base, all, f);
	fputs("}\n", f);
}

void snapshot_write(const struct snapshot *s, FILE *f)
{
	fprintf(f, "{\"snapshot\":{\"version\":%d,", SNAPSHOT_VERSION);
	fields_write_members(&snapshot_fields, &s->names, s, true, f);
	fputs("}}\n", f);
	/* All of it, so that another version's defaults do not change what it led to. */
	write_record(s, "policy", &policy_fields, &s->policy, true, f);
	for (uint32_t i = 0; i < s->ncurve; i++)
		write_record(s, "curve", &curve_fields, &s->curve[i], false, f);
	for (uint32_t i = 0; i < s->nhost; i++)
		write_record(s, "host", &host_fields, &s->host[i], false, f);
	for (uint32_t i = 0; i < s->nvm; i++)
		write_record(s, "vm", &vm_fields, &s->vm[i], false, f);
	for (uint32_t i = 0; i < s->nflight; i++)
		write_record(s, "flight", &flight_fields, &s->flight[i], false, f);
	for (uint32_t i = 0; i < s->nreservation; i++)
		write_record(s, "reservation", &reservation_fields, &s->reservation[i], false, f);
	for (uint32_t i = 0; i < s->nrefused; i++)
		if (s->refused[i].line)
			fprintf(f, "%s\n", s->refused[i].line);
}
