/* SPDX-License-Identifier: Apache-2.0 */
/* A VM of toys for tests of streams: two devices with state, one without, and memory. */
#ifndef TOY_VM_H
#define TOY_VM_H

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state_codec.h"
#include "stream.h"
#include "vm.h"

/* A device that knows in which order it was told about a load. */
struct toy_state {
	uint32_t level;
	uint8_t ram[8];
};

struct toy {
	struct device dev;
	struct toy_state s;
	unsigned loaded, fetched;
};

static const struct state_field toy_fields[] = {
	STATE(struct toy_state, level, .max = 100),
	STATE_ARRAY(struct toy_state, ram),
};
static const struct state_desc toy_desc = STATE_DESC(struct toy_state, "toy", 1, 1, toy_fields);

static inline int toy_attach(struct device *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static inline void toy_reset(struct device *dev)
{
	((struct toy *)dev)->s = (struct toy_state){ .level = 1 };
}

static inline int toy_fetch(struct device *dev, struct err *e)
{
	(void)e;
	((struct toy *)dev)->fetched++;
	return 0;
}

static inline int toy_loaded(struct device *dev, struct err *e)
{
	struct toy *toy = (struct toy *)dev;
	struct device *first = list_item(dev->vm->devices.next, struct device, node);

	if (toy->s.level == 99)
		return err_set(e, -EBADMSG, "%s: level 99 is refused", dev->id);
	/* Devices are told in order, and all states are in place before the first is. */
	ck_assert(dev == first || ((struct toy *)first)->loaded);
	toy->loaded++;
	return 0;
}

static const struct device_class toy_class = { .kind = "toy",
					       .size = sizeof(struct toy),
					       .state = &toy_desc,
					       .state_offset = offsetof(struct toy, s),
					       .attach = toy_attach,
					       .reset = toy_reset,
					       .loaded = toy_loaded,
					       .fetch = toy_fetch };
static const struct device_class other_class = { .kind = "other",
						 .size = sizeof(struct toy),
						 .state = &toy_desc,
						 .state_offset = offsetof(struct toy, s),
						 .attach = toy_attach,
						 .reset = toy_reset };

static inline void mute_reset(struct device *dev)
{
	(void)dev;
}

static const struct device_class mute_class = {
	.kind = "mute", .size = sizeof(struct device), .attach = toy_attach, .reset = mute_reset
};

struct rig {
	struct loop *loop;
	struct vm vm;
	struct toy *toy[2];
};

enum { RAM_BYTES = 4 << 20 };

static inline struct toy *add(struct rig *rig, const struct device_class *class, const char *id)
{
	struct device *dev;
	struct err e;

	ck_assert_msg(device_new(&dev, class, id, &rig->vm, NULL, &e) == 0, "%s", e.text);
	return (struct toy *)dev;
}

static inline void empty_new(struct rig *rig, bool shared, uint64_t ram_bytes)
{
	struct guest_mem_config c = { .size_bytes = ram_bytes, .shared = shared };
	struct err e;

	ck_assert_msg(loop_new(&rig->loop, &e) == 0, "%s", e.text);
	ck_assert_msg(vm_init(&rig->vm, -1, rig->loop, 0, &e) == 0, "%s", e.text);
	ck_assert_msg(guest_mem_new(&rig->vm.mem, &c, &e) == 0, "%s", e.text);
}

static inline void rig_new(struct rig *rig, bool shared)
{
	empty_new(rig, shared, RAM_BYTES);
	rig->toy[0] = add(rig, &toy_class, "toy0");
	add(rig, &mute_class, "mute0");
	rig->toy[1] = add(rig, &toy_class, "toy1");
}

static inline void rig_free(struct rig *rig)
{
	vm_free(&rig->vm);
	guest_mem_free(rig->vm.mem);
	loop_free(rig->loop);
}

static inline int memory_file(void)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static inline int saved(struct rig *rig)
{
	int fd = memory_file();
	struct err e;

	ck_assert_msg(stream_save(&rig->vm, fd, &e) == 0, "%s", e.text);
	return fd;
}

static inline int load(struct rig *rig, int fd, struct err *e)
{
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	return stream_load(&rig->vm, fd, e);
}

static inline size_t size_of(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (size_t)st.st_size;
}

/* The stream is refused with this in the sentence, and no device has changed. */
static inline void refused(struct rig *rig, int fd, const char *sentence)
{
	struct toy_state before[2] = { rig->toy[0]->s, rig->toy[1]->s };
	struct err e;

	ck_assert_int_eq(load(rig, fd, &e), -EBADMSG);
	ck_assert_msg(strstr(e.text, sentence), "\"%s\" lacks \"%s\"", e.text, sentence);
	for (int i = 0; i < 2; i++) {
		ck_assert(!memcmp(&before[i], &rig->toy[i]->s, sizeof(before[i])));
		ck_assert_uint_eq(rig->toy[i]->loaded, 0);
	}
}

static inline uint8_t *page(struct rig *rig, unsigned n)
{
	return guest_mem_at(rig->vm.mem, (gpa_t)n * GUEST_PAGE_BYTES, GUEST_PAGE_BYTES);
}

#endif
