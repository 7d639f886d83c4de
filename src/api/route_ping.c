/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "api_internal.h"

/* Of the API that this one follows; our own stands beside it. */
#define API_VERSION "51.0.0"

void route_ping(struct call *c)
{
	call_answer_json(c, json_pack("{s:s, s:s, s:i, s:[], s:s, s:s}", "build_version",
				      "v" API_VERSION, "version", API_VERSION, "pid", (int)getpid(),
				      "features", "product", "godwit", "product_version",
				      GODWIT_VERSION));
}
