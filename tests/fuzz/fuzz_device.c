/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that does to a device what the input says (actions.h), and a host that does so, too.
 * Each target has a VM with one of the virtio devices, or with those of the platform: DEVICES, a
 * bit of enum world_has.
 *
 * Registers, configuration space, memory and queues can be written in any way; two actions are
 * shorter ways to what a good driver does: bring a device up, and make a request of it.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "actions.h"
#include "cpu_hotplug.h"
#include "device_world.h"
#include "platform.h"
#include "virtio.h"
#include "virtio_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum what {
	PORT_READ, /* A: which ports, OFFSET in them, B: width */
	PORT_WRITE, /* and VALUE */
	CONFIG_READ, /* A: slot, OFFSET, B: width */
	CONFIG_WRITE, /* and VALUE */
	BAR_READ, /* A: slot, B: BAR and width, OFFSET */
	BAR_WRITE, /* and VALUE */
	MEMORY, /* VALUE: address, BYTES */
	BRING_UP, /* A: slot, B: queue size, OFFSET: vectors, VALUE: features refused */
	REQUEST, /* A: slot, B: queue, OFFSET: enum shape, VALUE: a byte for each segment, BYTES */
	KICK, /* A: slot, B: queue */
	TURNS, /* of the I/O thread and of main */
	STOP, /* A: what happens then, VALUE or BYTES for it */
	HOST, /* A: enum deed, B, BYTES */
	ACTIONS
};

const uint8_t action_fields[] = {
	[PORT_READ] = A | B | OFFSET,
	[PORT_WRITE] = A | B | OFFSET | VALUE,
	[CONFIG_READ] = A | B | OFFSET,
	[CONFIG_WRITE] = A | B | OFFSET | VALUE,
	[BAR_READ] = A | B | OFFSET,
	[BAR_WRITE] = A | B | OFFSET | VALUE,
	[MEMORY] = VALUE | BYTES,
	[BRING_UP] = A | B | OFFSET | VALUE,
	[REQUEST] = A | B | OFFSET | VALUE | BYTES,
	[KICK] = A | B,
	[TURNS] = 0,
	[STOP] = A | VALUE | BYTES,
	[HOST] = A | B | BYTES,
};
const unsigned nactions = ACTIONS;

/* Of a request: two bits that say how many segments there are more than one, and these. */
enum shape { KICKED = 0x40, INDIRECT_TABLE = 0x80 };

/* Of a segment: seven bits that say how long it is, and this. */
enum { LONG = 0x40, WRITTEN = 0x80, LONG_UNIT = 16 };

/* While all devices are stopped */
enum { RESTART, RESET, MOVE, RESIZE, ALTER, STOPS };

enum deed {
	BUTTON,
	TIME,
	TYPE,
	ROOM,
	SIZE,
	SEND,
	RECEIVE,
	ASK,
	HINT,
	REMOVE,
	ADD,
	WANT,
	WITHDRAW,
	DEEDS
};

enum {
	QUEUES = 8,
	RINGS = 0x10000,
	RING_BYTES = 0x400, /* of a queue: descriptors, then these */
	AVAIL = 0x100,
	USED = 0x200,
	INDIRECT = 0x300,
	RING_SIZE = 16,
	SEGMENTS = 4, /* of a request */
	CHANGE_BYTES = 3, /* to a state: where, and what is there then */
	BUFFERS = RINGS + WORLD_SLOTS * QUEUES * RING_BYTES,
	BAR_SPACE = 0x10000, /* of a slot */
	NOTIFY = 0x3000, /* in BAR 0: four bytes for each queue */
	ACTIONS_MAX = 200,
	TURNS_MAX = 40, /* they take long */
	STOPS_MAX = 10, /* and these longer */
	RESET_POLLS = 4,
};

static const struct {
	uint16_t base, len;
} ports[] = {
	{ PLATFORM_COM1, 9 },
	{ PLATFORM_CMOS, 2 },
	{ PLATFORM_I8042, 5 },
	{ PLATFORM_ACPI_SLEEP_CONTROL, 9 },
	{ PLATFORM_PVPANIC, 2 },
	{ PLATFORM_PCI_HOTPLUG, PLATFORM_PCI_HOTPLUG_BYTES },
	{ PLATFORM_CPU_HOTPLUG, PLATFORM_CPU_HOTPLUG_BYTES },
	{ PLATFORM_PCI_CONFIG, 8 },
};

struct fuzz {
	struct world w;
	bool ended;
	unsigned turns, stops;
	uint32_t buffer; /* the next one is here in BUFFERS */
	uint16_t made[WORLD_SLOTS][QUEUES]; /* requests */
	uint16_t size[WORLD_SLOTS];
};

/* Registers */

static struct pci_function *function_at(struct fuzz *f, unsigned slot)
{
	return f->w.vm.pci->slot[slot];
}

static void write_config(struct fuzz *f, unsigned slot, unsigned offset, unsigned width,
			 uint64_t value)
{
	bus_write(&f->w.vm.mmio, PLATFORM_ECAM_BASE + (slot << 15) + offset, width, value);
}

static unsigned width_of(uint8_t bits)
{
	return 1u << bits % 4;
}

static void access_config(struct fuzz *f, const struct action *a, bool write)
{
	unsigned slot = a->a % WORLD_SLOTS, offset = a->offset & 0xfff, width = width_of(a->b);

	if (write)
		write_config(f, slot, offset, width, a->value);
	else
		bus_read(&f->w.vm.mmio, PLATFORM_ECAM_BASE + (slot << 15) + offset, width);
}

static void access_port(struct fuzz *f, const struct action *a, bool write)
{
	unsigned at = a->a % ARRAY_SIZE(ports), width = width_of(a->b);
	uint16_t port = (uint16_t)(ports[at].base + a->offset % ports[at].len);

	if (write)
		bus_write(&f->w.vm.pio, port, width, a->value);
	else
		bus_read(&f->w.vm.pio, port, width);
}

static void access_bar(struct fuzz *f, const struct action *a, bool write)
{
	const struct pci_function *fn = function_at(f, a->a % WORLD_SLOTS);
	unsigned width = width_of(a->b);
	uint64_t address;

	if (!fn)
		return;
	address = fn->bar[a->b / 4 % 2].region.base + a->offset;
	if (write)
		bus_write(&f->w.vm.mmio, address, width, a->value);
	else
		bus_read(&f->w.vm.mmio, address, width);
}

/* A driver */

static void turn(struct fuzz *f)
{
	if (f->turns++ < TURNS_MAX)
		world_pump(&f->w);
}

static void write_bar0(struct fuzz *f, uint64_t bar, unsigned offset, unsigned width,
		       uint64_t value)
{
	pthread_mutex_lock(&f->w.vm.lock);
	bus_write(&f->w.vm.mmio, bar + offset, width, value);
	pthread_mutex_unlock(&f->w.vm.lock);
}

static uint64_t read_bar0(struct fuzz *f, uint64_t bar, unsigned offset, unsigned width)
{
	return bus_read(&f->w.vm.mmio, bar + offset, width);
}

static gpa_t ring_of(unsigned slot, unsigned queue)
{
	return RINGS + (gpa_t)(slot * QUEUES + queue) * RING_BYTES;
}

static void set_queue(struct fuzz *f, uint64_t bar, unsigned slot, unsigned queue, unsigned vectors)
{
	gpa_t ring = ring_of(slot, queue);
	const uint8_t none[4] = { 0 };

	f->made[slot][queue] = 0;
	guest_put(&f->w, ring + AVAIL, none, sizeof(none));
	write_bar0(f, bar, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	write_bar0(f, bar, VIRTIO_PCI_COMMON_Q_SIZE, 2, f->size[slot]);
	write_bar0(f, bar, VIRTIO_PCI_COMMON_Q_MSIX, 2, vectors ? queue % vectors : MSIX_NO_VECTOR);
	write_bar0(f, bar, VIRTIO_PCI_COMMON_Q_DESCLO, 4, ring);
	write_bar0(f, bar, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, ring + AVAIL);
	write_bar0(f, bar, VIRTIO_PCI_COMMON_Q_USEDLO, 4, ring + USED);
	write_bar0(f, bar, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static void agree(struct fuzz *f, uint64_t bar, uint64_t refused)
{
	for (unsigned half = 0; half < 2; half++) {
		uint64_t offered;

		write_bar0(f, bar, VIRTIO_PCI_COMMON_DFSELECT, 4, half);
		write_bar0(f, bar, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
		offered = read_bar0(f, bar, VIRTIO_PCI_COMMON_DF, 4);
		write_bar0(f, bar, VIRTIO_PCI_COMMON_GF, 4, offered & ~(refused >> 32 * half));
	}
}

/* A function that came later has no addresses. */
static void place(struct fuzz *f, unsigned slot)
{
	for (unsigned bar = 0; bar < 2; bar++)
		write_config(f, slot, PCI_BASE_ADDRESS_0 + 4 * bar, 4,
			     PLATFORM_PCI_BAR_BASE + (2 * slot + bar + 1) * BAR_SPACE);
	write_config(f, slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void bring_up(struct fuzz *f, const struct action *a)
{
	static const uint8_t steps[] = { VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
					 VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK };
	unsigned slot = a->a % WORLD_SLOTS, size = 1u << a->b % 5, vectors = a->offset % 8,
		 status = 0;
	uint64_t bar;

	if (!slot || !function_at(f, slot))
		return;
	f->size[slot] = (uint16_t)size;
	place(f, slot);
	/* From here on the device may go. */
	bar = function_at(f, slot)->bar[0].region.base;
	write_bar0(f, bar, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	for (int i = 0; i < RESET_POLLS && read_bar0(f, bar, VIRTIO_PCI_COMMON_STATUS, 1); i++)
		turn(f);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i] == VIRTIO_CONFIG_S_FEATURES_OK)
			agree(f, bar, a->value);
		if (steps[i] == VIRTIO_CONFIG_S_DRIVER_OK)
			for (unsigned queue = 0; queue < QUEUES; queue++)
				set_queue(f, bar, slot, queue, vectors);
		status |= steps[i];
		write_bar0(f, bar, VIRTIO_PCI_COMMON_STATUS, 1, status);
	}
}

static void kick(struct fuzz *f, unsigned slot, unsigned queue)
{
	const struct pci_function *fn = function_at(f, slot);

	if (fn)
		write_bar0(f, fn->bar[0].region.base, NOTIFY + 4 * queue, 2, queue);
}

/* What a device is to write is there as it was. */
static uint32_t put_buffer(struct fuzz *f, uint32_t len, struct action *a)
{
	uint32_t space = WORLD_RAM_BYTES - BUFFERS, at;
	size_t given = MIN((size_t)len, a ? a->nbytes : 0);

	if (len > space - f->buffer)
		f->buffer = 0;
	at = BUFFERS + f->buffer;
	f->buffer += len;
	if (given) {
		guest_put(&f->w, at, a->bytes, given);
		a->bytes += given;
		a->nbytes -= given;
	}
	return at;
}

/* Descriptors of n segments, from number first on */
static void put_segments(struct fuzz *f, struct action *a, gpa_t table, unsigned first, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t kind = (uint8_t)(a->value >> 8 * i);
		bool written = kind & WRITTEN;
		struct vring_desc d = { .len = (kind & 0x7f) * (kind & LONG ? LONG_UNIT : 1),
					.flags = (i + 1 < n ? VRING_DESC_F_NEXT : 0) |
						 (written ? VRING_DESC_F_WRITE : 0),
					.next = (uint16_t)(first + i + 1) };

		d.addr = put_buffer(f, d.len, written ? NULL : a);
		guest_put(&f->w, table + (first + i) * sizeof(d), &d, sizeof(d));
	}
}

/* Half of a queue's descriptors are for each of its last requests, by turns. */
static void request(struct fuzz *f, struct action *a)
{
	unsigned slot = a->a % WORLD_SLOTS, queue = a->b % QUEUES, n = 1 + a->offset % SEGMENTS;
	uint16_t size = MAX(f->size[slot], 1), *made = &f->made[slot][queue];
	gpa_t ring = ring_of(slot, queue);
	uint16_t head = (uint16_t)(*made * SEGMENTS % size);

	if (a->offset & INDIRECT_TABLE) {
		struct vring_desc d = { ring + INDIRECT, n * sizeof(d), VRING_DESC_F_INDIRECT, 0 };

		put_segments(f, a, ring + INDIRECT, 0, n);
		guest_put(&f->w, ring + head * sizeof(d), &d, sizeof(d));
	} else {
		put_segments(f, a, ring, head, n);
	}
	guest_put(&f->w, ring + AVAIL + 4 + 2 * (*made % size), &head, sizeof(head));
	++*made;
	guest_put(&f->w, ring + AVAIL + 2, made, sizeof(*made));
	if (a->offset & KICKED)
		kick(f, slot, queue);
}

/* The host */

static void type(const struct action *a, struct chardev *ch)
{
	if (ch->used)
		ch->events.received(ch->events.arg, a->bytes, a->nbytes);
}

static void make_room(struct chardev *ch, size_t room)
{
	ch->room += room;
	if (ch->used)
		ch->events.writable(ch->events.arg);
}

static void resize_terminal(struct chardev *ch, uint8_t size)
{
	ch->cols = size & 15;
	ch->rows = size >> 4;
	if (ch->used && ch->events.resized)
		ch->events.resized(ch->events.arg);
}

/* More or less memory */
static void ask(struct fuzz *f, uint64_t pages)
{
	struct device *balloon = balloon_device(&f->w.vm), *mem = virtio_mem_of(&f->w.vm);

	if (balloon)
		balloon_set_target(balloon, pages * GUEST_PAGE_BYTES);
	if (mem)
		virtio_mem_ask(mem, pages * MIB);
}

static void on_removed(void *arg, int result, const char *why)
{
	(void)arg;
	require(!result == !why);
}

static void remove_device(struct fuzz *f, unsigned slot)
{
	const struct pci_function *fn = function_at(f, slot);
	struct err e;

	if (fn)
		hotplug_remove(&f->w.hotplug, fn->dev->id, on_removed, NULL, &e);
}

static void add_device(struct fuzz *f)
{
	struct device *dev = f->w.has & HAS_BLK ? add_disk(&f->w) : NULL;

	if (!dev)
		return;
	device_start(dev);
	hotplug_added(&f->w.hotplug, dev);
}

static void act_as_host(struct fuzz *f, const struct action *a)
{
	enum deed deed = (enum deed)(a->a % DEEDS);
	uint8_t n = a->b;
	struct chardev *ch = &chardevs[n % WORLD_PORTS];
	struct device *balloon = balloon_device(&f->w.vm);
	struct device *cpus = cpu_hotplug_of(&f->w.vm);

	switch (deed) {
	case BUTTON:
		vm_press_power_button(&f->w.vm);
		break;
	case TIME:
		f->w.passed_ns += (uint64_t)n * 333333333;
		break;
	case TYPE:
		type(a, ch);
		break;
	case ROOM:
		make_room(ch, n);
		break;
	case SIZE:
		resize_terminal(ch, n);
		break;
	case SEND:
		wires_send(a->bytes, a->nbytes);
		break;
	case RECEIVE:
		wires_receive();
		break;
	case ASK:
		ask(f, n);
		break;
	case HINT:
		if (balloon && balloon_can_hint(balloon))
			balloon_hint(balloon, n & 1);
		break;
	case REMOVE:
		remove_device(f, n % WORLD_SLOTS);
		break;
	case ADD:
		add_device(f);
		break;
	case WANT:
		if (cpus)
			cpu_hotplug_want(cpus, n % 2);
		break;
	default:
		if (cpus)
			cpu_hotplug_withdraw(cpus, n % 2);
	}
}

/* As a source may have it that is no friend; what it refuses is the end of the VM. */
static bool alter(struct fuzz *f, const struct action *a)
{
	struct state_buf state = { 0 };
	bool taken;

	world_save(&f->w, &state);
	for (const uint8_t *at = a->bytes; a->bytes + a->nbytes - at >= CHANGE_BYTES;
	     at += CHANGE_BYTES)
		state.data[(at[0] | at[1] << 8) % state.len] = at[2];
	taken = world_load(&f->w, &state);
	state_buf_free(&state);
	return taken;
}

static void stop(struct fuzz *f, const struct action *a)
{
	unsigned what = a->a % STOPS;

	if (f->stops++ >= STOPS_MAX)
		return;
	world_stop(&f->w);
	if (what == RESET)
		world_reset(&f->w);
	if (what == MOVE)
		world_move(&f->w);
	if (what == RESIZE)
		world_resize(&f->w, a->value % 256);
	f->ended = what == ALTER && !alter(f, a);
	if (!f->ended)
		world_start(&f->w);
}

/* What the guest does at once, under the lock */
static void act_at_once(struct fuzz *f, const struct action *a)
{
	pthread_mutex_lock(&f->w.vm.lock);
	switch (a->what) {
	case PORT_READ:
	case PORT_WRITE:
		access_port(f, a, a->what == PORT_WRITE);
		break;
	case CONFIG_READ:
	case CONFIG_WRITE:
		access_config(f, a, a->what == CONFIG_WRITE);
		break;
	case BAR_READ:
	case BAR_WRITE:
		access_bar(f, a, a->what == BAR_WRITE);
		break;
	case MEMORY:
		guest_put(&f->w, a->value % WORLD_RAM_BYTES, a->bytes, a->nbytes);
		break;
	default:
		act_as_host(f, a);
	}
	pthread_mutex_unlock(&f->w.vm.lock);
}

static void act(struct fuzz *f, struct action *a)
{
	if (a->what == BRING_UP)
		bring_up(f, a);
	else if (a->what == REQUEST)
		request(f, a);
	else if (a->what == KICK)
		kick(f, a->a % WORLD_SLOTS, a->b % QUEUES);
	else if (a->what == TURNS)
		turn(f);
	else if (a->what == STOP)
		stop(f, a);
	else
		act_at_once(f, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;
	struct fuzz f = { 0 };

	world_open(&f.w, DEVICES, (unsigned)action_number(&data, end, 1));
	for (unsigned n = 0; n < ACTIONS_MAX && data < end && !f.ended; n++) {
		struct action action = action_take(&data, end);

		act(&f, &action);
	}
	/* What was refused is in part there, and never runs. */
	if (!f.ended)
		world_stop(&f.w);
	world_close(&f.w);
	return 0;
}
