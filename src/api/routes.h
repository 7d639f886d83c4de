/* SPDX-License-Identifier: Apache-2.0 */
/* What the API's thread answers by itself. */
#ifndef ROUTES_H
#define ROUTES_H

#include <jansson.h>

struct call;
struct vmm;
struct vmm_request;

/* What vmm.ping lists: a new reference. */
json_t *route_features(void);

void route_ping(struct call *);
void route_events(struct call *);

/* On main, and then on the API's thread. */
void read_counters(struct vmm *, struct vmm_request *);
void route_counters(struct call *);
void route_metrics(struct call *);
void route_predict_migration(struct call *);

#endif
