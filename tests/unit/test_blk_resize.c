/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that changes its size under a guest. */
#include <errno.h>

#include "blk_guest.h"
#include "check_main.h"

enum { ROUNDS = 50, SLOTS = 16, CONFIG_VECTOR = 0 };

static struct guest g;

static void size_is(uint64_t sectors)
{
	struct stat st;

	ck_assert_uint_eq(((struct virtio_blk_config *)g.v->config)->capacity, sectors);
	ck_assert_int_eq(stat(image, &st), 0);
	ck_assert_int_eq(st.st_size, (off_t)sectors * SECTOR);
}

static void stand_still(void)
{
	guest_stop(&g);
	wait_until(&g, has_stopped, 0);
}

/* As the machine does it: the device stands still meanwhile. */
static int resize(uint64_t bytes)
{
	struct err e = { "" };
	int r;

	stand_still();
	r = device_resize(&g.v->dev, bytes, &e);
	pthread_mutex_lock(&g.vm.lock);
	if (!r)
		device_resized(&g.v->dev);
	pthread_mutex_unlock(&g.vm.lock);
	ck_assert_int_eq(!r, !e.text[0]);
	guest_start(&g);
	return r;
}

static unsigned generation(void)
{
	return (unsigned)rd(&g, g.common + VIRTIO_PCI_COMMON_CFGGENERATION, 1);
}

/* _i: sparse. */
START_TEST(it_grows)
{
	unsigned before;

	power_on(&g, _i ? "" : ", \"sparse\": false");
	wr(&g, g.common + VIRTIO_PCI_COMMON_MSIX, 2, CONFIG_VECTOR);
	before = generation();
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, SECTORS, SECTOR), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(interrupts(&g, CONFIG_VECTOR), 0);
	ck_assert_int_eq(resize(2 * IMAGE_BYTES), 0);
	ck_assert_uint_eq(interrupts(&g, CONFIG_VECTOR), 1);
	ck_assert_uint_eq(generation(), before + 1);
	ck_assert_uint_eq(rd(&g, g.config, 4), 2 * SECTORS);
	size_is(2 * SECTORS);
	ck_assert_int_eq(image_blocks() * SECTOR < IMAGE_BYTES, _i);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 2 * SECTORS - 1, SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, 2 * SECTORS, SECTOR), VIRTIO_BLK_S_IOERR);
	power_off(&g);
}
END_TEST

START_TEST(it_shrinks)
{
	power_on(&g, "");
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, SECTORS - 1, SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(resize(IMAGE_BYTES / 2), 0);
	/* The driver wants no vector: 4.1.4.5. */
	ck_assert_uint_eq(rd(&g, g.isr, 1) & VIRTIO_PCI_ISR_CONFIG, VIRTIO_PCI_ISR_CONFIG);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, SECTORS - 1, SECTOR), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, SECTORS / 2, SECTOR), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(request(&g, VIRTIO_BLK_T_OUT, SECTORS / 2 - 1, SECTOR), VIRTIO_BLK_S_OK);
	size_is(SECTORS / 2);
	power_off(&g);
}
END_TEST

/* A write that is on its way would make the file longer again. */
START_TEST(it_shrinks_under_writes)
{
	power_on(&g, ", \"direct\": true");
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint16_t before = used_idx(&g, 0);

		for (unsigned slot = 0; slot < SLOTS; slot++)
			put_request(&g, slot, VIRTIO_BLK_T_OUT, SECTORS - 1 - slot,
				    BUFFER + slot * SECTOR, SECTOR);
		kick(&g, 0);
		/* Some are done, others are on their way. */
		while (used_idx(&g, 0) == before)
			;
		ck_assert_int_eq(resize(IMAGE_BYTES / 2), 0);
		wait_until(&g, used_is, avail_of(&g, 0)->idx);
		size_is(SECTORS / 2);
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			uint8_t status_byte = *(uint8_t *)at(&g, STATUS + slot);

			ck_assert(status_byte == VIRTIO_BLK_S_OK ||
				  status_byte == VIRTIO_BLK_S_IOERR);
		}
		ck_assert_int_eq(resize(IMAGE_BYTES), 0);
	}
	power_off(&g);
}
END_TEST

START_TEST(the_size_stays)
{
	struct err e;

	power_on(&g, "");
	ck_assert_int_eq(resize(3 * IMAGE_BYTES), 0);
	stand_still();
	ck_assert_int_eq(device_loaded(&g.v->dev, &e), 0);
	device_reset(&g.v->dev);
	size_is(3 * SECTORS);
	power_off(&g);
	power_on(&g, "");
	size_is(3 * SECTORS);
	power_off(&g);
}
END_TEST

START_TEST(what_cannot_be_done_changes_nothing)
{
	power_on(&g, "");
	ck_assert_int_eq(resize(UINT64_C(1) << 62), -EFBIG);
	size_is(SECTORS);
	ck_assert_uint_eq(rd(&g, g.isr, 1) & VIRTIO_PCI_ISR_CONFIG, 0);
	power_off(&g);
	power_on(&g, ", \"readonly\": true");
	ck_assert_int_eq(resize(2 * IMAGE_BYTES), -EROFS);
	size_is(SECTORS);
	ck_assert_uint_eq(rd(&g, g.isr, 1) & VIRTIO_PCI_ISR_CONFIG, 0);
	power_off(&g);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("blk_resize");
	TCase *tc = tcase_create("blk_resize");

	tcase_add_checked_fixture(tc, image_setup, blk_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, it_grows, 0, 2);
	tcase_add_test(tc, it_shrinks);
	tcase_add_test(tc, it_shrinks_under_writes);
	tcase_add_test(tc, the_size_stays);
	tcase_add_test(tc, what_cannot_be_done_changes_nothing);
	suite_add_tcase(s, tc);
	return s;
}

CHECK_MAIN(suite)
