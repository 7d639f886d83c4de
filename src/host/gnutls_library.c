/* SPDX-License-Identifier: Apache-2.0 */
#include "gnutls_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Of the interface that this is compiled for, from GnuTLS 3.6 on. */
#define LIBRARY "libgnutls.so.30"

struct gnutls_library gnutls = { .once = PTHREAD_ONCE_INIT };

static bool find(void *library, const char *name, void *pointer)
{
	void *found = dlsym(library, name);

	memcpy(pointer, &found, sizeof(found));
	return found;
}

/* It stays loaded.  Most of what its libraries refer to is never called, and half the time would go
 * into looking it up. */
static void load(void)
{
	void *library = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);

#define GNUTLS_FIND(name) &&find(library, "gnutls_" #name, &gnutls.name)
	if (!(library GNUTLS_FUNCTIONS(GNUTLS_FIND)))
		snprintf(gnutls.failure, sizeof(gnutls.failure), "%s", dlerror());
}

int gnutls_load(struct err *e)
{
	pthread_once(&gnutls.once, load);
	if (!gnutls.failure[0])
		return 0;
	return err_set(e, -ENOENT, "TLS needs GnuTLS, which cannot be loaded: %s", gnutls.failure);
}
