/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_dial.h"

#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "log.h"
#include "virtio_mem.h"

#define NS_PER_S UINT64_C(1000000000)
#define LOOK_NS (NS_PER_S / 2)
#define STILL_NS (2 * NS_PER_S) /* without a block: the guest has no more of them to give */
enum { LOOKS_AFTER = 10 }; /* a guest may find out late what it has given away */
/* What a guest needs to be able to get at any time: such a part of its memory, and so much. */
enum { RESERVE_SHARE = 8, RESERVE_BYTES = 64 * MIB };
enum { STARVED_MAX = 6 }; /* looks without anything to spare */

static struct device *plug_of(const struct memory_dial *d)
{
	return virtio_mem_of(d->vm);
}

static struct device *balloon_of(const struct memory_dial *d)
{
	return balloon_device(d->vm);
}

static uint64_t plugged_of(const struct memory_dial *d)
{
	const struct device *plug = plug_of(d);

	return plug ? virtio_mem_given(plug) : 0;
}

static uint64_t given(const struct memory_dial *d)
{
	const struct device *balloon = balloon_of(d);
	uint64_t has = d->config->memory.size + plugged_of(d);

	return has - MIN(has, balloon ? balloon_actual(balloon) : 0);
}

/* Blocks that the guest has and is not to have, and seems to keep.  One that goes after all takes
 * nothing away from what the balloon does for the others. */
static uint64_t kept_blocks(struct memory_dial *d)
{
	const struct device *plug = plug_of(d);
	uint64_t now = plugged_of(d), asked = plug ? virtio_mem_asked(plug) : 0;
	uint64_t over = now - MIN(now, asked);

	if (now != d->plugged) {
		d->plugged = now;
		d->plugged_ns = loop_now_ns();
	}
	if (over < d->kept || loop_now_ns() - d->plugged_ns >= STILL_NS)
		d->kept = over;
	return d->kept;
}

static uint64_t wanted(const struct memory_dial *d)
{
	const struct config *c = d->config;

	return c->memory.size + c->memory.hotplugged_size - c->balloon_size;
}

/* How much of it in blocks: more than that only for what the balloon takes anyway. */
static uint64_t blocks_for(const struct memory_dial *d, const struct device *plug, uint64_t bytes)
{
	const struct config_memory *c = &d->config->memory;
	uint64_t most = c->size + MAX(c->hotplugged_size, virtio_mem_asked(plug));
	uint64_t all = MIN(bytes + d->config->balloon_size, MAX(most, bytes));

	return virtio_mem_rounded(plug, all - MIN(all, c->size));
}

static void ask_for(struct memory_dial *d, uint64_t bytes)
{
	struct device *balloon = balloon_of(d), *plug = plug_of(d);
	uint64_t has = d->config->memory.size, blocks = plug ? blocks_for(d, plug, bytes) : 0;

	d->now = bytes;
	if (plug && virtio_mem_asked(plug) != blocks) {
		virtio_mem_ask(plug, blocks);
		d->plugged_ns = loop_now_ns();
	}
	has += blocks + kept_blocks(d);
	if (balloon && balloon_target(balloon) != has - MIN(has, bytes))
		balloon_set_target(balloon, has - MIN(has, bytes));
}

static void give_back(struct memory_dial *d)
{
	log_warn("the guest is short of memory on its way to %llu MiB and has %llu MiB again",
		 (unsigned long long)(d->wanted / MIB), (unsigned long long)(d->before / MIB));
	if (d->back)
		d->back(d->arg, d->before);
}

static bool has_killed(struct memory_dial *d)
{
	uint64_t kills = 0;
	bool more = balloon_statistic(balloon_of(d), BALLOON_OOM_KILLS, &kills) && d->kills_known &&
		    kills > d->oom_kills;

	d->kills_known = true;
	d->oom_kills = kills;
	return more;
}

/* A step towards less, half of what the guest can do without: it may need some of it meanwhile. */
static void step_down(struct memory_dial *d)
{
	uint64_t available, total, reserve, step, next;

	if (!balloon_statistic(balloon_of(d), BALLOON_AVAILABLE_MEMORY, &available) ||
	    !balloon_statistic(balloon_of(d), BALLOON_TOTAL_MEMORY, &total) ||
	    available > total) { /* it does not know, or makes it up */
		ask_for(d, d->wanted);
		return;
	}
	reserve = total / RESERVE_SHARE + RESERVE_BYTES;
	step = (available - MIN(available, reserve)) / 2;
	next = align_down(given(d) - MIN(given(d), step), GUEST_PAGE_BYTES);
	d->starved = step < MIB ? d->starved + 1 : 0;
	if (d->starved == STARVED_MAX || available < reserve / 2)
		give_back(d);
	else if (next < d->now)
		ask_for(d, MAX(d->wanted, next));
}

/* The guest has said how it does, or has not. */
static void answered(void *arg)
{
	struct memory_dial *d = arg;

	d->asking = false;
	if (d->before <= d->wanted || balloon_samples(balloon_of(d)) == d->samples)
		return;
	if (has_killed(d))
		give_back(d);
	else if (d->now > d->wanted)
		step_down(d);
}

static void ask_guest(struct memory_dial *d)
{
	struct device *balloon = balloon_of(d);

	if (d->before <= d->wanted || !balloon || d->asking)
		return;
	d->asking = true;
	d->samples = balloon_samples(balloon);
	balloon_ask(balloon, &d->ask);
}

static bool is_settled(const struct memory_dial *d)
{
	const struct device *plug = plug_of(d), *balloon = balloon_of(d);

	return (!plug || virtio_mem_given(plug) == virtio_mem_asked(plug)) &&
	       (!balloon || balloon_actual(balloon) == balloon_target(balloon));
}

/* Blocks that are kept are looked at for as long as they are. */
static void look(void *arg)
{
	struct memory_dial *d = arg;

	ask_for(d, d->now);
	ask_guest(d);
	if (d->now != d->wanted || given(d) > d->wanted)
		d->looks_left = LOOKS_AFTER;
	else if (d->looks_left)
		d->looks_left--;
	if (!d->looks_left)
		d->before = d->wanted;
	if (d->looks_left || !is_settled(d))
		loop_timer_set(d->vm->loop, &d->look, loop_now_ns() + LOOK_NS);
}

void memory_dial_init(struct memory_dial *d, struct vm *vm, const struct config *config)
{
	*d = (struct memory_dial){ .vm = vm,
				   .config = config,
				   .look = { .expired = look, .arg = d },
				   .ask = { .done = answered, .arg = d } };
}

/* The guest's answer may be on its way, and comes when its balloon goes. */
void memory_dial_cancel(struct memory_dial *d)
{
	loop_timer_cancel(d->vm->loop, &d->look);
	d->before = d->wanted;
}

void memory_dial_turn(struct memory_dial *d, bool gently)
{
	struct device *balloon = balloon_of(d);
	uint64_t before = MAX(given(d), d->wanted);

	d->wanted = wanted(d);
	d->before = gently ? before : d->wanted;
	d->kills_known = false;
	d->starved = 0;
	d->plugged_ns = loop_now_ns();
	d->looks_left = LOOKS_AFTER;
	/* By steps, if the guest can say how it does. */
	d->now = gently && balloon && balloon_tells(balloon) ? MAX(given(d), d->wanted) : d->wanted;
	look(d);
}

void memory_dial_watch(struct memory_dial *d)
{
	const struct device *balloon = balloon_of(d);

	if (!plug_of(d) && !balloon)
		return;
	/* One that comes from elsewhere may be on its way; one that boots has asked for nothing. */
	if (!d->wanted)
		memory_dial_turn(d, balloon && balloon_tells(balloon));
	else
		loop_timer_set(d->vm->loop, &d->look, loop_now_ns() + LOOK_NS);
}

void memory_dial_reset(struct memory_dial *d)
{
	d->wanted = 0;
	d->kept = 0;
}

static void say_why(const struct memory_dial *d, const struct machine_memory *m, char *why,
		    size_t len)
{
	const struct device *plug = plug_of(d), *balloon = balloon_of(d);

	if ((plug && m->given < m->asked && !virtio_mem_is_driven(plug)) ||
	    (balloon && m->given > m->asked && !balloon_is_driven(balloon)))
		snprintf(why, len, "the guest has no driver for it that is up");
	else if (m->given > m->asked)
		snprintf(why, len, "the guest has %llu MiB to give up yet",
			 (unsigned long long)((m->given - m->asked + MIB - 1) / MIB));
	else
		snprintf(why, len, "the guest has %llu MiB to take yet",
			 (unsigned long long)((m->asked - m->given + MIB - 1) / MIB));
}

/* Without a balloon there are whole blocks only. */
static uint64_t reachable(const struct memory_dial *d)
{
	const struct device *plug = plug_of(d);
	uint64_t size = d->config->memory.size, bytes = wanted(d);

	return plug && !balloon_of(d) ? size + virtio_mem_rounded(plug, bytes - size) : bytes;
}

void memory_dial_read(const struct memory_dial *d, struct machine_memory *out)
{
	*out = (struct machine_memory){ .asked = wanted(d), .given = given(d) };
	if (out->given != reachable(d))
		say_why(d, out, out->why, sizeof(out->why));
}
