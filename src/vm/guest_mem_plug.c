/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The region that the guest has in blocks.  An unplugged block can be read, as a hole, by whoever
 * looks at all memory.  A guest that writes to it cannot go on: neither when KVM finds that there
 * is nothing to write to, nor when a device does whose request was made before.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bits.h"
#include "guest_mem.h"

static const struct guest_mem_region *_Atomic watched;
static struct sigaction before;

/* A monitor's own access that nobody can finish: the request was good when it was looked at. */
static void no_memory(int signal, siginfo_t *info, void *context)
{
	static const char why[] = "error: the guest has a device write to memory that it has "
				  "unplugged; it cannot go on\n";
	const struct guest_mem_region *r = atomic_load(&watched);
	const uint8_t *at = info->si_addr;
	ssize_t ignored;

	if (r && at >= r->host && at < r->host + r->size_bytes) {
		ignored = write(STDERR_FILENO, why, sizeof(why) - 1);
		(void)ignored;
	}
	/* SA_RESETHAND: it comes again, and ends the process. */
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(signal, info, context);
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
		before.sa_handler(signal);
}

static void watch(const struct guest_mem_region *r)
{
	struct sigaction act = { .sa_sigaction = no_memory,
				 .sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND };

	if (!atomic_exchange(&watched, r))
		sigaction(SIGSEGV, &act, &before);
}

struct guest_mem_region *guest_mem_pluggable(struct guest_mem *m)
{
	struct guest_mem_region *last = &m->region[m->nregions - 1];

	return last->block_bytes ? last : NULL;
}

static uint64_t count_plugged(const struct guest_mem_region *r)
{
	uint64_t sum = 0;

	for (uint64_t b = 0; b < r->size_bytes / r->block_bytes; b += 64)
		sum += (uint64_t)__builtin_popcountll(atomic_load(&r->plugged[b / 64]));
	return sum;
}

uint64_t guest_mem_bytes(struct guest_mem *m)
{
	struct guest_mem_region *r = guest_mem_pluggable(m);
	uint64_t sum = r ? count_plugged(r) * r->block_bytes : 0;

	for (unsigned i = 0; i < guest_mem_ram_regions(m); i++)
		sum += m->region[i].size_bytes;
	return sum;
}

const uint8_t *guest_mem_page(struct guest_mem *m, uint64_t n)
{
	const struct guest_mem_region *r = m->region;
	uint64_t offset = n * GUEST_PAGE_BYTES, b = 0;

	for (; !r->block_bytes; r++) {
		if (offset < r->size_bytes)
			return r->host + offset;
		offset -= r->size_bytes;
	}
	for (n = offset / r->block_bytes; b < r->size_bytes; b += r->block_bytes)
		if (guest_mem_is_plugged(r, b, 1) && !n--)
			return r->host + b + offset % r->block_bytes;
	return m->region[0].host; /* some were unplugged meanwhile */
}

static int protect(const struct guest_mem_region *r, unsigned first, unsigned n, int how)
{
	return mprotect(r->host + first * r->block_bytes, n * r->block_bytes, how) ? -errno : 0;
}

int guest_mem_make_pluggable(struct guest_mem_region *r, uint64_t block_bytes, bool plugged)
{
	unsigned n = (unsigned)(r->size_bytes / block_bytes);

	r->plugged = calloc(align_up(n, 64) / 64, sizeof(*r->plugged));
	if (!r->plugged)
		return -ENOMEM;
	for (unsigned b = 0; plugged && b < n; b++)
		r->plugged[b / 64] |= BIT(b % 64);
	r->block_bytes = block_bytes;
	watch(r);
	return plugged ? 0 : protect(r, 0, n, PROT_READ);
}

void guest_mem_forget_pluggable(const struct guest_mem_region *r)
{
	const struct guest_mem_region *it = r;

	if (atomic_compare_exchange_strong(&watched, &it, NULL))
		sigaction(SIGSEGV, &before, NULL);
}

int guest_mem_plug(struct guest_mem *m, unsigned first, unsigned n)
{
	struct guest_mem_region *r = guest_mem_pluggable(m);
	int rc = protect(r, first, n, PROT_READ | PROT_WRITE);

	for (unsigned b = first; !rc && b < first + n; b++)
		atomic_fetch_or_explicit(&r->plugged[b / 64], BIT(b % 64), memory_order_release);
	return rc;
}

int guest_mem_unplug(struct guest_mem *m, unsigned first, unsigned n)
{
	struct guest_mem_region *r = guest_mem_pluggable(m);
	gpa_t gpa = r->base + first * r->block_bytes;
	uint64_t bytes = n * r->block_bytes;
	/* In this order: nobody writes to what has gone back. */
	int rc = protect(r, first, n, PROT_READ), discarded = guest_mem_discard(m, gpa, bytes);

	/* What was a view of a file is a new mapping now. */
	if (!rc && !discarded && r->detached) {
		rc = protect(r, first, n, PROT_READ);
		discarded = guest_mem_discard(m, gpa, bytes);
	}
	for (unsigned b = first; b < first + n; b++)
		atomic_fetch_and_explicit(&r->plugged[b / 64], ~BIT(b % 64), memory_order_release);
	return rc ? rc : discarded;
}
