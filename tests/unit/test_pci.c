/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that come and go on the PCI bus: slots and the places of their BARs. */
#include <errno.h>
#include <linux/pci_regs.h>

#include "bits.h"
#include "check_main.h"
#include "pci.h"
#include "platform.h"
#include "vm.h"

enum { CARD_BARS = 2, ROUNDS = 1000 };

/* A function whose BARs have the sizes that the test asks for. */
struct card {
	struct device dev;
	struct pci_function fn;
	struct pci_state s;
};

static struct loop *loop;
static struct vm vm;
static struct pci_bus bus;
static uint64_t sizes[CARD_BARS];

static const struct region_ops nothing = { .widths = 1 };

static int card_attach(struct device *dev, struct err *e)
{
	static const struct pci_ids ids = { .vendor = 1 };
	struct card *c = container_of(dev, struct card, dev);
	int r = pci_function_attach(&c->fn, dev, &c->s, &ids, -1, e);

	for (unsigned i = 0; !r && i < CARD_BARS; i++)
		if (sizes[i])
			r = pci_add_bar(&c->fn, i, sizes[i], &nothing, e);
	return r;
}

static void card_reset(struct device *dev)
{
	pci_reset(&container_of(dev, struct card, dev)->fn);
}

static const struct device_class card_class = {
	.kind = "card", .size = sizeof(struct card), .attach = card_attach, .reset = card_reset
};

static int try_card(const char *id, uint64_t size0, uint64_t size1, struct card **card,
		    struct err *e)
{
	struct device *dev;
	int r;

	sizes[0] = size0;
	sizes[1] = size1;
	r = device_new(&dev, &card_class, id, &vm, NULL, e);
	if (!r)
		*card = container_of(dev, struct card, dev);
	return r;
}

static struct card *card_new(const char *id, uint64_t size0, uint64_t size1)
{
	struct card *card = NULL;
	struct err e;

	ck_assert_msg(!try_card(id, size0, size1, &card, &e), "%s", e.text);
	return card;
}

static uint64_t bar(const struct card *c, unsigned index)
{
	return pci_config_read(&bus, c->fn.slot << 3, PCI_BASE_ADDRESS_0 + 4 * index, 4);
}

static void setup(void)
{
	struct err e;

	ck_assert_int_eq(loop_new(&loop, &e), 0);
	ck_assert_int_eq(vm_init(&vm, -1, loop, 0, &e), 0);
	bus = (struct pci_bus){ 0 };
	vm.pci = &bus;
}

static void teardown(void)
{
	vm_free(&vm);
	loop_free(loop);
}

START_TEST(bars_are_aligned_and_apart)
{
	struct card *a = card_new("a", 0x4000, 0x800), *b = card_new("b", 0x10000, 0x800);

	ck_assert_uint_eq(bar(a, 0), PLATFORM_PCI_BAR_BASE);
	ck_assert_uint_eq(bar(a, 1), PLATFORM_PCI_BAR_BASE + 0x4000);
	ck_assert_uint_eq(bar(b, 0), PLATFORM_PCI_BAR_BASE + 0x10000);
	/* Into the gap, but not into the page of another one's. */
	ck_assert_uint_eq(bar(b, 1), PLATFORM_PCI_BAR_BASE + 0x5000);
	ck_assert_uint_eq(vm.mmio.nregions, 4);
}
END_TEST

START_TEST(places_are_used_again)
{
	struct card *first = card_new("first", 0x4000, 0x800), *last;
	struct card *middle = card_new("middle", 0x4000, 0x800);
	unsigned slot = middle->fn.slot;
	uint64_t at[] = { bar(middle, 0), bar(middle, 1) };

	last = card_new("last", 0x4000, 0x800);
	for (unsigned i = 0; i < ROUNDS; i++) {
		device_free(&middle->dev);
		middle = card_new("middle", 0x4000, 0x800);
		ck_assert_uint_eq(middle->fn.slot, slot);
		ck_assert_uint_eq(bar(middle, 0), at[0]);
		ck_assert_uint_eq(bar(middle, 1), at[1]);
	}
	ck_assert_uint_ne(bar(first, 0), bar(middle, 0));
	ck_assert_uint_ne(bar(last, 0), bar(middle, 0));
	ck_assert_uint_eq(vm.mmio.nregions, 6);
}
END_TEST

START_TEST(a_full_window_is_refused)
{
	struct card *card = NULL;
	struct err e = { "" };

	card_new("half", 0x10000000, 0);
	card_new("quarter", 0x8000000, 0);
	ck_assert_int_eq(try_card("more", 0x10000000, 0, &card, &e), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(e.text, "more"));
	ck_assert_uint_eq(bar(card_new("rest", 0x8000000, 0), 0),
			  PLATFORM_PCI_BAR_BASE + 0x18000000);
	ck_assert_int_eq(try_card("more", 0x1000, 0, &card, &e), -ENOSPC);
}
END_TEST

START_TEST(slots_are_used_again)
{
	struct card *card[PCI_SLOTS], *more = NULL;
	char id[16];
	struct err e;

	for (unsigned i = 0; i < PCI_SLOTS; i++) {
		snprintf(id, sizeof(id), "card%u", i);
		card[i] = card_new(id, 0x1000, 0);
		ck_assert_uint_eq(card[i]->fn.slot, i);
	}
	ck_assert_int_eq(try_card("more", 0x1000, 0, &more, &e), -ENOSPC);
	device_free(&card[17]->dev);
	ck_assert_uint_eq(pci_config_read(&bus, 17 << 3, PCI_VENDOR_ID, 2), 0xffff);
	ck_assert_uint_eq(card_new("more", 0x1000, 0)->fn.slot, 17);
}
END_TEST

/* Its power-on place may be another one's by now: the guest gives it one. */
START_TEST(a_late_function_waits_for_the_guest)
{
	struct card *early = card_new("early", 0x4000, 0), *late;
	struct err e;

	bus.live = true;
	late = card_new("late", 0x4000, 0);
	ck_assert_uint_eq(pci_config_read(&bus, late->fn.slot << 3, PCI_COMMAND, 2), 0);
	ck_assert_uint_eq(bar(late, 0), 0);
	ck_assert_uint_eq(vm.mmio.nregions, 1);
	pci_config_write(&bus, early->fn.slot << 3, PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	pci_config_write(&bus, late->fn.slot << 3, PCI_BASE_ADDRESS_0, 4, PLATFORM_PCI_BAR_BASE);
	ck_assert(!late->fn.bar[0].region.mapped);
	pci_config_write(&bus, late->fn.slot << 3, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(late->fn.bar[0].region.base, PLATFORM_PCI_BAR_BASE);
	ck_assert_uint_eq(vm.mmio.nregions, 2);
	ck_assert_msg(!pci_loaded(&late->fn, &e), "%s", e.text);
	/* At the next power-on it is a function like any other. */
	pci_bus_renew(&bus, false);
	device_reset(&early->dev);
	device_reset(&late->dev);
	ck_assert_uint_eq(early->fn.bar[0].region.base, PLATFORM_PCI_BAR_BASE);
	ck_assert_uint_eq(late->fn.bar[0].region.base, PLATFORM_PCI_BAR_BASE + 0x4000);
	ck_assert_uint_eq(vm.mmio.nregions, 2);
}
END_TEST

/* Two functions that the guest let change places, loaded one after the other. */
START_TEST(loads_in_any_order)
{
	struct card *a = card_new("a", 0x4000, 0), *b = card_new("b", 0x4000, 0);
	uint64_t at[] = { bar(a, 0), bar(b, 0) };
	struct err e;

	pci_bus_renew(&bus, true);
	put_le(a->s.config + PCI_BASE_ADDRESS_0, 4, at[1]);
	put_le(b->s.config + PCI_BASE_ADDRESS_0, 4, at[0]);
	a->s.slot = 1;
	b->s.slot = 17;
	ck_assert_int_eq(pci_loaded(&a->fn, &e) | pci_loaded(&b->fn, &e), 0);
	ck_assert_uint_eq(vm.mmio.nregions, 2);
	ck_assert_uint_eq(a->fn.bar[0].region.base, at[1]);
	ck_assert_uint_eq(b->fn.bar[0].region.base, at[0]);
	ck_assert_int_eq(pci_slot_of(&bus, &a->dev), 1);
	ck_assert_int_eq(pci_slot_of(&bus, &b->dev), 17);
	ck_assert_uint_eq(bar(a, 0), at[1]);
	/* There they stay. */
	device_reset(&a->dev);
	ck_assert_uint_eq(a->s.slot, 1);
	device_free(&a->dev);
	device_free(&b->dev);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		ck_assert_ptr_null(bus.slot[slot]);
}
END_TEST

START_TEST(one_slot_holds_one)
{
	struct card *a = card_new("a", 0, 0), *b = card_new("b", 0, 0);
	struct err e = { "" };

	b->s.slot = 0;
	ck_assert_int_eq(pci_loaded(&b->fn, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "slot 0"));
	ck_assert_int_eq(pci_slot_of(&bus, &a->dev), 0);
	ck_assert_int_eq(pci_slot_of(&bus, &b->dev), 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pci");
	TCase *t = tcase_create("bus");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, bars_are_aligned_and_apart);
	tcase_add_test(t, places_are_used_again);
	tcase_add_test(t, a_full_window_is_refused);
	tcase_add_test(t, slots_are_used_again);
	tcase_add_test(t, a_late_function_waits_for_the_guest);
	tcase_add_test(t, loads_in_any_order);
	tcase_add_test(t, one_slot_holds_one);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
