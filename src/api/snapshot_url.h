/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of a snapshot, as requests name it. */
#ifndef SNAPSHOT_URL_H
#define SNAPSHOT_URL_H

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "err.h"

/* file:///DIR or DIR; *dir lasts as long as in. */
static inline int snapshot_url(const json_t *in, const char *key, const char **dir, struct err *e)
{
	static const char file[] = "file://";
	const char *url = json_string_value(json_object_get(in, key));

	if (!url)
		return err_set(e, -EINVAL, "%s must name a directory: \"file:///DIR\"", key);
	*dir = strncmp(url, file, strlen(file)) ? url : url + strlen(file);
	if (!**dir || (strstr(*dir, "://") && *dir == url))
		return err_set(e, -EINVAL, "%s: \"%.128s\" names no directory of this host", key,
			       url);
	return 0;
}

#endif
