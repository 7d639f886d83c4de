/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "file.h"
#include "memory_use.h"
#include "vm.h"

enum { STATUS_BYTES = 8 * KIB };

static const struct counter counters[] = {
	COUNTER_GAUGE_OF(struct memory_use, rss, .metric = "godwit_memory_resident_bytes",
			 .unit = COUNTER_BYTES,
			 .help = "Memory of the guest and its monitor that is on the host."),
	COUNTER_GAUGE_OF(struct memory_use, swapped, .metric = "godwit_memory_swapped_bytes",
			 .unit = COUNTER_BYTES,
			 .help = "Memory of the guest and its monitor that is swapped out."),
};
const struct counter_table memory_use_table = COUNTER_TABLE(struct memory_use, counters,
							    .is_machine = true);

/* proc_pid_status(5).  Huge pages are in no other number; files are not the guest's. */
static const struct line {
	const char *key;
	size_t offset;
} lines[] = {
	{ "RssAnon:", offsetof(struct memory_use, rss) },
	{ "RssShmem:", offsetof(struct memory_use, rss) },
	{ "HugetlbPages:", offsetof(struct memory_use, rss) },
	{ "VmSwap:", offsetof(struct memory_use, swapped) },
};

static bool take_line(struct memory_use *use, const char *text)
{
	unsigned long long kib;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		size_t n = strlen(lines[i].key);

		if (strncmp(text, lines[i].key, n) || sscanf(text + n, "%llu kB", &kib) != 1)
			continue;
		counter_add((void *)((char *)use + lines[i].offset), kib * KIB);
		return true;
	}
	return false;
}

bool memory_use_read(struct vm *vm, struct memory_use *use)
{
	char text[STATUS_BYTES], *end;
	bool any = false;

	file_read_again(&vm->status_fd, "/proc/self/status", text, sizeof(text));
	for (char *line = text; (end = strchr(line, '\n')); line = end + 1)
		any |= take_line(use, line);
	return any;
}
