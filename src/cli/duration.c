/* SPDX-License-Identifier: Apache-2.0 */
#include "duration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"

int duration_ms(const char *option, const char *text, json_int_t *ms, struct err *e)
{
	static const struct {
		const char *suffix;
		double ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	char *end;
	double n = strtod(text, &end);

	for (size_t i = 0; end != text && i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i].suffix) || !(n > 0) || n > 1e6)
			continue;
		*ms = (json_int_t)(n * units[i].ms + 0.5);
		return 0;
	}
	return err_set(e, -EINVAL, "%s takes a time such as 50ms, 60s or 2m, not \"%.40s\"", option,
		       text);
}
