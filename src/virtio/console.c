/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio console: virtio 1.2, 5.3, with one port.  Its queues are on the main loop, where the
 * character device is: nothing here runs on another thread.
 *
 * Output that the host refuses goes back to the queue at once, and the state says how much of it
 * was written.  So nothing is ever in flight, a terminal that stands still stops nobody from
 * stopping, and after a save the rest comes where the guest is then.
 *
 * The size is offered with every host, 0 by 0 while it is not known, which means that to Linux,
 * too: a guest may come to a terminal from a host that had none.
 *
 * Left out: more ports; emergency writes, which Linux does not make.
 */
#include <endian.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stddef.h>

#include "hub.h"
#include "log.h"
#include "virtio.h"

enum {
	RX, /* 5.3.2 */
	TX,
	QUEUES,
	QUEUE_SIZE = 64,
	TURN_BYTES = 16 * KIB, /* of output, before others on the loop have theirs */
	CLASS_CODE = 0x078000, /* a communication controller that fits no class */
};

struct console_state {
	struct virtio_state virtio[1];
	uint32_t tx_written; /* bytes of the next request of TX, by an earlier turn */
	uint16_t cols, rows; /* as the guest was told last */
};

struct console_counters {
	_Atomic uint64_t rx_bytes, tx_bytes;
};

struct console {
	struct virtio_device v;
	struct console_state s;
	struct console_counters *counters;
	struct chardev_config config;
	struct hub *host;
	struct virtio_console_config registers;
	struct virtqueue *rx; /* NULL: main does not have it */
	unsigned rx_popped; /* since its last kick */
	size_t turn; /* bytes that may still be written in this one */
	struct iovec segment[QUEUE_SIZE]; /* of one request at a time */
	struct vq_range range[QUEUE_SIZE];
};

static const struct state_field console_fields[] = {
	STATE_STRUCTS(struct console_state, virtio, &virtio_state_desc),
	STATE(struct console_state, tx_written),
	STATE(struct console_state, cols),
	STATE(struct console_state, rows),
};
static const struct state_desc console_state_desc =
	STATE_DESC(struct console_state, "virtio-console", 1, 1, console_fields);

static const struct counter console_counters[] = {
	COUNTER(struct console_counters, rx_bytes, .metric = "godwit_console_receive_bytes",
		.unit = COUNTER_BYTES, .help = "Bytes that were typed, for the guest."),
	COUNTER(struct console_counters, tx_bytes, .metric = "godwit_console_transmit_bytes",
		.unit = COUNTER_BYTES, .help = "Bytes that the guest printed."),
};
static const struct counter_table console_counter_table = COUNTER_TABLE(struct console_counters,
									console_counters);

static struct console *console_of(struct device *dev)
{
	return container_of(dev, struct console, v.dev);
}

static struct vq_request console_request(struct console *c)
{
	return (struct vq_request){ .segment_max = QUEUE_SIZE,
				    .segment = c->segment,
				    .range = c->range };
}

/* To the guest */

static bool rx_pop(struct console *c, struct vq_request *r)
{
	/* No guest can keep main here by giving buffers as fast as they are filled. */
	if (c->rx_popped == c->rx->s->size) {
		virtio_kick(&c->v, RX);
		return false;
	}
	if (!vq_pop(c->rx, r) && !(vq_enable_kicks(c->rx) && vq_pop(c->rx, r)))
		return false;
	c->rx_popped++;
	return true;
}

static size_t console_received(void *arg, const uint8_t *data, size_t len)
{
	struct console *c = arg;
	struct vq_request r = console_request(c);
	size_t done = 0;

	if (!c->rx)
		return 0;
	while (done < len && rx_pop(c, &r)) {
		size_t n = req_write(&r, data + done, len - done);

		vq_complete(c->rx, &r, (uint32_t)n);
		done += n;
	}
	counter_add(&c->counters->rx_bytes, done);
	vq_flush(c->rx);
	return done;
}

static void rx_kick(struct console *c)
{
	c->rx_popped = 0;
	vq_disable_kicks(c->rx);
	hub_more(c->host);
}

/* From the guest */

/* What earlier turns did not write of the request; false: some of it is still left. */
static bool tx_write(struct console *c, const struct vq_request *r)
{
	size_t skip = c->s.tx_written;

	for (unsigned i = 0; i < r->nreadable; i++) {
		size_t skipped = MIN(skip, r->segment[i].iov_len);
		size_t left = r->segment[i].iov_len - skipped;
		size_t n = hub_write(c->host, (const uint8_t *)r->segment[i].iov_base + skipped,
				     MIN(left, c->turn));

		skip -= skipped;
		counter_add(&c->counters->tx_bytes, n);
		c->turn -= n;
		c->s.tx_written += (uint32_t)n;
		if (n < left)
			return false;
	}
	c->s.tx_written = 0;
	return true;
}

static void tx_kick(struct console *c, struct virtqueue *vq)
{
	struct vq_request r = console_request(c);
	unsigned requests = vq->s->size;
	bool written = true;

	c->turn = TURN_BYTES;
	vq_disable_kicks(vq);
	do {
		while (requests && written && vq_pop(vq, &r)) {
			written = tx_write(c, &r);
			if (!written)
				vq_unpop(vq, 1);
			else
				vq_complete(vq, &r, 0);
			requests--;
		}
	} while (requests && written && vq_enable_kicks(vq));
	/* Else what is left waits for the host. */
	if (!requests || !c->turn)
		virtio_kick(&c->v, TX);
	vq_flush(vq);
}

static void console_writable(void *arg)
{
	struct console *c = arg;

	virtio_kick(&c->v, TX);
}

static void console_leave(void *arg)
{
	struct console *c = arg;

	vm_raise(c->v.dev.vm, VM_LEAVE);
}

/* Queues */

static void console_kick(struct virtio_device *v, struct virtqueue *vq)
{
	struct console *c = container_of(v, struct console, v);

	if (vq->index == RX)
		rx_kick(c);
	else
		tx_kick(c, vq);
}

static int console_queue_start(struct virtio_device *v, struct virtqueue *vq, struct loop *loop,
			       struct err *e)
{
	(void)loop;
	(void)e;
	if (vq->index == RX)
		container_of(v, struct console, v)->rx = vq;
	return 0;
}

static void console_queue_stop(struct virtio_device *v, struct virtqueue *vq)
{
	if (vq->index == RX)
		container_of(v, struct console, v)->rx = NULL;
}

/* What the new driver sends is not the rest of what the one before did. */
static void console_driver_reset(struct virtio_device *v)
{
	container_of(v, struct console, v)->s.tx_written = 0;
}

static const struct virtio_class console_virtio_class = {
	.id = VIRTIO_ID_CONSOLE,
	.class_code = CLASS_CODE,
	.on_main = true,
	.kick = console_kick,
	.queue_start = console_queue_start,
	.queue_stop = console_queue_stop,
	.driver_reset = console_driver_reset,
};

/* Size */

static void show_size(struct console *c)
{
	c->registers.cols = htole16(c->s.cols);
	c->registers.rows = htole16(c->s.rows);
}

/* False: it is as it was. */
static bool take_size(struct console *c)
{
	uint16_t cols, rows;

	chardev_size(hub_chardev(c->host), &cols, &rows);
	if (cols == c->s.cols && rows == c->s.rows)
		return false;
	c->s.cols = cols;
	c->s.rows = rows;
	show_size(c);
	return true;
}

/* What happens while the device is stopped is seen when it starts. */
static void console_resized(void *arg)
{
	struct console *c = arg;

	if (c->v.dev.phase == DEVICE_RUNNING && take_size(c))
		virtio_config_changed(&c->v);
}

/* Life */

static void console_close_host(void *arg)
{
	struct console *c = arg;

	hub_free(c->host);
}

static int console_open_host(struct console *c, struct err *e)
{
	const struct chardev_events events = { .received = console_received,
					       .writable = console_writable,
					       .leave = console_leave,
					       .resized = console_resized,
					       .arg = c };
	struct device *dev = &c->v.dev;
	int r = device_claim(dev, console_close_host, c, e);

	if (r)
		return r;
	r = hub_new(&c->host, &c->config, dev->vm->run_dir, dev->id, dev->vm->loop, &events, e);
	if (r)
		return err_prefix(e, r, "%s", dev->id);
	dev->port = c->host;
	dev->host_path = chardev_path(hub_chardev(c->host));
	if (dev->host_path)
		log_info("%s: connect to %s", dev->id, dev->host_path);
	return 0;
}

static int console_attach(struct device *dev, struct err *e)
{
	struct console *c = console_of(dev);
	int r = device_claim_counters(dev, 1, e);

	if (!r)
		r = console_open_host(c, e);
	if (r)
		return r;
	c->counters = device_counters(dev, 0);
	c->v.features = BIT(VIRTIO_CONSOLE_F_SIZE);
	c->v.config = (uint8_t *)&c->registers;
	c->v.config_bytes = offsetof(struct virtio_console_config, max_nr_ports);
	c->v.nqueues = QUEUES;
	c->v.queue_size = QUEUE_SIZE;
	return virtio_attach(&c->v, &console_virtio_class, &c->s.virtio[0], e);
}

static void console_reset(struct device *dev)
{
	virtio_reset(dev);
	take_size(console_of(dev));
}

static void console_start(struct device *dev)
{
	virtio_start(dev);
	console_resized(console_of(dev));
}

static int console_loaded(struct device *dev, struct err *e)
{
	show_size(console_of(dev));
	return virtio_loaded(dev, e);
}

#define CONSOLE_OPTION(name, m, ...)                                                               \
	{                                                                                          \
		.key = (name), .offset = offsetof(struct console, config.m), __VA_ARGS__           \
	}

static const struct option console_options[] = {
	CONSOLE_OPTION("mode", mode, .kind = OPTION_ENUM, .names = chardev_mode_names,
		       .fallback = "Off",
		       .help = "where its bytes go: this terminal, a pty, a file, a socket, "
			       "nowhere"),
	CONSOLE_OPTION("file", file, .kind = OPTION_STRING, .help = "append output to this file"),
	CONSOLE_OPTION("socket", socket, .kind = OPTION_STRING,
		       .help = "listen at this Unix socket for one client at a time"),
	OPTION_REFUSE("iommu", .fallback = "off"),
	OPTION_REFUSE("id"),
	OPTION_REFUSE("pci_segment", .fallback = "0"),
	OPTION_REFUSE("pci_device_id"),
};
static const struct option_table console_option_table = OPTION_TABLE(console_options,
								     .first = "mode");

extern const struct device_class virtio_console_class;
const struct device_class virtio_console_class = {
	.kind = "virtio-console",
	.size = sizeof(struct console),
	.options = &console_option_table,
	.state = &console_state_desc,
	.state_offset = offsetof(struct console, s),
	.counters = &console_counter_table,
	.attach = console_attach,
	.reset = console_reset,
	.start = console_start,
	.stop = virtio_stop,
	.loaded = console_loaded,
	.fetch = virtio_fetch,
};
