/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record from anywhere, printed and loaded as the state of each class that needs no kernel.
 * What is accepted must be saved again without complaint, and load again to the same.
 */
#include <stdlib.h>

#include "bits.h"
#include "cleanup.h"
#include "classes.h"
#include "state_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool what)
{
	if (!what)
		abort();
}

static void print(const uint8_t *data, size_t len)
{
	CLEANUP(file) FILE *null = fopen("/dev/null", "we");
	struct err e;

	require(null);
	state_print(null, 0, data, len, &e);
}

static void load(const struct state_desc *d, const uint8_t *data, size_t len)
{
	const struct state_target to = { .device = "fuzz" };
	CLEANUP(free) void *object = calloc(2, d->size);
	void *again = (char *)object + d->size;
	struct state_buf one = { 0 }, two = { 0 };
	struct err e;

	require(object);
	if (state_load(d, object, "fuzz", data, len, &e))
		return;
	require(!state_save(d, object, &to, &one, &e));
	require(!state_load(d, again, "fuzz", one.data, one.len, &e));
	require(!state_save(d, again, &to, &two, &e));
	require(one.len == two.len && !memcmp(one.data, two.data, one.len));
	print(one.data, one.len);
	state_buf_free(&one);
	state_buf_free(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	print(data, len);
	for (size_t i = 0; i < ndevice_classes; i++)
		if (device_classes[i]->state)
			load(device_classes[i]->state, data, len);
	return 0;
}
