/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that does to every device what the input says, and a host that does so, too.  The first
 * byte says which virtio devices there are (device_world.h), the rest is a program: one byte of
 * enum action, then what that takes.  What is beyond the end of the input is 0.
 *
 * Registers, configuration space, memory and queues can be written in any way; two actions are
 * shorter ways to what a good driver does: bring a device up, and make a request of it.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "cpu_hotplug.h"
#include "device_world.h"
#include "platform.h"
#include "virtio.h"
#include "virtio_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum action {
	PORT_READ, /* port, offset, width */
	PORT_WRITE, /* and the value */
	CONFIG_READ, /* slot, offset, width */
	CONFIG_WRITE,
	BAR_READ, /* slot, BAR, offset, width */
	BAR_WRITE,
	MEMORY, /* address, length, bytes */
	BRING_UP, /* slot, queue size, vectors, features */
	REQUEST, /* slot, queue, segments, their lengths and bytes */
	KICK, /* slot, queue */
	TURNS, /* of the I/O thread and of main */
	STOP, /* what happens then */
	HOST, /* enum deed */
	ACTIONS
};

/* While all devices are stopped */
enum { RESTART, RESET, MOVE, RESIZE, ALTER, STOPS };

enum deed { BUTTON, TIME, TYPE, ROOM, SIZE, WIRE, ASK, HINT, REMOVE, ADD, WANT, WITHDRAW, DEEDS };

enum {
	SLOTS = 8,
	QUEUES = 8,
	RINGS = 0x10000,
	RING_BYTES = 0x400, /* of a queue: descriptors, then these */
	AVAIL = 0x100,
	USED = 0x200,
	INDIRECT = 0x300,
	RING_SIZE = 16,
	SEGMENTS = 4, /* of a request */
	CHANGES = 8, /* to a state */
	BUFFERS = RINGS + SLOTS * QUEUES * RING_BYTES,
	BAR_SPACE = 0x10000, /* of a slot */
	NOTIFY = 0x3000, /* in BAR 0: four bytes for each queue */
	ACTIONS_MAX = 600,
	TURNS_MAX = 40, /* they take long, as a stop does */
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
	const uint8_t *at, *end;
	unsigned turns;
	uint32_t buffer; /* the next one is here in BUFFERS */
	uint16_t made[SLOTS][QUEUES]; /* requests */
	uint16_t size[SLOTS];
};

/* The input */

static uint64_t take(struct fuzz *f, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && f->at < f->end; i++)
		value |= (uint64_t)*f->at++ << 8 * i;
	return value;
}

static unsigned take_below(struct fuzz *f, unsigned limit)
{
	return (unsigned)take(f, limit > 256 ? 2 : 1) % limit;
}

static unsigned take_width(struct fuzz *f)
{
	return 1u << take_below(f, 4);
}

/* At most so many bytes, which the caller takes at once. */
static size_t take_bytes(struct fuzz *f, size_t n, const uint8_t **bytes)
{
	n = MIN(n, (size_t)(f->end - f->at));
	*bytes = f->at;
	f->at += n;
	return n;
}

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

static void access_config(struct fuzz *f, bool write)
{
	unsigned slot = take_below(f, SLOTS), offset = (unsigned)take(f, 2) & 0xfff;
	unsigned width = take_width(f);

	if (write)
		write_config(f, slot, offset, width, take(f, width));
	else
		bus_read(&f->w.vm.mmio, PLATFORM_ECAM_BASE + (slot << 15) + offset, width);
}

static void access_port(struct fuzz *f, bool write)
{
	unsigned at = take_below(f, ARRAY_SIZE(ports));
	uint16_t port = (uint16_t)(ports[at].base + take_below(f, ports[at].len));
	unsigned width = take_width(f);

	if (write)
		bus_write(&f->w.vm.pio, port, width, take(f, width));
	else
		bus_read(&f->w.vm.pio, port, width);
}

static void access_bar(struct fuzz *f, bool write)
{
	const struct pci_function *fn = function_at(f, take_below(f, SLOTS));
	unsigned bar = take_below(f, 2);
	uint64_t address = take(f, 2);
	unsigned width = take_width(f);

	if (!fn)
		return;
	address += fn->bar[bar].region.base;
	if (write)
		bus_write(&f->w.vm.mmio, address, width, take(f, width));
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

static void bring_up(struct fuzz *f)
{
	static const uint8_t steps[] = { VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
					 VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK };
	unsigned slot = take_below(f, SLOTS), size = 1u << take_below(f, 5);
	unsigned vectors = take_below(f, 8), status = 0;
	uint64_t refused = take(f, 5); /* bits 40 to 63 are to have some use yet */
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
			agree(f, bar, refused);
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

static uint32_t put_buffer(struct fuzz *f, uint32_t len, bool written)
{
	uint32_t space = WORLD_RAM_BYTES - BUFFERS, at;
	const uint8_t *bytes;
	size_t given;

	if (len > space - f->buffer)
		f->buffer = 0;
	at = BUFFERS + f->buffer;
	f->buffer += len;
	if (!written) {
		given = take_bytes(f, len, &bytes);
		guest_put(&f->w, at, bytes, given);
	}
	return at;
}

/* Half of a queue's descriptors are for each of its last requests, by turns. */
static void request(struct fuzz *f)
{
	unsigned slot = take_below(f, SLOTS), queue = take_below(f, QUEUES);
	unsigned shape = (unsigned)take(f, 1), n = 1 + shape % SEGMENTS;
	uint16_t size = MAX(f->size[slot], 1), *made = &f->made[slot][queue];
	gpa_t ring = ring_of(slot, queue);
	bool indirect = shape & 0x80;
	unsigned first = indirect ? 0 : *made * SEGMENTS % size;
	gpa_t table = indirect ? ring + INDIRECT : ring;
	uint16_t head = (uint16_t)(*made * SEGMENTS % size);

	for (unsigned i = 0; i < n; i++) {
		unsigned kind = (unsigned)take(f, 1);
		uint32_t len = (kind & 0x7f) * (kind & 0x40 ? 16 : 1);
		bool last = i + 1 == n, written = kind & 0x80;
		struct vring_desc d = { .len = len,
					.flags = (last ? 0 : VRING_DESC_F_NEXT) |
						 (written ? VRING_DESC_F_WRITE : 0),
					.next = (uint16_t)(first + i + 1) };

		d.addr = put_buffer(f, len, written);
		guest_put(&f->w, table + (first + i) * sizeof(d), &d, sizeof(d));
	}
	if (indirect) {
		struct vring_desc d = { table, n * sizeof(d), VRING_DESC_F_INDIRECT, 0 };

		guest_put(&f->w, ring + head * sizeof(d), &d, sizeof(d));
	}
	guest_put(&f->w, ring + AVAIL + 4 + 2 * (*made % size), &head, sizeof(head));
	++*made;
	guest_put(&f->w, ring + AVAIL + 2, made, sizeof(*made));
	if (shape & 0x40)
		kick(f, slot, queue);
}

static void write_memory(struct fuzz *f)
{
	gpa_t gpa = take(f, 3) % WORLD_RAM_BYTES;
	const uint8_t *bytes;
	size_t len = take_bytes(f, take(f, 1), &bytes);

	guest_put(&f->w, gpa, bytes, len);
}

/* The host */

static void type(struct fuzz *f, struct chardev *ch)
{
	const uint8_t *bytes;
	size_t n = take_bytes(f, take(f, 1), &bytes);

	if (ch->used)
		ch->events.received(ch->events.arg, bytes, n);
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

static void send_to_card(struct fuzz *f)
{
	const uint8_t *bytes;
	size_t n = take_bytes(f, take(f, 1), &bytes);

	if (wires[0].peer >= 0 && send(wires[0].peer, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

static void drain_wires(void)
{
	static uint8_t bytes[64 * KIB];

	for (unsigned i = 0; i < PAIRS_MAX; i++)
		while (wires[i].peer >= 0 &&
		       recv(wires[i].peer, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
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

static void act_as_host(struct fuzz *f)
{
	enum deed deed = (enum deed)take_below(f, DEEDS);
	uint8_t n = (uint8_t)take(f, 1);
	struct chardev *ch = &chardevs[n % WORLD_PORTS];
	struct device *balloon = balloon_device(&f->w.vm);

	switch (deed) {
	case BUTTON:
		vm_press_power_button(&f->w.vm);
		break;
	case TIME:
		f->w.passed_ns += (uint64_t)n * 333333333;
		break;
	case TYPE:
		type(f, ch);
		break;
	case ROOM:
		make_room(ch, n);
		break;
	case SIZE:
		resize_terminal(ch, n);
		break;
	case WIRE:
		send_to_card(f);
		break;
	case ASK:
		ask(f, n);
		break;
	case HINT:
		if (balloon && balloon_can_hint(balloon))
			balloon_hint(balloon, n & 1);
		break;
	case REMOVE:
		remove_device(f, n % SLOTS);
		break;
	case ADD:
		add_device(f);
		break;
	case WANT:
		cpu_hotplug_want(cpu_hotplug_of(&f->w.vm), n % 2);
		break;
	default:
		cpu_hotplug_withdraw(cpu_hotplug_of(&f->w.vm), n % 2);
	}
}

static void resize_disks(struct fuzz *f, uint64_t sectors)
{
	struct device *dev;
	struct err e;

	list_for_each (dev, &f->w.vm.devices, node)
		if (dev->class->resize && !device_resize(dev, sectors * 512, &e))
			device_resized(dev);
}

/* As a source may have it that is no friend; what it refuses is the end of the VM. */
static bool alter(struct fuzz *f)
{
	struct state_buf state = { 0 };
	unsigned changes = take_below(f, CHANGES);
	bool taken;

	world_save(&f->w, &state);
	for (unsigned i = 0; i < changes; i++) {
		size_t at = take(f, 2) % state.len;

		state.data[at] = (uint8_t)take(f, 1);
	}
	taken = world_load(&f->w, &state);
	state_buf_free(&state);
	return taken;
}

static void stop(struct fuzz *f)
{
	unsigned what = take_below(f, STOPS);

	if (f->turns++ >= TURNS_MAX)
		return;
	world_stop(&f->w);
	if (what == RESET)
		world_reset(&f->w);
	if (what == MOVE)
		world_move(&f->w);
	if (what == RESIZE)
		resize_disks(f, take(f, 1));
	if (what == ALTER && !alter(f))
		f->at = f->end;
	else
		world_start(&f->w);
}

/* What the guest does at once, under the lock */
static void act(struct fuzz *f, enum action action)
{
	pthread_mutex_lock(&f->w.vm.lock);
	switch (action) {
	case PORT_READ:
	case PORT_WRITE:
		access_port(f, action == PORT_WRITE);
		break;
	case CONFIG_READ:
	case CONFIG_WRITE:
		access_config(f, action == CONFIG_WRITE);
		break;
	case BAR_READ:
	case BAR_WRITE:
		access_bar(f, action == BAR_WRITE);
		break;
	case MEMORY:
		write_memory(f);
		break;
	default:
		act_as_host(f);
	}
	pthread_mutex_unlock(&f->w.vm.lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { .at = data, .end = data + size };

	if (!size)
		return 0;
	world_open(&f.w, (unsigned)take(&f, 1));
	for (unsigned n = 0; n < ACTIONS_MAX && f.at < f.end; n++) {
		enum action action = (enum action)take_below(&f, ACTIONS);

		if (action == BRING_UP)
			bring_up(&f);
		else if (action == REQUEST)
			request(&f);
		else if (action == KICK)
			kick(&f, take_below(&f, SLOTS), take_below(&f, QUEUES));
		else if (action == TURNS)
			turn(&f);
		else if (action == STOP)
			stop(&f);
		else
			act(&f, action);
	}
	drain_wires();
	world_close(&f.w);
	return 0;
}
