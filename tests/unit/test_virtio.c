/* SPDX-License-Identifier: Apache-2.0 */
/* Registers, status, features and state of the common virtio device. */
#include "check_main.h"
#include "classes.h"
#include "virtio_guest.h"

static struct guest g;

static void setup(void)
{
	guest_new(&g, &probe_class);
}

static void teardown(void)
{
	guest_free(&g);
}

static uint64_t common(unsigned offset, unsigned size)
{
	return rd(&g, g.common + offset, size);
}

static void set_common(unsigned offset, unsigned size, uint64_t value)
{
	wr(&g, g.common + offset, size, value);
}

START_TEST(test_identity)
{
	ck_assert_uint_eq(cfg_rd(&g, PCI_VENDOR_ID, 2), 0x1af4);
	ck_assert_uint_eq(cfg_rd(&g, PCI_DEVICE_ID, 2), 0x1040 + 42);
	ck_assert_uint_eq(cfg_rd(&g, PCI_CLASS_REVISION, 1), 1);
	ck_assert_uint_ge(cfg_rd(&g, PCI_SUBSYSTEM_ID, 2), 0x40);
	ck_assert_uint_eq(cfg_rd(&g, PCI_INTERRUPT_PIN, 1), 0);
	ck_assert(g.common && g.isr && g.config && g.notify && g.window);
	ck_assert_uint_eq(g.multiplier, 4);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
}
END_TEST

/* 4.1.4: each structure lies inside its BAR and is aligned as the driver needs it. */
START_TEST(test_capabilities)
{
	static const unsigned min_bytes[] = { 0, 56, 4 * QUEUES, 1, CONFIG_BYTES, 0 };
	static const unsigned align[] = { 1, 4, 2, 1, 4, 1 };
	unsigned seen = 0;

	for (unsigned at = (unsigned)cfg_rd(&g, PCI_CAPABILITY_LIST, 1); at;
	     at = (unsigned)cfg_rd(&g, at + PCI_CAP_LIST_NEXT, 1)) {
		unsigned type = (unsigned)cfg_rd(&g, at + VIRTIO_PCI_CAP_CFG_TYPE, 1);
		uint64_t offset = cfg_rd(&g, at + VIRTIO_PCI_CAP_OFFSET, 4);
		uint64_t len = cfg_rd(&g, at + VIRTIO_PCI_CAP_LENGTH, 4);

		if (cfg_rd(&g, at, 1) != PCI_CAP_ID_VNDR)
			continue;
		ck_assert_uint_le(type, 5);
		ck_assert_uint_eq(cfg_rd(&g, at + VIRTIO_PCI_CAP_BAR, 1), 0);
		ck_assert_uint_eq(
			cfg_rd(&g, at + VIRTIO_PCI_CAP_LEN, 1),
			type == VIRTIO_PCI_CAP_NOTIFY_CFG || type == VIRTIO_PCI_CAP_PCI_CFG ? 20
											    : 16);
		ck_assert_uint_eq(len, min_bytes[type]);
		ck_assert_uint_eq(offset % align[type], 0);
		ck_assert_uint_le(offset + len, g.v->pci.bar[0].size_bytes);
		seen |= 1u << type;
	}
	ck_assert_uint_eq(seen, 0x3e);
}
END_TEST

/* The width of each field by offset; queue_notify_data and queue_reset are not offered. */
static const char widths[] = "4000400040004000202011202020202040004000400040004000400020002000";

START_TEST(test_register_widths)
{
	struct virtio_state before;

	set_status(&g, ACK);
	before = *g.v->s;
	for (unsigned at = 0; widths[at]; at++)
		for (unsigned size = 1; size <= 8; size *= 2) {
			bool is_field = at < 56 && size == (unsigned)(widths[at] - '0');

			if (at % size)
				continue;
			if (is_field && at != VIRTIO_PCI_COMMON_MSIX &&
			    at != VIRTIO_PCI_COMMON_Q_MSIX)
				ck_assert_uint_ne(common(at, size), ones(size));
			if (is_field)
				continue;
			set_common(at, size, 0x5a5a5a5a5a5a5a5a);
			ck_assert_msg(!memcmp(&before, g.v->s, sizeof(before)), "%u, %u", at, size);
			ck_assert_uint_eq(common(at, size), ones(size));
		}
}
END_TEST

START_TEST(test_nothing_there)
{
	ck_assert_uint_eq(rd(&g, g.isr, 4), ones(4));
	ck_assert_uint_eq(rd(&g, g.isr + 1, 1), ones(1));
	ck_assert_uint_eq(rd(&g, g.config + CONFIG_BYTES, 1), ones(1));
	ck_assert_uint_eq(rd(&g, g.config + 8, 8), ones(8));
	ck_assert_uint_eq(rd(&g, g.notify, 2), ones(2));
}
END_TEST

START_TEST(test_status_steps)
{
	/* What is written one after the other, and what is then read. */
	static const uint8_t step[][2] = {
		{ DRIVER, 0 },
		{ FEATURES_OK, 0 },
		{ DRIVER_OK, 0 },
		{ ACK, ACK },
		{ ACK | FEATURES_OK, ACK },
		{ ACK | DRIVER_OK, ACK },
		{ ACK | DRIVER, ACK | DRIVER },
		{ ACK | DRIVER | DRIVER_OK, ACK | DRIVER },
		{ ACK, ACK | DRIVER },
		{ ACK | DRIVER | FEATURES_OK, ACK | DRIVER | FEATURES_OK },
		{ NEEDS_RESET | 0x30, ACK | DRIVER | FEATURES_OK },
		{ DRIVER_OK, 15 },
		{ FAILED, 15 | FAILED },
		{ 0, 0 },
		{ FAILED, FAILED },
		{ 15, 15 | FAILED },
		{ 0, 0 },
		{ 15, ACK | DRIVER },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(step); i++) {
		/* Without VERSION_1 the last step fails. */
		set_features(&g, i < ARRAY_SIZE(step) - 1 ? BIT(VIRTIO_F_VERSION_1) : 0);
		set_status(&g, step[i][0]);
		ck_assert_msg(status(&g) == step[i][1], "step %u: %#x", i, status(&g));
	}
}
END_TEST

static const struct choice {
	uint64_t features;
	bool good;
} choices[] = {
	{ BIT(VIRTIO_F_VERSION_1), true },
	{ BIT(VIRTIO_F_VERSION_1) | BIT(PROBE_F_A) | BIT(PROBE_F_B) | BIT(PROBE_F_B_PLUS), true },
	{ BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX), true },
	{ BIT(VIRTIO_F_VERSION_1) | BIT(PROBE_F_B_PLUS), false },
	{ BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_RESET), false },
	{ BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED), false },
	{ BIT(PROBE_F_A), false },
	{ 0, false },
};

START_TEST(test_features)
{
	const struct choice *c = &choices[_i];

	set_status(&g, ACK | DRIVER);
	set_features(&g, c->features);
	set_status(&g, ACK | DRIVER | FEATURES_OK);
	ck_assert_uint_eq(!!(status(&g) & FEATURES_OK), c->good);
	/* Frozen from FEATURES_OK on. */
	set_features(&g, ~c->features);
	ck_assert_uint_eq(g.v->s->driver_features, c->good ? c->features : ~c->features);
}
END_TEST

START_TEST(test_feature_words)
{
	set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_DF, 4), 7 | BIT(28) | BIT(29));
	set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_DF, 4), 1);
	set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_DF, 4), 0);
	set_features(&g, 0x123456789abcdef0);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_GF, 4), 0x12345678);
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 4, 0x80000000);
	set_common(VIRTIO_PCI_COMMON_GF, 4, 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_GF, 4), 0);
	ck_assert_uint_eq(g.v->s->driver_features, 0x123456789abcdef0);
}
END_TEST

START_TEST(test_queue_registers)
{
	static const unsigned refused[] = { 0, 3, 32, 0x8000, 0xffff };

	select_queue(&g, 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), QUEUE_SIZE);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_NOFF, 2), 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), MSIX_NO_VECTOR);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
	for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
		set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, refused[i]);
		ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 8);
	}
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, QUEUES);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), QUEUES);
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, QUEUES + 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), MSIX_NO_VECTOR);
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 2);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	set_common(VIRTIO_PCI_COMMON_Q_USEDHI, 4, 0x11223344);
	set_common(VIRTIO_PCI_COMMON_Q_USEDLO, 4, 0x55667788);
	ck_assert_uint_eq(g.v->s->queue[1].device, 0x1122334455667788);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_USEDHI, 4), 0x11223344);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_USEDLO, 4), 0x55667788);
}
END_TEST

START_TEST(test_enabled_queue_is_fixed)
{
	struct virtqueue_state before;

	setup_queue(&g, 2, queue_gpa(2));
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	before = g.v->s->queue[2];
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
	for (unsigned at = VIRTIO_PCI_COMMON_Q_DESCLO; at <= VIRTIO_PCI_COMMON_Q_USEDHI; at += 4)
		set_common(at, 4, 0x1000);
	ck_assert(!memcmp(&before, &g.v->s->queue[2], sizeof(before)));
	/* The vector alone may change. */
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	ck_assert_uint_eq(g.v->s->queue[2].vector, 1);
}
END_TEST

START_TEST(test_no_such_queue)
{
	struct virtio_state before;

	select_queue(&g, QUEUES);
	before = *g.v->s;
	for (unsigned at = VIRTIO_PCI_COMMON_Q_SIZE; at <= VIRTIO_PCI_COMMON_Q_NOFF; at += 2) {
		ck_assert_uint_eq(common(at, 2), 0);
		set_common(at, 2, 1);
	}
	for (unsigned at = VIRTIO_PCI_COMMON_Q_DESCLO; at <= VIRTIO_PCI_COMMON_Q_USEDHI; at += 4) {
		ck_assert_uint_eq(common(at, 4), 0);
		set_common(at, 4, 1);
	}
	ck_assert(!memcmp(&before, g.v->s, sizeof(before)));
	for (unsigned at = 0; at < 0x1000; at += 2)
		wr(&g, g.notify + at, 2, at);
}
END_TEST

START_TEST(test_device_config)
{
	put_le(g.p->config, 8, 0x8877665544332211);
	ck_assert_uint_eq(rd(&g, g.config, 4), 0x44332211);
	ck_assert_uint_eq(rd(&g, g.config + 6, 2), 0x8877);
	wr(&g, g.config + 4, 2, 0xaabb);
	ck_assert_uint_eq(rd(&g, g.config + 4, 4), 0x8877aabb);
	ck_assert_uint_eq(g.p->written_at, 4);
	ck_assert_uint_eq(g.p->written_size, 2);
	g.p->written_size = 0;
	wr(&g, g.config + 8, 1, 0);
	wr(&g, g.config + 0xffc, 4, 0);
	ck_assert_uint_eq(g.p->written_size, 0);
}
END_TEST

START_TEST(test_config_change)
{
	guest_start(&g);
	virtio_config_changed(g.v);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
	ck_assert_uint_eq(rd(&g, g.isr, 1), 0);
	drive(&g);
	virtio_config_changed(g.v);
	ck_assert_uint_eq(interrupts(&g, 0), 1);
	ck_assert_uint_eq(rd(&g, g.isr, 1), 0);
	/* Without a vector the status byte tells, once. */
	set_common(VIRTIO_PCI_COMMON_MSIX, 2, MSIX_NO_VECTOR);
	virtio_config_changed(g.v);
	ck_assert_uint_eq(rd(&g, g.isr, 1), VIRTIO_PCI_ISR_CONFIG);
	ck_assert_uint_eq(rd(&g, g.isr, 1), 0);
	ck_assert_uint_eq(interrupts(&g, 0), 0);
}
END_TEST

START_TEST(test_reset_register)
{
	struct virtio_state fresh = *g.v->s;

	negotiate(&g);
	set_status(&g, 15);
	set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	set_status(&g, 0);
	ck_assert_uint_eq(status(&g), 0);
	ck_assert(!memcmp(&fresh, g.v->s, sizeof(fresh)));
}
END_TEST

static void set_window(unsigned bar, uint32_t offset, uint32_t len)
{
	cfg_wr(&g, g.window + VIRTIO_PCI_CAP_BAR, 1, bar);
	cfg_wr(&g, g.window + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	cfg_wr(&g, g.window + VIRTIO_PCI_CAP_LENGTH, 4, len);
}

START_TEST(test_window)
{
	unsigned data = g.window + 16;

	/* It works where memory decoding is off: that is what it is for. */
	cfg_wr(&g, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_NUMQ, 2), 0xffff);
	set_window(0, VIRTIO_PCI_COMMON_NUMQ, 2);
	ck_assert_uint_eq(cfg_rd(&g, data, 2), QUEUES);
	set_window(0, VIRTIO_PCI_COMMON_STATUS, 1);
	cfg_wr(&g, data, 1, ACK);
	ck_assert_uint_eq(g.v->s->status, ACK);
	ck_assert_uint_eq(cfg_rd(&g, data, 1), ACK);
	/* Vector 0's mask bit, in BAR 1. */
	set_window(1, 12, 4);
	ck_assert_uint_eq(cfg_rd(&g, data, 4), 1);
	cfg_wr(&g, data, 4, 0);
	ck_assert_uint_eq(g.v->s->msix[0].entry[0].control, 0);
	/* A kick. */
	set_window(0, (uint32_t)(g.notify - g.common), 2);
	cfg_wr(&g, data, 2, 0);
	ck_assert_int_eq(read(g.v->kick[0].fd, &(uint64_t){ 0 }, 8), 8);
}
END_TEST

START_TEST(test_bad_windows)
{
	static const uint32_t bad[][3] = {
		{ 2, 0, 4 },
		{ 6, 0, 4 },
		{ 255, 0, 4 },
		{ 0, 0, 0 },
		{ 0, 0, 3 },
		{ 0, 0, 8 },
		{ 0, 0, UINT32_MAX },
		{ 0, 1, 2 },
		{ 0, 0x4000, 1 },
		{ 0, UINT32_MAX, 1 },
		{ 0, UINT32_MAX - 3, 4 },
		{ 1, 0, 1 },
	};
	unsigned data = g.window + 16;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		set_window(bad[i][0], bad[i][1], bad[i][2]);
		cfg_wr(&g, data, 4, 0xdeadbeef);
		ck_assert_uint_eq(cfg_rd(&g, data, 4), 0xdeadbeef);
	}
	ck_assert_uint_eq(g.v->s->device_feature_select, 0);
}
END_TEST

/* State */

START_TEST(test_reset_is_a_fixed_point)
{
	struct probe_state fresh = g.p->s;

	negotiate(&g);
	virtio_config_changed(g.v);
	device_reset(&g.v->dev);
	ck_assert(!memcmp(&fresh, &g.p->s, sizeof(fresh)));
}
END_TEST

static void no_change(struct virtio_state *s)
{
	(void)s;
}

static void lie_nqueues(struct virtio_state *s)
{
	s->nqueues--;
}

static void lie_size_0(struct virtio_state *s)
{
	s->queue[1].size = 0;
}

static void lie_size_odd(struct virtio_state *s)
{
	s->queue[1].size = 12;
}

static void lie_size_large(struct virtio_state *s)
{
	s->queue[2].size = 2 * QUEUE_SIZE;
}

static void lie_vector(struct virtio_state *s)
{
	s->queue[0].vector = QUEUES + 1;
}

static void lie_config_vector(struct virtio_state *s)
{
	s->config_vector = QUEUES + 1;
}

static void lie_driver_ok(struct virtio_state *s)
{
	s->status = ACK | DRIVER | DRIVER_OK;
}

static void lie_status(struct virtio_state *s)
{
	s->status |= 0x10;
}

static void lie_features(struct virtio_state *s)
{
	s->driver_features |= BIT(40);
}

static void lie_pci(struct virtio_state *s)
{
	s->pci[0].config[PCI_DEVICE_ID]++;
}

static void lie_msix(struct virtio_state *s)
{
	s->msix[0].nentries--;
}

static const struct load {
	void (*change)(struct virtio_state *);
	const char *sentence; /* NULL: accepted */
} loads[] = {
	{ no_change, NULL },
	{ lie_nqueues, "saved with 2 queues, here it has 3" },
	{ lie_size_0, "saved with 0 entries" },
	{ lie_size_odd, "saved with 12 entries" },
	{ lie_size_large, "saved with 32 entries" },
	{ lie_vector, "queue 0 was saved with vector 4" },
	{ lie_config_vector, "configuration vector 4" },
	{ lie_driver_ok, "impossible status" },
	{ lie_status, "unknown status" },
	{ lie_features, "saved with features" },
	{ lie_pci, "another one" },
	{ lie_msix, "interrupt vectors" },
};

START_TEST(test_load)
{
	const struct load *load = &loads[_i];
	struct virtio_state *s = g.v->s;
	struct err e;
	int r;

	negotiate(&g);
	set_status(&g, 15);
	load->change(s);
	r = device_loaded(&g.v->dev, &e);
	ck_assert_int_eq(r, load->sentence ? -EINVAL : 0);
	if (load->sentence)
		ck_assert_msg(strstr(e.text, load->sentence), "%s", e.text);
	device_reset(&g.v->dev);
}
END_TEST

START_TEST(test_pending_interrupt_is_saved)
{
	struct err e;

	negotiate(&g);
	set_status(&g, 15);
	virtio_config_changed(g.v);
	ck_assert_int_eq(device_fetch(&g.v->dev, &e), 0);
	ck_assert_uint_eq(g.v->s->msix[0].pending, 1);
}
END_TEST

START_TEST(test_rng_sources)
{
	static const char *const source[] = { "/dev/urandom", "/dev/random", "/dev/zero" };

	for (unsigned i = 0; i < ARRAY_SIZE(source); i++) {
		json_t *options = json_pack("{s:s}", "src", source[i]);
		struct device *rng = NULL;
		struct err e;
		int r = device_new(&rng, &virtio_rng_class, "rng0", &g.vm, options, &e);

		ck_assert_int_eq(r, i < 2 ? 0 : -EINVAL);
		if (r)
			ck_assert_msg(strstr(e.text, "rng0: /dev/zero cannot"), "%s", e.text);
		device_free(rng);
		json_decref(options);
	}
}
END_TEST

START_TEST(test_no_io_thread)
{
	unsigned n = g.vm.nio_threads;
	struct device *rng;
	struct err e;

	g.vm.nio_threads = 0;
	ck_assert_int_eq(device_new(&rng, &virtio_rng_class, "rng0", &g.vm, NULL, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "no I/O threads"), "%s", e.text);
	g.vm.nio_threads = n;
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("virtio");
	TCase *t = tcase_create("virtio");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_identity);
	tcase_add_test(t, test_capabilities);
	tcase_add_test(t, test_register_widths);
	tcase_add_test(t, test_nothing_there);
	tcase_add_test(t, test_status_steps);
	tcase_add_loop_test(t, test_features, 0, ARRAY_SIZE(choices));
	tcase_add_test(t, test_feature_words);
	tcase_add_test(t, test_queue_registers);
	tcase_add_test(t, test_enabled_queue_is_fixed);
	tcase_add_test(t, test_no_such_queue);
	tcase_add_test(t, test_device_config);
	tcase_add_test(t, test_config_change);
	tcase_add_test(t, test_reset_register);
	tcase_add_test(t, test_window);
	tcase_add_test(t, test_bad_windows);
	tcase_add_test(t, test_reset_is_a_fixed_point);
	tcase_add_loop_test(t, test_load, 0, ARRAY_SIZE(loads));
	tcase_add_test(t, test_pending_interrupt_is_saved);
	tcase_add_test(t, test_rng_sources);
	tcase_add_test(t, test_no_io_thread);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
