/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "bits.h"
#include "facts.h"
#include "kvm_ring0.h"

static json_t *verdict(const char *guests, json_t *sentence)
{
	return json_pack("{s:s, s:o}", "guests", guests, "sentence", sentence);
}

/* "2 CPUs and 3.5 GiB of free memory are there for them." */
static json_t *stock_sentence(const json_t *facts)
{
	const json_t *cpu = json_object_get(facts, "cpu"),
		     *memory = json_object_get(facts, "memory");
	const json_t *ncpus = json_object_get(cpu, "allowed_cpus");
	const json_t *bytes = json_object_get(memory, "available_bytes");
	json_int_t n = json_integer_value(ncpus);

	if (!ncpus || !bytes)
		return json_string("Stock Linux kernels run here, in hardware.");
	return json_sprintf("Stock Linux kernels run here, in hardware; %lld CPU%s and %.1f GiB of "
			    "memory are free for them.",
			    (long long)n, n == 1 ? "" : "s",
			    (double)json_integer_value(bytes) / GIB);
}

json_t *facts_verdict(const json_t *facts)
{
	const json_t *kvm = json_object_get(facts, "kvm");
	const json_t *usable = json_object_get(kvm, "usable");
	const char *ring0 = json_string_value(json_object_get(kvm, "ring0"));

	if (!json_is_true(usable) || !ring0)
		return verdict("none",
			       json_sprintf("No guest can run here: %s.",
					    json_is_string(usable) ? json_string_value(usable)
								   : "KVM was not found"));
	if (!strcmp(ring0, "emulator"))
		return verdict("small", json_string("Only small programs that stay in ring 3 run "
						    "well here: " KVM_RING0_EMULATOR_MEANS "."));
	return verdict("stock", stock_sentence(facts));
}
