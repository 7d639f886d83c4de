/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host has for guests, as one JSON object with a section for each subject
 * (docs/probe.md).  The keys are stable and carry their units.  A facility is true, or the
 * sentence that says why it cannot be used; what cannot be found out is absent.  On main, and
 * slow: a small guest runs.  Devices are opened, for which the kernel may load modules.
 */
#ifndef FACTS_H
#define FACTS_H

#include <jansson.h>

/* root: "", or in tests a folder with proc and sys of its own.  A new reference. */
json_t *facts_collect(const char *root);

/* One section of it, of those that need no KVM: a new reference. */
json_t *facts_section(const char *root, const char *name);

/* What kind of guests can run with these facts: { "guests": "stock", "small" or "none",
 * "sentence": for a person }.  A new reference. */
json_t *facts_verdict(const json_t *facts);

#endif
