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
	return vm_device(d->vm, "mem");
}

static struct device *balloon_of(const struct memory_dial *d)
{
	return vm_device(d->vm, "balloon");
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

/* Blocks that the guest has and is not to have, if it seems to keep them. */
static uint64_t kept_blocks(struct memory_dial *d)
{
	const struct device *plug = plug_of(d);
	uint64_t now = plugged_of(d), asked = plug ? virtio_mem_asked(plug) : 0;

	if (now != d->plugged) {
		d->plugged = now;
		d->plugged_ns = loop_now_ns();
	}
	return now > asked && loop_now_ns() - d->plugged_ns >= STILL_NS ? now - asked : 0;
}

static uint64_t wanted(const struct memory_dial *d)
{
	const struct config *c = d->config;

	return c->memory.size + c->memory.hotplugged_size - c->balloon_size;
}

/* Ask for so much: in blocks, as far as the balloon need not take what the configuration says. */
static void ask_for(struct memory_dial *d, uint64_t bytes)
{
	struct device *balloon = balloon_of(d), *plug = plug_of(d);
	uint64_t size = d->config->memory.size, most = bytes + d->config->balloon_size, has = size;

	d->now = bytes;
	if (plug) {
		uint64_t blocks = virtio_mem_rounded(plug, most - MIN(most, size));

		has += blocks;
		if (virtio_mem_asked(plug) != blocks) {
			virtio_mem_ask(plug, blocks);
			d->plugged_ns = loop_now_ns();
		}
	}
	has += kept_blocks(d);
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
	uint64_t available, total, reserve, step;

	if (!balloon_statistic(balloon_of(d), BALLOON_AVAILABLE_MEMORY, &available) ||
	    !balloon_statistic(balloon_of(d), BALLOON_TOTAL_MEMORY, &total) ||
	    available > total) { /* it does not know, or makes it up */
		ask_for(d, d->wanted);
		return;
	}
	reserve = total / RESERVE_SHARE + RESERVE_BYTES;
	step = (available - MIN(available, reserve)) / 2;
	d->starved = step < MIB ? d->starved + 1 : 0;
	if (d->starved == STARVED_MAX || available < reserve / 2)
		give_back(d);
	else if (given(d) - MIN(given(d), step) < d->now)
		ask_for(d, MAX(d->wanted, given(d) - MIN(given(d), step)));
}

/* The guest has said how it does. */
static void answered(void *arg)
{
	struct memory_dial *d = arg;

	d->asking = false;
	if (d->before <= d->wanted)
		return;
	if (has_killed(d))
		give_back(d);
	else if (d->now > d->wanted)
		step_down(d);
}

static bool is_settled(const struct memory_dial *d)
{
	const struct device *plug = plug_of(d), *balloon = balloon_of(d);

	return d->now == d->wanted && (!plug || virtio_mem_given(plug) == virtio_mem_asked(plug)) &&
	       (!balloon || balloon_actual(balloon) == balloon_target(balloon));
}

static void look(void *arg)
{
	struct memory_dial *d = arg;
	struct device *balloon = balloon_of(d);

	ask_for(d, d->now);
	if (d->before > d->wanted && balloon && !d->asking) {
		d->asking = true;
		balloon_ask(balloon, &d->ask);
	}
	d->looks_left = is_settled(d) ? d->looks_left - 1 : LOOKS_AFTER;
	if (d->looks_left)
		loop_timer_set(d->vm->loop, &d->look, loop_now_ns() + LOOK_NS);
	else
		d->before = d->wanted;
}

void memory_dial_init(struct memory_dial *d, struct vm *vm, const struct config *config)
{
	*d = (struct memory_dial){ .vm = vm,
				   .config = config,
				   .look = { .expired = look, .arg = d },
				   .ask = { .done = answered, .arg = d } };
}

void memory_dial_cancel(struct memory_dial *d)
{
	loop_timer_cancel(d->vm->loop, &d->look);
}

void memory_dial_watch(struct memory_dial *d)
{
	if (!plug_of(d) && !balloon_of(d))
		return;
	d->before = d->wanted = d->now = wanted(d);
	d->looks_left = LOOKS_AFTER;
	loop_timer_set(d->vm->loop, &d->look, loop_now_ns() + LOOK_NS);
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
	d->now = gently && balloon && balloon_is_driven(balloon) ? MAX(given(d), d->wanted)
								 : d->wanted;
	look(d);
}

static void say_why(const struct memory_dial *d, const struct machine_memory *m, char *why,
		    size_t len)
{
	const struct device *plug = plug_of(d), *balloon = balloon_of(d);

	if (m->given == m->asked)
		return;
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

void memory_dial_read(const struct memory_dial *d, struct machine_memory *out)
{
	*out = (struct machine_memory){ .asked = wanted(d), .given = given(d) };
	say_why(d, out, out->why, sizeof(out->why));
}
