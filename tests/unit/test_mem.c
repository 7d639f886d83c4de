/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mem: what a guest may plug, and what becomes of memory that it unplugs. */
#include <linux/virtio_mem.h>
#include <sys/wait.h>

#include "check_main.h"
#include "virtio_guest.h"

extern const struct device_class virtio_mem_class;

#include "virtio_mem.h"

enum { CONFIG_VECTOR = 0, NONE = 0xffff, ASKED_BLOCKS = 4 };

static struct guest g;
static uint64_t block, base, nblocks;

static uint64_t config_u64(size_t offset)
{
	return rd(&g, g.config + offset, 4) | rd(&g, g.config + offset + 4, 4) << 32;
}

#define CONFIG(m) config_u64(offsetof(struct virtio_mem_config, m))

static void power_on(void)
{
	guest_new(&g, &virtio_mem_class);
	guest_start(&g);
	drive(&g);
	block = CONFIG(block_size);
	base = CONFIG(addr);
	nblocks = CONFIG(region_size) / block;
	ck_assert_uint_gt(nblocks, 2 * ASKED_BLOCKS);
	virtio_mem_ask(&g.v->dev, ASKED_BLOCKS * block);
}

/* The type of the answer, its state in state. */
static uint16_t request_bytes(const void *data, uint32_t len, uint16_t *state)
{
	struct vring_desc *d = desc_of(&g, 0);
	gpa_t at = queue_gpa(0) + DATA;
	struct virtio_mem_resp *resp = ram(&g, at + 64);
	uint16_t before = used_idx(&g, 0);

	memcpy(ram(&g, at), data, len);
	*resp = (struct virtio_mem_resp){ .type = NONE };
	d[0] = (struct vring_desc){ at, len, VRING_DESC_F_NEXT, 1 };
	d[1] = (struct vring_desc){ at + 64, sizeof(*resp), VRING_DESC_F_WRITE, 0 };
	publish(&g, 0, 0);
	kick(&g, 0);
	wait_until(&g, used_is, (uint16_t)(before + 1));
	ck_assert_uint_eq(used_of(&g, 0)->ring[before % QUEUE_SIZE].len, sizeof(*resp));
	if (state)
		*state = resp->u.state.state;
	return resp->type;
}

static uint16_t request(uint16_t type, uint64_t address, uint16_t n)
{
	struct virtio_mem_req q = { .type = type, .u.plug = { .addr = address, .nb_blocks = n } };

	return request_bytes(&q, sizeof(q), NULL);
}

static uint16_t plug(uint64_t first, uint16_t n)
{
	return request(VIRTIO_MEM_REQ_PLUG, base + first * block, n);
}

static uint16_t unplug(uint64_t first, uint16_t n)
{
	return request(VIRTIO_MEM_REQ_UNPLUG, base + first * block, n);
}

static bool is_ram(uint64_t first, uint64_t n)
{
	return guest_mem_at(g.vm.mem, base + first * block, n * block);
}

START_TEST(plugs_what_is_asked_and_no_more)
{
	power_on();
	ck_assert(!is_ram(0, 1));
	ck_assert_uint_eq(CONFIG(requested_size), ASKED_BLOCKS * block);
	ck_assert_uint_eq(plug(1, ASKED_BLOCKS - 1), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(CONFIG(plugged_size), (ASKED_BLOCKS - 1) * block);
	ck_assert_uint_eq(virtio_mem_given(&g.v->dev), (ASKED_BLOCKS - 1) * block);
	ck_assert(is_ram(1, ASKED_BLOCKS - 1));
	ck_assert(!is_ram(0, 2));
	ck_assert(!is_ram(1, ASKED_BLOCKS));
	ck_assert_uint_eq(plug(ASKED_BLOCKS, 2), VIRTIO_MEM_RESP_NACK);
	ck_assert(!is_ram(ASKED_BLOCKS, 1));
	ck_assert_uint_eq(plug(nblocks - 1, 1), VIRTIO_MEM_RESP_ACK);
	ck_assert(is_ram(nblocks - 1, 1));
	ck_assert_uint_eq(plug(0, 1), VIRTIO_MEM_RESP_NACK);
	guest_free(&g);
}
END_TEST

START_TEST(nonsense_is_refused)
{
	static const uint16_t types[] = { VIRTIO_MEM_REQ_PLUG, VIRTIO_MEM_REQ_UNPLUG,
					  VIRTIO_MEM_REQ_STATE };
	uint16_t unknown = 4711;

	power_on();
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		ck_assert_uint_eq(request(types[i], base, 0), VIRTIO_MEM_RESP_ERROR);
		ck_assert_uint_eq(request(types[i], base + 4096, 1), VIRTIO_MEM_RESP_ERROR);
		ck_assert_uint_eq(request(types[i], base - block, 1), VIRTIO_MEM_RESP_ERROR);
		ck_assert_uint_eq(request(types[i], base + nblocks * block, 1),
				  VIRTIO_MEM_RESP_ERROR);
		ck_assert_uint_eq(request(types[i], base + (nblocks - 1) * block, 2),
				  VIRTIO_MEM_RESP_ERROR);
		ck_assert_uint_eq(request(types[i], base + block, UINT16_MAX),
				  VIRTIO_MEM_RESP_ERROR);
		ck_assert_uint_eq(request(types[i], -block, 2), VIRTIO_MEM_RESP_ERROR);
	}
	ck_assert_uint_eq(request(unknown, base, 1), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(request_bytes(types, 2, NULL), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(plug(0, 2), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(plug(1, 2), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(unplug(1, 2), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(virtio_mem_given(&g.v->dev), 2 * block);
	guest_free(&g);
}
END_TEST

START_TEST(says_what_is_plugged)
{
	struct virtio_mem_req q = { .type = VIRTIO_MEM_REQ_STATE };
	static const uint16_t expected[] = { VIRTIO_MEM_STATE_UNPLUGGED, VIRTIO_MEM_STATE_MIXED,
					     VIRTIO_MEM_STATE_PLUGGED, VIRTIO_MEM_STATE_MIXED };
	uint16_t state;

	power_on();
	ck_assert_uint_eq(plug(2, 2), VIRTIO_MEM_RESP_ACK);
	for (uint16_t i = 0; i < ARRAY_SIZE(expected); i++) {
		q.u.state.addr = base + i * block;
		q.u.state.nb_blocks = 2;
		ck_assert_uint_eq(request_bytes(&q, sizeof(q), &state), VIRTIO_MEM_RESP_ACK);
		ck_assert_uint_eq(state, expected[i]);
	}
	guest_free(&g);
}
END_TEST

/* Of the region, what the host holds. */
static uint64_t held_pages(void)
{
	struct guest_mem_region *r = guest_mem_pluggable(g.vm.mem);
	uint64_t words = guest_mem_region_pages(r) / 64, n;
	_Atomic uint64_t *all = malloc(words * sizeof(*all));

	for (uint64_t i = 0; i < words; i++)
		all[i] = ~UINT64_C(0);
	n = guest_mem_count_held(g.vm.mem, r, all);
	free(all);
	return n;
}

/* _i: by name, or all at once. */
START_TEST(unplugged_memory_goes_back)
{
	power_on();
	ck_assert_uint_eq(plug(0, 2), VIRTIO_MEM_RESP_ACK);
	memset(guest_mem_at(g.vm.mem, base, 2 * block), 'x', 2 * block);
	ck_assert_uint_eq(held_pages(), 2 * block / GUEST_PAGE_BYTES);
	ck_assert_uint_eq(_i ? request(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0) : unplug(0, 2),
			  VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(held_pages(), 0);
	ck_assert(!is_ram(0, 1));
	ck_assert_uint_eq(CONFIG(plugged_size), 0);
	ck_assert_uint_eq(plug(0, 1), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(*(uint8_t *)guest_mem_at(g.vm.mem, base, 1), 0);
	guest_free(&g);
}
END_TEST

static void write_unplugged(void)
{
	uint8_t *there;

	power_on();
	ck_assert_uint_eq(plug(0, 1), VIRTIO_MEM_RESP_ACK);
	there = guest_mem_at(g.vm.mem, base, 1);
	ck_assert_uint_eq(unplug(0, 1), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(*(volatile uint8_t *)there, 0);
	*(volatile uint8_t *)there = 1;
}

/* A device may have looked before the guest unplugged it: that ends its process in words. */
START_TEST(unplugged_memory_cannot_be_written)
{
	char said[256] = "";
	int fds[2], code;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	/* Before there are threads, one of which may hold a lock of the sanitizer. */
	pid = fork();
	if (!pid) {
		dup2(fds[1], STDERR_FILENO);
		write_unplugged();
		_exit(0);
	}
	close(fds[1]);
	ck_assert_int_eq(waitpid(pid, &code, 0), pid);
	ck_assert(!WIFEXITED(code) || WEXITSTATUS(code));
	ck_assert_int_gt(read(fds[0], said, sizeof(said) - 1), 0);
	ck_assert_ptr_nonnull(strstr(said, "memory that it has unplugged"));
}
END_TEST

START_TEST(a_queue_in_unplugged_memory_is_none)
{
	power_on();
	ck_assert_uint_eq(plug(0, 1), VIRTIO_MEM_RESP_ACK);
	set_status(&g, 0);
	wait_until(&g, status_is, 0);
	set_status(&g, ACK);
	set_status(&g, ACK | DRIVER);
	set_features(&g, BIT(VIRTIO_F_VERSION_1));
	set_status(&g, ACK | DRIVER | FEATURES_OK);
	setup_queue(&g, 0, base + block);
	set_status(&g, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	wait_until(&g, status_is, ACK | DRIVER | FEATURES_OK | DRIVER_OK | NEEDS_RESET);
	/* The driver's reset leaves memory alone (5.15.6). */
	ck_assert(is_ram(0, 1));
	guest_free(&g);
}
END_TEST

START_TEST(the_guest_is_told_what_is_asked)
{
	power_on();
	interrupts(&g, CONFIG_VECTOR);
	virtio_mem_ask(&g.v->dev, 2 * block + 1);
	ck_assert_uint_eq(interrupts(&g, CONFIG_VECTOR), 1);
	ck_assert_uint_eq(CONFIG(requested_size), 3 * block);
	virtio_mem_ask(&g.v->dev, UINT64_MAX);
	ck_assert_uint_eq(CONFIG(requested_size), nblocks * block);
	guest_free(&g);
}
END_TEST

START_TEST(a_reset_unplugs_and_still_asks)
{
	power_on();
	ck_assert_uint_eq(plug(0, 1), VIRTIO_MEM_RESP_ACK);
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	device_reset(&g.v->dev);
	ck_assert(!is_ram(0, 1));
	ck_assert_uint_eq(virtio_mem_given(&g.v->dev), 0);
	ck_assert_uint_eq(virtio_mem_asked(&g.v->dev), ASKED_BLOCKS * block);
	guest_free(&g);
}
END_TEST

/* As where a VM comes from elsewhere: what it has is filled first and then said. */
START_TEST(what_was_saved_is_there)
{
	struct guest_mem *mem;
	char state[8192];
	struct err e;

	ck_assert_uint_le(virtio_mem_class.state->size, sizeof(state));
	power_on();
	ck_assert_uint_eq(plug(1, 2), VIRTIO_MEM_RESP_ACK);
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	memcpy(state, device_state(&g.v->dev), virtio_mem_class.state->size);
	for (unsigned b = 0; b < nblocks; b++)
		if (b != 1 && b != 2)
			ck_assert_int_eq(guest_mem_plug(g.vm.mem, b, 1), 0);
	memset(guest_mem_at(g.vm.mem, base, nblocks * block), 'x', nblocks * block);
	memcpy(device_state(&g.v->dev), state, virtio_mem_class.state->size);
	ck_assert_int_eq(device_loaded(&g.v->dev, &e), 0);
	ck_assert(is_ram(1, 2) && !is_ram(0, 1) && !is_ram(3, 1) && !is_ram(nblocks - 1, 1));
	ck_assert_uint_eq(held_pages(), 2 * block / GUEST_PAGE_BYTES);
	ck_assert_uint_eq(CONFIG(plugged_size), 2 * block);
	mem = g.vm.mem;
	ck_assert_uint_eq(*(uint8_t *)guest_mem_at(mem, base + block, 1), 'x');
	guest_free(&g);
}
END_TEST

static Suite *mem_suite(void)
{
	Suite *s = suite_create("mem");
	TCase *tc = tcase_create("mem");

	tcase_add_test(tc, plugs_what_is_asked_and_no_more);
	tcase_add_test(tc, nonsense_is_refused);
	tcase_add_test(tc, says_what_is_plugged);
	tcase_add_loop_test(tc, unplugged_memory_goes_back, 0, 2);
	tcase_add_test(tc, unplugged_memory_cannot_be_written);
	tcase_add_test(tc, a_queue_in_unplugged_memory_is_none);
	tcase_add_test(tc, the_guest_is_told_what_is_asked);
	tcase_add_test(tc, a_reset_unplugs_and_still_asks);
	tcase_add_test(tc, what_was_saved_is_there);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(mem_suite)
