/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM with devices that need no kernel, for fuzz_device.c: which it has is a set of bits.  What is
 * behind the devices is of the harness's own: files in memory, ends of sockets (net_wires.h), and
 * character devices that take and give what they are told to.
 *
 * What the guest itself writes goes through guest_put(), which keeps a copy: where memory differs
 * from that at a stop, a device wrote, and must have marked it dirty.
 */
#ifndef DEVICE_WORLD_H
#define DEVICE_WORLD_H

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "balloon.h"
#include "chardev.h"
#include "classes.h"
#include "devices.h"
#include "hotplug.h"
#include "log.h"
#include "net_wires.h"
#include "virtio.h"
#include "vm.h"

enum {
	WORLD_RAM_BYTES = 256 * KIB,
	WORLD_PAGES = WORLD_RAM_BYTES / GUEST_PAGE_BYTES,
	WORLD_IMAGE_BYTES = 32 * KIB,
	WORLD_DISKS = 3, /* one, and those that come later */
	WORLD_CPUS = 4,
	WORLD_PORTS = 2, /* character devices */
	WORLD_SLOTS = 4, /* of PCI, that are in use */
};

enum world_has {
	HAS_PLATFORM = 1, /* what is not virtio; all have PCI and its hotplug */
	HAS_BLK = 2,
	HAS_NET = 4,
	HAS_RNG = 8,
	HAS_CONSOLE = 16,
	HAS_BALLOON = 32,
	/* Not beside devices of I/O threads: a guest that unplugs what it has them write to ends
	 * there and then. */
	HAS_MEM = 64,
	HAS_IO_THREAD = HAS_BLK | HAS_NET | HAS_RNG | HAS_BALLOON,
};

/* Bits of what an input chooses */
enum world_options {
	READONLY = 1,
	PASST = 2, /* instead of a tap */
	SMALL_SOCKET = 4,
	LARGE_PAGES = 8, /* what is given of these is given whole */
};

struct world {
	unsigned has, options;
	struct loop *loop;
	struct vm vm;
	struct hotplug hotplug;
	struct work step; /* of hotplug */
	struct work ping, pong; /* to the I/O thread and back */
	bool held; /* the VM as a whole stops: removals wait */
	int image[WORLD_DISKS];
	uint64_t image_bytes[WORLD_DISKS];
	unsigned ndisks;
	/* How far what was taken is ahead of what was given back, as altered state may have it. */
	uint16_t lead[WORLD_SLOTS][VIRTIO_QUEUES_MAX];
	uint8_t *copy; /* of memory, as the guest left it */
	uint64_t passed_ns;
};

static inline void require(bool what)
{
	if (!what)
		abort();
}

/* Character devices */

struct chardev {
	struct chardev_events events;
	bool used;
	size_t room; /* it takes so many bytes, and then none until there is more */
	uint16_t cols, rows;
};

static struct chardev chardevs[WORLD_PORTS];

const char *const chardev_mode_names[] = { "Off", "Null", "Tty", "Pty", "File", "Socket", NULL };

int chardev_new(struct chardev **out, const struct chardev_config *c, struct loop *loop,
		const struct chardev_events *events, struct err *e)
{
	struct chardev *ch = chardevs;

	(void)c;
	(void)loop;
	(void)e;
	while (ch->used)
		ch++;
	*ch = (struct chardev){ .events = *events, .used = true, .room = 64 };
	*out = ch;
	return 0;
}

void chardev_free(struct chardev *ch)
{
	if (ch)
		ch->used = false;
}

size_t chardev_write(struct chardev *ch, const uint8_t *bytes, size_t len)
{
	unsigned sum = 0;

	len = MIN(len, ch->room);
	/* All of it can be read. */
	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
	ch->room -= len;
	ch->rows = (uint16_t)(ch->rows | (sum == 0xfedc));
	return len;
}

void chardev_more(struct chardev *ch)
{
	(void)ch;
}

void chardev_size(const struct chardev *ch, uint16_t *cols, uint16_t *rows)
{
	*cols = ch->cols;
	*rows = ch->rows;
}

const char *chardev_path(const struct chardev *ch)
{
	(void)ch;
	return NULL;
}

void chardev_restore_terminal(void)
{
}

/* Memory */

static inline void guest_put(struct world *w, gpa_t gpa, const void *bytes, size_t len)
{
	if (gpa > WORLD_RAM_BYTES || len > WORLD_RAM_BYTES - gpa)
		return;
	memcpy(w->vm.mem->region[0].host + gpa, bytes, len);
	memcpy(w->copy + gpa, bytes, len);
}

/* While nothing is in flight: what the devices have written since the last time. */
static inline void check_dirty(struct world *w)
{
	struct guest_mem_region *r = &w->vm.mem->region[0];

	for (unsigned page = 0; page < WORLD_PAGES; page++) {
		const uint8_t *now = r->host + page * GUEST_PAGE_BYTES;
		uint8_t *copy = w->copy + page * GUEST_PAGE_BYTES;

		if (!memcmp(now, copy, GUEST_PAGE_BYTES))
			continue;
		require(atomic_load(&r->dirty_bits[page / 64]) >> page % 64 & 1);
		memcpy(copy, now, GUEST_PAGE_BYTES);
	}
	for (unsigned i = 0; i < WORLD_PAGES / 64; i++)
		atomic_store(&r->dirty_bits[i], 0);
}

/* Time and turns */

static inline void world_pump(struct world *w)
{
	if (w->vm.nio_threads)
		loop_post(io_thread_loop(w->vm.io_thread[0]), &w->ping);
	else
		loop_post(w->loop, &w->pong);
	loop_run(w->loop);
}

static inline void on_ping(void *arg)
{
	struct world *w = arg;

	loop_post(w->loop, &w->pong);
}

static inline void on_pong(void *arg)
{
	loop_quit(((struct world *)arg)->loop);
}

static inline void take_step(void *arg)
{
	struct world *w = arg;

	if (!w->held)
		hotplug_settle(&w->hotplug);
}

static inline void one_stopped(struct device *dev, void *arg)
{
	struct world *w = arg;

	(void)dev;
	loop_post(w->loop, &w->step);
}

static inline void on_event(void *arg, unsigned events)
{
	struct world *w = arg;

	if (events & VM_HOTPLUG)
		hotplug_answered(&w->hotplug);
}

/* All that was taken was given back. */
static inline void check_queues(struct world *w, bool stopped)
{
	for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
		const struct pci_function *fn = w->vm.pci->slot[slot];
		const struct virtio_state *s = fn ? device_state(fn->dev) : NULL;

		for (unsigned i = 0; s && i < s->nqueues; i++) {
			uint16_t *lead = &w->lead[slot][i], was = *lead;

			*lead = (uint16_t)(s->queue[i].next_avail - s->queue[i].next_used);
			require(!stopped || !*lead || *lead == was);
		}
	}
}

static inline void check_disks(struct world *w)
{
	struct stat st;

	for (unsigned i = 0; i < w->ndisks; i++)
		require(!fstat(w->image[i], &st) && (uint64_t)st.st_size == w->image_bytes[i]);
}

static inline void check_balloon(struct world *w)
{
	struct device *balloon = balloon_device(&w->vm);
	struct balloon_reading now;

	if (!balloon)
		return;
	balloon_read(balloon, &now);
	require(now.touched_bytes <= now.given_bytes && now.given_bytes <= WORLD_RAM_BYTES);
}

static inline bool all_are(const struct world *w, enum device_phase phase)
{
	const struct device *dev;

	list_for_each (dev, &w->vm.devices, node)
		if (dev->phase != phase)
			return false;
	return true;
}

static inline void world_start(struct world *w)
{
	struct device *dev;

	pthread_mutex_lock(&w->vm.lock);
	check_queues(w, false);
	list_for_each (dev, &w->vm.devices, node)
		device_start(dev);
	w->held = false;
	loop_post(w->loop, &w->step);
	pthread_mutex_unlock(&w->vm.lock);
}

static inline void world_stop(struct world *w)
{
	struct device *dev;

	pthread_mutex_lock(&w->vm.lock);
	w->held = true;
	list_for_each (dev, &w->vm.devices, node)
		if (dev->phase == DEVICE_RUNNING)
			device_stop(dev, one_stopped, w);
	pthread_mutex_unlock(&w->vm.lock);
	while (!all_are(w, DEVICE_STOPPED))
		world_pump(w);
	check_dirty(w);
	check_queues(w, true);
	check_disks(w);
	check_balloon(w);
}

/* STOPPED */
static inline void world_reset(struct world *w)
{
	struct device *dev;

	pthread_mutex_lock(&w->vm.lock);
	hotplug_guest_is_gone(&w->hotplug);
	list_for_each (dev, &w->vm.devices, node)
		device_reset(dev);
	pthread_mutex_unlock(&w->vm.lock);
}

/* As in a machine that was built for what comes. */
static inline void plug_all(struct guest_mem *m)
{
	const struct guest_mem_region *r = guest_mem_pluggable(m);

	require(!r || !guest_mem_plug(m, 0, (unsigned)(r->size_bytes / r->block_bytes)));
}

static inline void world_save(struct world *w, struct state_buf *state)
{
	struct err e;

	pthread_mutex_lock(&w->vm.lock);
	require(!devices_save(&w->vm, NULL, state, &e));
	pthread_mutex_unlock(&w->vm.lock);
}

static inline bool world_load(struct world *w, const struct state_buf *state)
{
	struct device *dev;
	struct err e;
	int r;

	pthread_mutex_lock(&w->vm.lock);
	list_for_each (dev, &w->vm.devices, node)
		device_reset(dev);
	plug_all(w->vm.mem);
	r = devices_load(&w->vm, state->data, state->len, &e);
	pthread_mutex_unlock(&w->vm.lock);
	return !r;
}

/* STOPPED: what the devices have come to they must take back, and come to it again. */
static inline void world_move(struct world *w)
{
	struct state_buf before = { 0 }, after = { 0 };

	world_save(w, &before);
	require(world_load(w, &before));
	world_save(w, &after);
	require(before.len == after.len && !memcmp(before.data, after.data, before.len));
	state_buf_free(&before);
	state_buf_free(&after);
}

/* STOPPED; read-only disks stay what they are. */
static inline void world_resize(struct world *w, uint64_t sectors)
{
	for (unsigned i = 0; i < w->ndisks; i++) {
		char id[16];
		struct device *dev;
		struct err e;

		snprintf(id, sizeof(id), "disk%u", i);
		dev = vm_device(&w->vm, id);
		if (!dev || device_resize(dev, sectors * 512, &e))
			continue;
		w->image_bytes[i] = sectors * 512;
		device_resized(dev);
	}
}

/* Devices */

static inline uint64_t world_wall_clock_ns(void);

static inline struct device *add(struct world *w, const struct device_class *class, const char *id,
				 json_t *options)
{
	struct device *dev;
	struct err e;

	if (device_new(&dev, class, id, &w->vm, options, &e)) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	json_decref(options);
	return dev;
}

static inline struct device *add_disk(struct world *w)
{
	char path[32], id[8];
	int fd;

	if (w->ndisks == WORLD_DISKS)
		return NULL;
	fd = memfd_create("image", MFD_CLOEXEC);
	require(fd >= 0 && !ftruncate(fd, WORLD_IMAGE_BYTES));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(id, sizeof(id), "disk%u", w->ndisks);
	w->image_bytes[w->ndisks] = WORLD_IMAGE_BYTES;
	w->image[w->ndisks++] = fd;
	return add(w, &virtio_blk_class, id,
		   json_pack("{s:s, s:b, s:i, s:i}", "path", path, "readonly",
			     !!(w->options & READONLY), "queue_size", 16, "num_queues", 2));
}

static inline void add_platform(struct world *w)
{
	add(w, &cpu_hotplug_class, "cpu-hotplug",
	    json_pack("{s:i, s:i}", "boot", 2, "max", WORLD_CPUS));
	add(w, &acpi_pm_class, "acpi", NULL);
	add(w, &cmos_class, "cmos", NULL);
	add(w, &i8042_class, "i8042", NULL);
	add(w, &pvpanic_class, "pvpanic", NULL);
	add(w, &uart_class, "serial", json_pack("{s:s}", "mode", "Tty"));
}

static inline void add_card(struct world *w)
{
	bool passt = w->options & PASST;

	add(w, &virtio_net_class, "net0",
	    json_pack("{s:s, s:i, s:i}", "backend", passt ? "Passt" : "Tap", "queue_size", 16,
		      "num_queues", passt ? 2 : 4));
	wires_limit(w->options & SMALL_SOCKET);
}

static inline void add_all(struct world *w)
{
	add(w, &pci_host_class, "pci-host", NULL);
	add(w, &pci_hotplug_class, "pci-hotplug", NULL);
	if (w->has & HAS_PLATFORM)
		add_platform(w);
	if (w->has & HAS_BLK)
		add_disk(w);
	if (w->has & HAS_NET)
		add_card(w);
	if (w->has & HAS_RNG)
		add(w, &virtio_rng_class, "rng", json_object());
	if (w->has & HAS_CONSOLE)
		add(w, &virtio_console_class, "console", json_pack("{s:s}", "mode", "Tty"));
	if (w->has & HAS_BALLOON)
		add(w, &virtio_balloon_class, "balloon",
		    json_pack("{s:i, s:b, s:b}", "size", 8192, "free_page_reporting", 1,
			      "free_page_hinting", 1));
	if (w->has & HAS_MEM)
		add(w, &virtio_mem_class, "mem", json_pack("{s:i}", "size", 4 * MIB));
}

static struct world *world_of_clock;

static inline uint64_t world_wall_clock_ns(void)
{
	return UINT64_C(1700000000000000000) + world_of_clock->passed_ns;
}

static inline void world_open(struct world *w, unsigned has, unsigned options)
{
	struct guest_mem_config memory = { .size_bytes = WORLD_RAM_BYTES };
	struct err e;

	if (has & HAS_MEM)
		memory.pluggable_bytes = 8 * MIB;
	log_set_level(LOG_ERROR);
	*w = (struct world){ .has = has, .options = options, .copy = calloc(1, WORLD_RAM_BYTES) };
	world_of_clock = w;
	wires_init();
	require(w->copy && !loop_new(&w->loop, &e));
	require(!vm_init(&w->vm, -1, w->loop, has & HAS_IO_THREAD ? 1 : 0, &e));
	require(!guest_mem_new(&w->vm.mem, &memory, &e) && !guest_mem_log_start(w->vm.mem, &e));
	if (has & HAS_BALLOON && options & LARGE_PAGES)
		w->vm.mem->page_bytes = UINT64_C(4) * GUEST_PAGE_BYTES;
	if (has & HAS_BALLOON)
		require(!guest_mem_hints_start(w->vm.mem, &e));
	loop_set_lock(w->loop, &w->vm.lock);
	w->vm.wall_clock_ns = world_wall_clock_ns;
	w->vm.on_event = on_event;
	w->vm.on_event_arg = w;
	w->ping = (struct work){ .run = on_ping, .arg = w };
	w->pong = (struct work){ .run = on_pong, .arg = w };
	w->step = (struct work){ .run = take_step, .arg = w };
	hotplug_init(&w->hotplug, &w->vm, &w->step, one_stopped, w);
	add_all(w);
	world_start(w);
}

/* STOPPED */
static inline void world_close(struct world *w)
{
	struct guest_mem *mem = w->vm.mem;

	wires_receive();
	hotplug_cancel(&w->hotplug);
	vm_free(&w->vm);
	guest_mem_free(mem);
	loop_free(w->loop);
	for (unsigned i = 0; i < w->ndisks; i++)
		close(w->image[i]);
	free(w->copy);
}

#endif
