/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk from the guest's side. */
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>

#include "blk_guest.h"
#include "check_main.h"
#include "counter_of.h"
#include "forbid.h"
#include "in_child.h"

START_TEST(test_options_are_checked)
{
	static const struct {
		const char *options, *sentence;
	} refused[] = {
		{ ", \"serial\": \"123456789012345678901\"", "longer than 20 bytes" },
		{ ", \"queue_size\": 100", "not a power of two" },
		{ ", \"queue_size\": 2", "queue_size" },
		{ ", \"num_queues\": 33", "num_queues" },
		{ ", \"iommu\": true", "iommu" },
		{ ", \"image_type\": \"Qcow2\"", "image_type" },
		{ ", \"rate_limiter_config\": {\"ops\": {}}", "size is missing" },
		{ ", \"rate_limit_group\": \"gold\"", "no rate limit group \"gold\"" },
		{ ", \"rate_limit_group\": \"gold\", "
		  "\"rate_limiter_config\": {\"ops\": {\"size\": 1}}",
		  "leave one of them out" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct guest g;
		struct err e = { "" };

		ck_assert_msg(blk_new(&g, refused[i].options, &e) == -EINVAL, "%s",
			      refused[i].options);
		ck_assert_msg(strstr(e.text, refused[i].sentence), "%s", e.text);
		struct guest_mem *mem = g.vm.mem;

		vm_free(&g.vm);
		guest_mem_free(mem);
		loop_free(g.loop);
	}
}
END_TEST

START_TEST(test_configuration)
{
	struct virtio_blk_config *c;
	struct guest g;

	power_on(&g, ", \"num_queues\": 2");
	c = (struct virtio_blk_config *)g.v->config;
	ck_assert_uint_eq(rd(&g, g.config, 4), SECTORS);
	ck_assert_uint_eq(c->capacity, SECTORS);
	ck_assert_uint_eq(c->seg_max, 126);
	ck_assert_uint_eq(c->blk_size, 512);
	ck_assert_uint_eq(c->num_queues, 2);
	ck_assert_uint_eq(c->physical_block_exp, 3);
	ck_assert_uint_eq(c->min_io_size, 8);
	ck_assert(virtio_has(g.v, VIRTIO_BLK_F_MQ));
	ck_assert(virtio_has(g.v, VIRTIO_BLK_F_DISCARD));
	ck_assert(!virtio_has(g.v, VIRTIO_BLK_F_RO));
	power_off(&g);
	power_on(&g, ", \"readonly\": true");
	ck_assert(!virtio_has(g.v, VIRTIO_BLK_F_MQ));
	ck_assert(!virtio_has(g.v, VIRTIO_BLK_F_DISCARD));
	ck_assert(!virtio_has(g.v, VIRTIO_BLK_F_WRITE_ZEROES));
	ck_assert(virtio_has(g.v, VIRTIO_BLK_F_RO));
	power_off(&g);
	power_on(&g, ", \"sparse\": false");
	ck_assert(!virtio_has(g.v, VIRTIO_BLK_F_DISCARD));
	ck_assert(virtio_has(g.v, VIRTIO_BLK_F_WRITE_ZEROES));
	power_off(&g);
}
END_TEST

/* _i: direct. */
START_TEST(test_write_and_read)
{
	static uint8_t data[8 * SECTOR], back[8 * SECTOR];
	struct guest g;

	power_on(&g, _i ? ", \"direct\": true" : "");
	fill(data, sizeof(data), 1);
	memcpy(at(&g, BUFFER), data, sizeof(data));
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 100, sizeof(data)), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used_len(&g), 1);
	read_image(back, sizeof(back), 100 * SECTOR);
	ck_assert_int_eq(memcmp(back, data, sizeof(data)), 0);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);

	memset(at(&g, BUFFER), 0xee, sizeof(data));
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, 100, sizeof(data)), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used_len(&g), sizeof(data) + 1);
	ck_assert_int_eq(memcmp(at(&g, BUFFER), data, sizeof(data)), 0);
	power_off(&g);
}
END_TEST

/* virtio 1.2, 2.7.4: where descriptors begin and end means nothing. */
START_TEST(test_any_layout)
{
	static uint8_t data[2 * SECTOR], back[2 * SECTOR];
	struct guest g;

	power_on(&g, "");
	fill(data, sizeof(data), 5);
	/* Header and the beginning of the data in one buffer, the rest in two more. */
	put_header(&g, 0, VIRTIO_BLK_T_OUT, 7);
	memcpy(at(&g, BUFFER), at(&g, HEADER), 16);
	memcpy(at(&g, BUFFER + 16), data, sizeof(data));
	put_desc(&g, 0, BUFFER, 10, VRING_DESC_F_NEXT);
	put_desc(&g, 1, BUFFER + 10, 11, VRING_DESC_F_NEXT);
	put_desc(&g, 2, BUFFER + 21, sizeof(data) + 16 - 21, VRING_DESC_F_NEXT);
	put_desc(&g, 3, STATUS, 1, VRING_DESC_F_WRITE);
	publish(&g, 0, 0);
	ck_assert_uint_eq(finish(&g), VIRTIO_BLK_S_OK);
	read_image(back, sizeof(back), 7 * SECTOR);
	ck_assert_int_eq(memcmp(back, data, sizeof(data)), 0);

	/* Data and status in one buffer. */
	put_header(&g, 0, VIRTIO_BLK_T_IN, 7);
	memset(at(&g, BUFFER), 0xee, sizeof(data) + 2);
	put_desc(&g, 0, HEADER, 16, VRING_DESC_F_NEXT);
	put_desc(&g, 1, BUFFER, 3, MORE_WRITABLE);
	put_desc(&g, 2, BUFFER + 3, sizeof(data) + 1 - 3, VRING_DESC_F_WRITE);
	publish(&g, 0, 0);
	ck_assert_uint_eq(finish(&g), NO_STATUS);
	ck_assert_int_eq(memcmp(at(&g, BUFFER), data, sizeof(data)), 0);
	ck_assert_uint_eq(*(uint8_t *)at(&g, BUFFER + sizeof(data)), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(*(uint8_t *)at(&g, BUFFER + sizeof(data) + 1), 0xee);
	power_off(&g);
}
END_TEST

START_TEST(test_range_is_checked)
{
	struct guest g;

	power_on(&g, "");
	for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
		ck_assert_uint_eq(request(&g, type, SECTORS - 1, SECTOR), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(request(&g, type, SECTORS, 0), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(request(&g, type, SECTORS - 1, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(request(&g, type, SECTORS, SECTOR), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(request(&g, type, UINT64_MAX, SECTOR), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(request(&g, type, UINT64_MAX / SECTOR, SECTOR),
				  VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(request(&g, type, UINT64_MAX / SECTOR + 1, SECTOR),
				  VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(request(&g, type, 0, SECTOR - 1), VIRTIO_BLK_S_IOERR);
	}
	power_off(&g);
}
END_TEST

START_TEST(test_read_only)
{
	static uint8_t back[SECTOR];
	struct guest g;

	power_on(&g, ", \"readonly\": true");
	memset(at(&g, BUFFER), 0xaa, SECTOR);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_IOERR);
	read_image(back, sizeof(back), 0);
	ck_assert_uint_eq(back[0] | back[SECTOR - 1], 0);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_UNSUPP);
	power_off(&g);
}
END_TEST

START_TEST(test_get_id)
{
	struct guest g;

	power_on(&g, ", \"serial\": \"12345678901234567890\"");
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(memcmp(at(&g, BUFFER), "12345678901234567890", 20), 0);
	power_off(&g);
	power_on(&g, "");
	memset(at(&g, BUFFER), 0xee, 32);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_GET_ID, 0, 32), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(memcmp(at(&g, BUFFER), "disk0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xee", 21), 0);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_GET_ID, 0, 3), VIRTIO_BLK_S_OK);
	power_off(&g);
}
END_TEST

static uint8_t range_request(struct guest *g, uint32_t type, uint64_t sector, uint32_t sectors,
			     uint32_t flags)
{
	*(struct virtio_blk_discard_write_zeroes *)at(g, RANGE) =
		(struct virtio_blk_discard_write_zeroes){ sector, sectors, flags };
	put_request(g, 0, type, 0, RANGE, sizeof(struct virtio_blk_discard_write_zeroes));
	return finish(g);
}

START_TEST(test_discard_and_write_zeroes)
{
	enum { ZEROES = VIRTIO_BLK_T_WRITE_ZEROES, DISCARD = VIRTIO_BLK_T_DISCARD };
	static uint8_t data[16 * SECTOR], back[16 * SECTOR];
	struct guest g;

	power_on(&g, "");
	for (unsigned flags = 0; flags <= 1; flags++) {
		fill(data, sizeof(data), flags);
		memcpy(at(&g, BUFFER), data, sizeof(data));
		ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 16, sizeof(data)), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(range_request(&g, ZEROES, 24, 8, flags), VIRTIO_BLK_S_OK);
		memset(data + 8 * SECTOR, 0, 8 * SECTOR);
		read_image(back, sizeof(back), 16 * SECTOR);
		ck_assert_int_eq(memcmp(back, data, sizeof(data)), 0);
	}
	ck_assert_uint_eq(range_request(&g, DISCARD, 16, 8, 0), VIRTIO_BLK_S_OK);
	read_image(back, sizeof(back), 16 * SECTOR);
	ck_assert_uint_eq(back[0] | back[8 * SECTOR - 1], 0);

	ck_assert_uint_eq(range_request(&g, DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(range_request(&g, ZEROES, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(range_request(&g, ZEROES, SECTORS, 1, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(range_request(&g, ZEROES, UINT64_MAX, 1, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(range_request(&g, DISCARD, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(request(&g, DISCARD, 0, 32), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(request(&g, DISCARD, 0, 8), VIRTIO_BLK_S_IOERR);
	power_off(&g);
}
END_TEST

START_TEST(test_not_sparse)
{
	static uint8_t data[MIB];
	struct guest g;
	blkcnt_t before;

	memset(data, 0xaa, sizeof(data));
	write_image(data, sizeof(data), 0);
	before = image_blocks();
	power_on(&g, ", \"sparse\": false");
	ck_assert_uint_eq(range_request(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, MIB / SECTOR, 1),
			  VIRTIO_BLK_S_OK);
	ck_assert_int_eq(image_blocks(), before);
	power_off(&g);
	power_on(&g, "");
	ck_assert_uint_eq(range_request(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, MIB / SECTOR, 1),
			  VIRTIO_BLK_S_OK);
	ck_assert_int_lt(image_blocks(), before);
	power_off(&g);
}
END_TEST

START_TEST(test_feature_not_negotiated)
{
	struct guest g;

	power_on(&g, "");
	blk_drive(&g, BIT(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(range_request(&g, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_SECURE_ERASE, 0, 16), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(request(&g, 0x12345678, 0, 16), VIRTIO_BLK_S_UNSUPP);
	power_off(&g);
}
END_TEST

START_TEST(test_malformed_requests_complete)
{
	struct guest g;

	power_on(&g, "");
	/* A short header. */
	put_header(&g, 0, VIRTIO_BLK_T_FLUSH, 0);
	put_desc(&g, 0, HEADER, 15, VRING_DESC_F_NEXT);
	put_desc(&g, 1, STATUS, 1, VRING_DESC_F_WRITE);
	publish(&g, 0, 0);
	ck_assert_uint_eq(finish(&g), VIRTIO_BLK_S_IOERR);
	/* No header. */
	put_desc(&g, 0, STATUS, 1, VRING_DESC_F_WRITE);
	publish(&g, 0, 0);
	ck_assert_uint_eq(finish(&g), VIRTIO_BLK_S_IOERR);
	/* No status. */
	put_header(&g, 0, VIRTIO_BLK_T_FLUSH, 0);
	put_desc(&g, 0, HEADER, 16, 0);
	publish(&g, 0, 0);
	ck_assert_uint_eq(finish(&g), NO_STATUS);
	ck_assert_uint_eq(used_len(&g), 0);
	/* Nothing at all. */
	put_desc(&g, 0, HEADER, 0, 0);
	publish(&g, 0, 0);
	finish(&g);
	ck_assert_uint_eq(used_len(&g), 0);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(status(&g), ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	power_off(&g);
}
END_TEST

START_TEST(test_batch)
{
	enum { N = 32 };
	struct guest g;

	power_on(&g, "");
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned slot = 0; slot < N; slot++) {
			fill(at(&g, BUFFER + slot * SECTOR), SECTOR, slot + round);
			put_request(&g, slot, VIRTIO_BLK_T_OUT, slot, BUFFER + slot * SECTOR,
				    SECTOR);
		}
		finish(&g);
		memset(at(&g, BUFFER), 0xee, N * SECTOR);
		for (unsigned slot = 0; slot < N; slot++)
			put_request(&g, slot, VIRTIO_BLK_T_IN, slot, BUFFER + slot * SECTOR,
				    SECTOR);
		finish(&g);
		for (unsigned slot = 0; slot < N; slot++) {
			uint8_t expected[SECTOR];

			fill(expected, SECTOR, slot + round);
			ck_assert_uint_eq(*(uint8_t *)at(&g, STATUS + slot), VIRTIO_BLK_S_OK);
			ck_assert_int_eq(memcmp(at(&g, BUFFER + slot * SECTOR), expected, SECTOR),
					 0);
		}
	}
	power_off(&g);
}
END_TEST

/* As many requests as entries, which have room for a header each. */
START_TEST(test_full_queue)
{
	struct guest g;

	power_on(&g, ", \"queue_size\": 4");
	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < 4; i++) {
			put_desc(&g, i, HEADER, 16, 0);
			publish(&g, 0, (uint16_t)i);
		}
		finish(&g);
	}
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	power_off(&g);
}
END_TEST

START_TEST(test_read_marks_pages_dirty)
{
	static _Atomic uint64_t bits[RAM_BYTES / GUEST_PAGE_BYTES / 64];
	unsigned page = (unsigned)((queue_gpa(0) + BUFFER) / GUEST_PAGE_BYTES);
	struct guest g;

	power_on(&g, "");
	set_status(&g, 0);
	wait_until(&g, status_is, 0);
	g.vm.mem->region[0].dirty = bits;
	blk_drive(&g, offered(&g));
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 0, 2 * GUEST_PAGE_BYTES), VIRTIO_BLK_S_OK);
	ck_assert(!(bits[page / 64] & BIT(page % 64)));
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, 0, 2 * GUEST_PAGE_BYTES), VIRTIO_BLK_S_OK);
	ck_assert(bits[page / 64] & BIT(page % 64));
	ck_assert(bits[(page + 1) / 64] & BIT((page + 1) % 64));
	ck_assert(!(bits[(page + 2) / 64] & BIT((page + 2) % 64)));
	power_off(&g);
}
END_TEST

static bool is_over(struct guest *g, unsigned used)
{
	return status_is(g, ACK | DRIVER | FEATURES_OK | DRIVER_OK | NEEDS_RESET) ||
	       used_is(g, used);
}

/* More than the queue has entries: the queue breaks, what was taken completes, a reset brings
 * it back. */
START_TEST(test_too_many_requests)
{
	struct guest g;

	power_on(&g, "");
	for (unsigned round = 0; round < 5; round++) {
		put_request(&g, 0, VIRTIO_BLK_T_IN, 0, BUFFER, SECTOR);
		__atomic_store_n(&avail_of(&g, 0)->idx, 500, __ATOMIC_RELEASE);
		kick(&g, 0);
		wait_until(&g, status_is, ACK | DRIVER | FEATURES_OK | DRIVER_OK | NEEDS_RESET);
		blk_drive(&g, offered(&g));
		ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	}
	/* Not more at once, but before the first ones are done. */
	for (unsigned round = 0; round < 50; round++) {
		uint16_t *event = (uint16_t *)&used_of(&g, 0)->ring[128];

		blk_drive(&g, offered(&g));
		put_request(&g, 0, VIRTIO_BLK_T_OUT, 0, BUFFER, 4 * SECTOR);
		__atomic_store_n(&avail_of(&g, 0)->idx, 128, __ATOMIC_RELEASE);
		kick(&g, 0);
		while (__atomic_load_n(event, __ATOMIC_RELAXED) != 128)
			;
		__atomic_store_n(&avail_of(&g, 0)->idx, 256, __ATOMIC_RELEASE);
		kick(&g, 0);
		wait_until(&g, is_over, 256);
	}
	power_off(&g);
}
END_TEST

START_TEST(test_stop_drains)
{
	struct guest g;

	power_on(&g, "");
	for (unsigned round = 0; round < 50; round++) {
		uint16_t published;

		for (unsigned slot = 0; slot < 16; slot++)
			put_request(&g, slot, VIRTIO_BLK_T_OUT, slot, BUFFER + slot * SECTOR,
				    SECTOR);
		published = avail_of(&g, 0)->idx;
		kick(&g, 0);
		guest_stop(&g);
		wait_until(&g, has_stopped, 0);
		ck_assert_uint_eq(g.v->handed_over, 0);
		/* Nothing in between: completed, or not yet taken. */
		ck_assert_uint_eq(g.v->s->queue[0].next_used, g.v->s->queue[0].next_avail);
		ck_assert_uint_eq(used_idx(&g, 0), g.v->s->queue[0].next_used);
		guest_start(&g);
		wait_until(&g, used_is, published);
	}
	power_off(&g);
}
END_TEST

static bool is_interrupted(struct guest *g, unsigned vector)
{
	struct pollfd p = { .fd = g->v->msix.vector[vector].fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

START_TEST(test_queues)
{
	struct guest g;

	power_on(&g, ", \"num_queues\": 3, \"queue_size\": 64");
	for (unsigned i = 0; i < 3; i++) {
		gpa_t base = queue_gpa(i) + DATA;
		struct vring_desc *d = desc_of(&g, i);

		*(struct virtio_blk_outhdr *)ram(&g, base) =
			(struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN, .sector = i };
		d[0] = (struct vring_desc){ base, 16, VRING_DESC_F_NEXT, 1 };
		d[1] = (struct vring_desc){ base + 64, SECTOR, MORE_WRITABLE, 2 };
		d[2] = (struct vring_desc){ base + 16, 1, VRING_DESC_F_WRITE, 0 };
		*(uint8_t *)ram(&g, base + 16) = NO_STATUS;
		publish(&g, i, 0);
		kick(&g, i);
		wait_until(&g, used_is, i << 16 | 1);
		ck_assert_uint_eq(*(uint8_t *)ram(&g, base + 16), VIRTIO_BLK_S_OK);
		wait_until(&g, is_interrupted, i + 1);
		ck_assert_uint_eq(interrupts(&g, i + 1), 1);
		ck_assert_uint_eq(counter_of(&g.vm, "disk0", "read_ops"), i + 1);
	}
	power_off(&g);
}
END_TEST

/* A failing host: the guest is told and goes on. */
START_TEST(test_host_error)
{
	struct guest g;

	power_on(&g, "");
	/* The memory behind the buffer goes away, which the host's call refuses. */
	ck_assert_int_eq(mprotect(at(&g, 0xc000), GUEST_PAGE_BYTES, PROT_NONE), 0);
	put_request(&g, 0, VIRTIO_BLK_T_IN, 0, 0xc000, GUEST_PAGE_BYTES);
	ck_assert_uint_eq(finish(&g), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "errors"), 1);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "read_ops"), 0);
	ck_assert_int_eq(mprotect(at(&g, 0xc000), GUEST_PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
	power_off(&g);
}
END_TEST

/* On the thread pool, whose flush is seen to fail. */
static void check_write_through(void)
{
	struct guest g;

	forbid_syscall(SYS_io_uring_setup, EPERM);
	forbid_syscall(SYS_fdatasync, EIO);
	power_on(&g, "");
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "write_ops"), 1);
	blk_drive(&g, offered(&g) & ~BIT(VIRTIO_BLK_F_FLUSH));
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(range_request(&g, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0),
			  VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "write_ops"), 1);
	ck_assert_uint_eq(counter_of(&g.vm, "disk0", "errors"), 3);
	power_off(&g);
}

/* 5.2.6.2: a driver without FLUSH has its writes on stable storage when they are done. */
START_TEST(test_write_through)
{
	in_child(check_write_through);
}
END_TEST

struct blk_saved {
	struct virtio_state virtio[1];
	uint64_t capacity;
	uint32_t block_bytes;
};

START_TEST(test_loaded)
{
	struct blk_saved *s, saved;
	struct guest g;
	struct err e;

	power_on(&g, "");
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
	s = device_state(&g.v->dev);
	saved = *s;
	ck_assert_int_eq(device_loaded(&g.v->dev, &e), 0);
	/* The guest keeps the blocks it knows. */
	s->block_bytes = 4096;
	ck_assert_int_eq(device_loaded(&g.v->dev, &e), 0);
	ck_assert_uint_eq(((struct virtio_blk_config *)g.v->config)->blk_size, 4096);
	s->block_bytes = 1000;
	ck_assert_int_eq(device_loaded(&g.v->dev, &e), -EINVAL);
	*s = saved;
	s->capacity++;
	ck_assert_int_eq(device_loaded(&g.v->dev, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "give the image that it was saved with"));
	*s = saved;
	guest_start(&g);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	power_off(&g);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("blk");
	TCase *tc = tcase_create("blk");

	tcase_add_checked_fixture(tc, image_setup, blk_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_options_are_checked);
	tcase_add_test(tc, test_configuration);
	tcase_add_loop_test(tc, test_write_and_read, 0, 2);
	tcase_add_test(tc, test_any_layout);
	tcase_add_test(tc, test_range_is_checked);
	tcase_add_test(tc, test_read_only);
	tcase_add_test(tc, test_get_id);
	tcase_add_test(tc, test_discard_and_write_zeroes);
	tcase_add_test(tc, test_not_sparse);
	tcase_add_test(tc, test_feature_not_negotiated);
	tcase_add_test(tc, test_malformed_requests_complete);
	tcase_add_test(tc, test_batch);
	tcase_add_test(tc, test_full_queue);
	tcase_add_test(tc, test_read_marks_pages_dirty);
	tcase_add_test(tc, test_too_many_requests);
	tcase_add_test(tc, test_stop_drains);
	tcase_add_test(tc, test_queues);
	tcase_add_test(tc, test_host_error);
	tcase_add_test(tc, test_write_through);
	tcase_add_test(tc, test_loaded);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
