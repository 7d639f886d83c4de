/* SPDX-License-Identifier: Apache-2.0 */
/* A VM without KVM around one platform device, for unit tests. */
#ifndef DEVICE_FIXTURE_H
#define DEVICE_FIXTURE_H

#include "bits.h"
#include "check_main.h"
#include "vm.h"

struct fixture {
	struct vm vm;
	struct timer limit;
	unsigned events; /* raised so far */
	struct device *dev;
};

static inline void fixture_event(void *arg, unsigned events)
{
	((struct fixture *)arg)->events |= events;
}

static inline void fixture_enough(void *arg)
{
	loop_quit(((struct fixture *)arg)->vm.loop);
}

/* Let main do for so long what it would. */
static inline void fixture_run_ms(struct fixture *f, unsigned ms)
{
	loop_timer_set(f->vm.loop, &f->limit, loop_now_ns() + ms * UINT64_C(1000000));
	loop_run(f->vm.loop);
}

static inline void fixture_stopped(struct device *dev, void *arg)
{
	(void)dev;
	*(bool *)arg = true;
}

static inline void fixture_stop(struct fixture *f)
{
	bool stopped = false;

	device_stop(f->dev, fixture_stopped, &stopped);
	ck_assert(stopped);
}

/* options: JSON, or NULL.  Returns what device_new() does; on success the device runs. */
static inline int fixture_try(struct fixture *f, const struct device_class *class,
			      const char *options, struct err *e)
{
	json_t *json = options ? json_loads(options, 0, NULL) : NULL;
	struct loop *loop;
	int r;

	*f = (struct fixture){ .limit = { .expired = fixture_enough, .arg = f } };
	ck_assert_int_eq(loop_new(&loop, e), 0);
	ck_assert_int_eq(vm_init(&f->vm, -1, loop, 0, e), 0);
	f->vm.on_event = fixture_event;
	f->vm.on_event_arg = f;
	r = device_new(&f->dev, class, "device", &f->vm, json, e);
	json_decref(json);
	if (!r)
		device_start(f->dev);
	return r;
}

static inline void fixture_close(struct fixture *f)
{
	struct loop *loop = f->vm.loop;

	if (f->dev && f->dev->phase == DEVICE_RUNNING)
		fixture_stop(f);
	vm_free(&f->vm);
	loop_free(loop);
}

static inline void fixture_open(struct fixture *f, const struct device_class *class,
				const char *options)
{
	struct err e;

	ck_assert_msg(!fixture_try(f, class, options, &e), "%s", e.text);
}

/* As a move to another host does: the state of from, started, becomes that of to. */
static inline int fixture_move(struct fixture *to, struct fixture *from, struct err *e)
{
	int r;

	fixture_stop(from);
	fixture_stop(to);
	memcpy(device_state(to->dev), device_state(from->dev), to->dev->class->state->size);
	r = device_loaded(to->dev, e);
	if (!r)
		device_start(to->dev);
	return r;
}

static inline uint8_t in8(struct fixture *f, uint16_t port)
{
	return (uint8_t)bus_read(&f->vm.pio, port, 1);
}

static inline void out8(struct fixture *f, uint16_t port, uint8_t value)
{
	bus_write(&f->vm.pio, port, 1, value);
}

/* Every claim of the class fails once, and leaves nothing behind. */
static inline void fixture_fail_claims(const struct device_class *class, const char *options,
				       unsigned claims)
{
	for (unsigned n = 1; n <= claims + 1; n++) {
		json_t *json = options ? json_loads(options, 0, NULL) : NULL;
		struct device *dev = NULL;
		struct loop *loop;
		struct vm vm;
		struct err e;
		int r;

		ck_assert_int_eq(loop_new(&loop, &e), 0);
		ck_assert_int_eq(vm_init(&vm, -1, loop, 0, &e), 0);
		vm.fail_claim = n;
		r = device_new(&dev, class, "device", &vm, json, &e);
		ck_assert_int_eq(r, n <= claims ? -ENOMEM : 0);
		device_free(dev);
		ck_assert_uint_eq(vm.pio.nregions, 0);
		for (unsigned i = 0; i < IRQ_PINS; i++)
			ck_assert(!vm.irq.taken[i]);
		json_decref(json);
		vm_free(&vm);
		loop_free(loop);
	}
}

#endif
