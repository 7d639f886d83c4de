/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8254 timer inside KVM, with its gate and speaker bits at port 61.  The load times of the
 * channels are in KVM's clock and mean nothing on another host: a load starts the counts anew,
 * which a guest sees as one late tick, or of a count that had run out, as one more.
 *
 * Source: Linux Documentation/virt/kvm/api.rst, 4.71, 4.72.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bits.h"
#include "vm.h"

enum { CHANNELS = 3 };

struct pit_channel {
	uint32_t count; /* 65536 is a count too */
	uint16_t latched_count;
	uint8_t count_latched, status_latched, status, read_state, write_state, write_latch;
	uint8_t rw_mode, mode, bcd, gate;
};

struct pit_state {
	struct pit_channel channel[CHANNELS];
	uint32_t flags;
};

struct pit {
	struct device dev;
	struct pit_state s, fresh;
};

static const struct state_field channel_fields[] = {
	STATE(struct pit_channel, count, .max = 65536),
	STATE(struct pit_channel, latched_count),
	STATE(struct pit_channel, count_latched),
	STATE(struct pit_channel, status_latched),
	STATE(struct pit_channel, status),
	STATE(struct pit_channel, read_state),
	STATE(struct pit_channel, write_state),
	STATE(struct pit_channel, write_latch),
	STATE(struct pit_channel, rw_mode),
	STATE(struct pit_channel, mode),
	STATE(struct pit_channel, bcd),
	STATE(struct pit_channel, gate),
};
static const struct state_desc channel_desc = STATE_DESC(struct pit_channel, "channel", 1, 1,
							 channel_fields);
static const struct state_field pit_fields[] = {
	STATE_STRUCTS(struct pit_state, channel, &channel_desc),
	STATE(struct pit_state, flags),
};
static const struct state_desc pit_desc = STATE_DESC(struct pit_state, "pit", 1, 1, pit_fields);

static int pit_get(struct pit *p, struct err *e)
{
	struct kvm_pit_state2 k;

	if (ioctl(p->dev.vm->fd, KVM_GET_PIT2, &k) < 0)
		return err_set(e, -errno, "cannot read the interval timer: %s", strerror(errno));
	for (unsigned i = 0; i < CHANNELS; i++) {
		const struct kvm_pit_channel_state *c = &k.channels[i];

		p->s.channel[i] = (struct pit_channel){
			.count = c->count,
			.latched_count = c->latched_count,
			.count_latched = c->count_latched,
			.status_latched = c->status_latched,
			.status = c->status,
			.read_state = c->read_state,
			.write_state = c->write_state,
			.write_latch = c->write_latch,
			.rw_mode = c->rw_mode,
			.mode = c->mode,
			.bcd = c->bcd,
			.gate = c->gate,
		};
	}
	p->s.flags = k.flags;
	return 0;
}

static int pit_set(struct pit *p, struct err *e)
{
	struct kvm_pit_state2 k = { .flags = p->s.flags };

	for (unsigned i = 0; i < CHANNELS; i++) {
		const struct pit_channel *c = &p->s.channel[i];

		k.channels[i] = (struct kvm_pit_channel_state){
			.count = c->count,
			.latched_count = c->latched_count,
			.count_latched = c->count_latched,
			.status_latched = c->status_latched,
			.status = c->status,
			.read_state = c->read_state,
			.write_state = c->write_state,
			.write_latch = c->write_latch,
			.rw_mode = c->rw_mode,
			.mode = c->mode,
			.bcd = c->bcd,
			.gate = c->gate,
		};
	}
	if (ioctl(p->dev.vm->fd, KVM_SET_PIT2, &k) < 0)
		return err_set(e, -errno, "cannot set the interval timer: %s", strerror(errno));
	return 0;
}

static int pit_attach(struct device *dev, struct err *e)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct pit *p = (struct pit *)dev;
	int r;

	if (ioctl(dev->vm->fd, KVM_CREATE_PIT2, &config) < 0)
		return err_set(e, -errno, "KVM cannot make an interval timer: %s", strerror(errno));
	r = pit_get(p, e);
	p->fresh = p->s;
	return r;
}

static void pit_reset(struct device *dev)
{
	struct pit *p = (struct pit *)dev;
	struct err e;

	p->s = p->fresh;
	if (pit_set(p, &e))
		vm_fail(dev->vm, "%s", e.text);
}

static int pit_fetch(struct device *dev, struct err *e)
{
	return pit_get((struct pit *)dev, e);
}

static int pit_loaded(struct device *dev, struct err *e)
{
	return pit_set((struct pit *)dev, e);
}

const struct device_class pit_class = {
	.kind = "pit",
	.size = sizeof(struct pit),
	.state = &pit_desc,
	.state_offset = offsetof(struct pit, s),
	.attach = pit_attach,
	.reset = pit_reset,
	.fetch = pit_fetch,
	.loaded = pit_loaded,
};
