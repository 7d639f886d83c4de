/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory balloon: virtio 1.2, 5.5.  The guest gives pages until it has given as many as it is asked
 * for, and their memory goes back to the host; or it reports pages that are free right now.
 *
 * Its queues are on I/O threads: to give memory back takes time.  Which pages were given is known
 * to this process only, and is no state: what they cost here can be looked up, and what a guest
 * gave before it came costs nothing here anyway.
 *
 * Left out: a guest that takes pages back without telling (MUST_TELL_HOST is not needed, as nothing
 * is done then).
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>

#include "balloon_internal.h"

enum {
	QUEUE_SIZE = 128, /* Linux reports 32 ranges at a time, and none to a shorter queue */
	CLASS_CODE = 0x00ff00, /* a device that fits no class */
	EVENTS_PER_SECOND = 1,
	TURN_PAGES = 16384, /* before others on the I/O thread have their turn */
};

static const struct state_field balloon_fields[] = {
	STATE_STRUCTS(struct balloon_state, virtio, &virtio_state_desc),
	STATE(struct balloon_state, num_pages),
	STATE(struct balloon_state, actual),
	STATE(struct balloon_state, poison_val),
};
static const struct state_desc balloon_state_desc =
	STATE_DESC(struct balloon_state, "virtio-balloon", 1, 1, balloon_fields);

/* Counters */

#define BYTES(m, kind, ...)                                                                        \
	kind(struct balloon_counters, m, .metric = "godwit_balloon_" #m "_bytes",                  \
	     .unit = COUNTER_BYTES, __VA_ARGS__)
/* Of the guest's own numbers, in the order of their tags: balloon_read() has their names from here.
 * What they count may begin anew at any time. */
#define GUEST_BYTES(m, what)                                                                       \
	COUNTER_GAUGE_OF(struct balloon_counters, m,                                               \
			 .metric = "godwit_balloon_guest_" #m "_bytes", .unit = COUNTER_BYTES,     \
			 .help = what ", as the guest says.")
#define GUEST_NUMBER(m, what)                                                                      \
	COUNTER_GAUGE_OF(struct balloon_counters, m, .metric = "godwit_balloon_guest_" #m,         \
			 .help = what ", as the guest says.")

enum { FIRST_STATISTIC = 10 };

static const struct counter balloon_counters[] = {
	BYTES(target, COUNTER_GAUGE_OF, .help = "Memory that the guest is asked to give."),
	BYTES(actual, COUNTER_GAUGE_OF, .help = "Memory that the guest says it has given."),
	BYTES(given, COUNTER_GAUGE_OF,
	      .help = "Memory that the guest was seen to give, and has not taken back."),
	BYTES(inflated, COUNTER, .help = "Memory that the guest gave."),
	BYTES(deflated, COUNTER, .help = "Memory that the guest took back."),
	BYTES(reported, COUNTER, .help = "Free memory of the guest that went back to the host."),
	BYTES(hinted, COUNTER, .help = "Free memory of the guest that it was asked for to move."),
	BYTES(kept, COUNTER, .help = "Memory that the host did not take back from the guest."),
	COUNTER(struct balloon_counters, refused, .metric = "godwit_balloon_refused_pages",
		.help = "Pages that the guest has not, or too many of them at once."),
	COUNTER(struct balloon_counters, samples, .metric = "godwit_balloon_samples",
		.help = "How often the guest said what follows."),
	GUEST_BYTES(swap_in, "Memory swapped in"),
	GUEST_BYTES(swap_out, "Memory swapped out"),
	GUEST_NUMBER(major_faults, "Page faults that waited for a disk"),
	GUEST_NUMBER(minor_faults, "Page faults that did not"),
	GUEST_BYTES(free_memory, "Memory that nothing uses"),
	GUEST_BYTES(total_memory, "Memory that there is"),
	GUEST_BYTES(available_memory, "Memory that programs could get"),
	GUEST_BYTES(disk_caches, "Memory that caches files"),
	GUEST_NUMBER(hugetlb_allocations, "Huge pages that were allocated"),
	GUEST_NUMBER(hugetlb_failures, "Huge pages that could not be"),
	GUEST_NUMBER(oom_kills, "Processes killed as memory was out"),
	GUEST_NUMBER(alloc_stalls, "Times that somebody waited for memory"),
	GUEST_BYTES(async_scans, "Memory looked through in the background for what is not used"),
	GUEST_BYTES(direct_scans, "Memory looked through by who waited for some"),
	GUEST_BYTES(async_reclaims, "Memory won in the background"),
	GUEST_BYTES(direct_reclaims, "Memory won by who waited for some"),
};
_Static_assert(ARRAY_SIZE(balloon_counters) == FIRST_STATISTIC + BALLOON_STATISTICS, "one each");

static uint64_t bytes_of(uint64_t pages)
{
	return pages * GUEST_PAGE_BYTES;
}

static bool fetch_counters(struct device *dev)
{
	struct balloon *b = balloon_of(dev);
	struct balloon_counters *c = device_counters(dev, b->v.nqueues);

	balloon_stats_want(b);
	counter_set(&c->target, bytes_of(b->target));
	counter_set(&c->actual, bytes_of(b->s.actual));
	counter_set(&c->given, bytes_of(atomic_load(&b->ngiven)));
	return true;
}

static const struct counter_table balloon_counter_table =
	COUNTER_TABLE(struct balloon_counters, balloon_counters, .fetch = fetch_counters);

uint64_t balloon_target(const struct device *dev)
{
	return bytes_of(((const struct balloon *)dev)->target);
}

uint64_t balloon_actual(const struct device *dev)
{
	return bytes_of(((const struct balloon *)dev)->s.actual);
}

void balloon_read(struct device *dev, struct balloon_reading *out)
{
	struct balloon *b = balloon_of(dev);

	*out = (struct balloon_reading){ .target_bytes = balloon_target(dev),
					 .actual_bytes = balloon_actual(dev),
					 .given_bytes = bytes_of(atomic_load(&b->ngiven)),
					 .touched_bytes = bytes_of(balloon_pages_touched(b)) };
	for (unsigned tag = 0; tag < BALLOON_STATISTICS; tag++) {
		out->statistic[tag].name = balloon_counters[FIRST_STATISTIC + tag].name;
		balloon_statistic(dev, tag, &out->statistic[tag].value);
		out->statistic[tag].at_ns = atomic_load(&b->at_ns[tag]);
	}
}

bool balloon_statistic(const struct device *dev, unsigned tag, uint64_t *value)
{
	const struct balloon *b = (const struct balloon *)dev;
	const char *c = device_counters((struct device *)dev, BALLOON_STATS);

	*value = counter_get((void *)(c + balloon_counters[FIRST_STATISTIC + tag].offset));
	return atomic_load(&b->at_ns[tag]);
}

bool balloon_is_driven(const struct device *dev)
{
	return virtio_is_driven(&((const struct balloon *)dev)->v);
}

bool balloon_tells(const struct device *dev)
{
	const struct balloon *b = (const struct balloon *)dev;

	return balloon_is_driven(dev) && virtio_has(&b->v, VIRTIO_BALLOON_F_STATS_VQ);
}

uint64_t balloon_samples(const struct device *dev)
{
	const struct balloon_counters *c = device_counters((struct device *)dev, BALLOON_STATS);

	return counter_get(&c->samples);
}

/* Registers */

void balloon_show(struct balloon *b)
{
	b->registers =
		(struct virtio_balloon_config){ .num_pages = htole32(b->s.num_pages),
						.actual = htole32(b->s.actual),
						.free_page_hint_cmd_id = htole32(b->hints.id),
						.poison_val = htole32(b->s.poison_val) };
}

bool balloon_may_become_zero(struct balloon *b)
{
	return !virtio_has(&b->v, VIRTIO_BALLOON_F_PAGE_POISON) ||
	       !__atomic_load_n(&b->s.poison_val, __ATOMIC_RELAXED);
}

static void tell(struct balloon *b, const char *event)
{
	device_tell(&b->v.dev, "balloon", event,
		    json_pack("{s:I, s:I}", "target", (json_int_t)bytes_of(b->target), "actual",
			      (json_int_t)bytes_of(b->s.actual)));
}

/* Once for each target; and what the guest takes back by itself, at no pace of its own. */
static void look_at_actual(struct balloon *b)
{
	if (b->s.actual == b->target && !b->reached) {
		b->reached = true;
		tell(b, "reached");
	} else if (b->s.actual < b->target && b->reached &&
		   pace_allows(&b->told, EVENTS_PER_SECOND)) {
		tell(b, "taken-back");
	}
}

static void balloon_written(struct virtio_device *v, unsigned offset, unsigned size)
{
	struct balloon *b = container_of(v, struct balloon, v);

	(void)offset;
	(void)size;
	b->s.actual = le32toh(b->registers.actual);
	__atomic_store_n(&b->s.poison_val, le32toh(b->registers.poison_val), __ATOMIC_RELAXED);
	balloon_show(b);
	look_at_actual(b);
}

static bool take_target(struct balloon *b)
{
	if (b->s.num_pages == b->target)
		return false;
	b->s.num_pages = b->target;
	balloon_show(b);
	return true;
}

void balloon_set_target(struct device *dev, uint64_t bytes)
{
	struct balloon *b = balloon_of(dev);
	uint64_t pages = bytes / GUEST_PAGE_BYTES;

	b->target = (uint32_t)MIN(pages, UINT32_MAX);
	b->reached = false;
	tell(b, "target");
	/* Else it learns of it at the start. */
	if (dev->phase == DEVICE_RUNNING && take_target(b))
		virtio_config_changed(&b->v);
}

/* Queues */

static void take_all(struct balloon *b, struct virtqueue *vq, enum balloon_role role)
{
	struct balloon_counters *c = device_counters(&b->v.dev, vq->index);
	struct iovec segment[BALLOON_SEGMENTS];
	struct vq_range range[BALLOON_SEGMENTS];
	struct vq_request r = { .segment_max = BALLOON_SEGMENTS,
				.segment = segment,
				.range = range };
	uint64_t pages = 0;
	unsigned done = 0;

	vq_disable_kicks(vq);
	do {
		for (; done < vq->s->size && pages < TURN_PAGES && vq_pop(vq, &r); done++) {
			pages += role == BALLOON_HINTS ? balloon_hints_take(b, c, &r)
						       : balloon_pages_take(b, c, &r, role);
			vq_complete(vq, &r, 0);
		}
	} while (done < vq->s->size && pages < TURN_PAGES && vq_enable_kicks(vq));
	if (done == vq->s->size || pages >= TURN_PAGES)
		virtio_kick(&b->v, vq->index);
	vq_flush(vq);
}

static void balloon_kick(struct virtio_device *v, struct virtqueue *vq)
{
	struct balloon *b = container_of(v, struct balloon, v);
	unsigned role = vq->index;

	if (role >= BALLOON_STATS && !virtio_has(v, VIRTIO_BALLOON_F_STATS_VQ))
		role++;
	if (role >= BALLOON_HINTS && !virtio_has(v, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		role++;
	if (role == BALLOON_STATS)
		balloon_stats_kick(b, vq);
	else if (role < BALLOON_REPORTING || virtio_has(v, VIRTIO_BALLOON_F_REPORTING))
		take_all(b, vq, role);
}

/* A driver that goes leaves its pages to the next one. */
static void balloon_driver_reset(struct virtio_device *v)
{
	struct balloon *b = container_of(v, struct balloon, v);

	b->s.actual = b->s.poison_val = 0;
	b->reached = false;
	balloon_show(b);
	b->hints.heard = false;
	balloon_pages_forget(b);
	balloon_stats_forget(b);
}

static const struct virtio_class balloon_virtio_class = {
	.id = VIRTIO_ID_BALLOON,
	.class_code = CLASS_CODE,
	.kick = balloon_kick,
	.driver_reset = balloon_driver_reset,
	.config_written = balloon_written,
};

/* Life */

static void forget(void *balloon)
{
	struct balloon *b = balloon;

	balloon_pages_forget(b);
	pthread_mutex_destroy(&b->hints.lock);
}

static int balloon_attach(struct device *dev, struct err *e)
{
	struct balloon *b = balloon_of(dev);
	int r;

	b->v.features = BIT(VIRTIO_BALLOON_F_STATS_VQ);
	if (b->deflate_on_oom)
		b->v.features |= BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	/* Linux reports nothing of pages with a pattern, or zeroed when they are freed, to a device
	 * that does not know what a page looks like. */
	if (b->free_page_reporting)
		b->v.features |= BIT(VIRTIO_BALLOON_F_REPORTING) |
				 BIT(VIRTIO_BALLOON_F_PAGE_POISON);
	if (b->free_page_hinting)
		b->v.features |= BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT) |
				 BIT(VIRTIO_BALLOON_F_PAGE_POISON);
	b->v.nqueues = BALLOON_HINTS + b->free_page_hinting + b->free_page_reporting;
	pthread_mutex_init(&b->hints.lock, NULL);
	b->v.queue_size = QUEUE_SIZE;
	b->v.config = (uint8_t *)&b->registers;
	b->v.config_bytes = sizeof(b->registers);
	b->target = (uint32_t)MIN(b->size / GUEST_PAGE_BYTES, UINT32_MAX);
	r = device_claim_counters(dev, b->v.nqueues + 1, e);
	if (!r)
		r = balloon_stats_attach(b, e);
	if (!r)
		r = device_claim(dev, forget, b, e);
	return r ? r : virtio_attach(&b->v, &balloon_virtio_class, &b->s.virtio[0], e);
}

static void balloon_reset(struct device *dev)
{
	virtio_reset(dev);
	take_target(balloon_of(dev));
}

static void balloon_start(struct device *dev)
{
	struct balloon *b = balloon_of(dev);

	virtio_start(dev);
	if (take_target(b))
		virtio_config_changed(&b->v);
}

static int balloon_loaded(struct device *dev, struct err *e)
{
	struct balloon *b = balloon_of(dev);

	b->reached = b->s.actual == b->target;
	/* It was told so before it came, but may not have looked. */
	if (b->free_page_hinting)
		b->hints.id = VIRTIO_BALLOON_CMD_ID_DONE;
	balloon_show(b);
	return virtio_loaded(dev, e);
}

static const struct option balloon_options[] = {
	OPTION_SIZED(struct balloon, size, .required = true,
		     .help = "memory that the guest is asked to give"),
	OPTION(struct balloon, deflate_on_oom, .fallback = "off",
	       .help = "the guest may take it back before it kills processes"),
	OPTION(struct balloon, free_page_reporting, .fallback = "off",
	       .help = "memory that is free in the guest goes back to the host by itself"),
	OPTION(struct balloon, free_page_hinting, .fallback = "off",
	       .help = "memory that is free in the guest is left out of a move"),
};
static const struct option_table balloon_option_table = OPTION_TABLE(balloon_options,
								     .first = "size");

extern const struct device_class virtio_balloon_class;

/* A disk may have any name. */
struct device *balloon_device(struct vm *vm)
{
	struct device *dev = vm_device(vm, "balloon");

	return dev && dev->class == &virtio_balloon_class ? dev : NULL;
}

const struct device_class virtio_balloon_class = {
	.kind = "virtio-balloon",
	.size = sizeof(struct balloon),
	.options = &balloon_option_table,
	.state = &balloon_state_desc,
	.state_offset = offsetof(struct balloon, s),
	.counters = &balloon_counter_table,
	.attach = balloon_attach,
	.reset = balloon_reset,
	.start = balloon_start,
	.stop = virtio_stop,
	.loaded = balloon_loaded,
	.fetch = virtio_fetch,
};
