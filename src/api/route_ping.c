/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "api_internal.h"

void route_ping(struct call *c)
{
	call_answer_json(c, json_pack("{s:s, s:s, s:i, s:o, s:s, s:s}", "build_version",
				      "v" API_VERSION, "version", API_VERSION, "pid", (int)getpid(),
				      "features", route_features(), "product", "godwit",
				      "product_version", GODWIT_VERSION));
}
