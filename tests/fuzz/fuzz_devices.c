/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes and reads the platform devices as the input says, four bytes an access:
 * what to do, which port, the value.  Between accesses the VM may be stopped, reset, moved or
 * have its power button pressed.
 */
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "platform.h"
#include "vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct device_class acpi_pm_class, cmos_class, i8042_class, pvpanic_class, uart_class;

static const struct device_class *const classes[] = { &acpi_pm_class, &cmos_class, &i8042_class,
						      &pvpanic_class, &uart_class };

static const struct {
	uint16_t base, len;
} ports[] = {
	{ PLATFORM_COM1, 9 },    { PLATFORM_COM1, 9 },  { PLATFORM_CMOS, 2 },
	{ PLATFORM_CMOS, 2 },    { PLATFORM_I8042, 5 }, { PLATFORM_ACPI_SLEEP_CONTROL, 9 },
	{ PLATFORM_PVPANIC, 2 },
};

enum action { READ, WRITE, WRITE_WORD, READ_LONG, BUTTON, RESTART, RESET, MOVE, ACTIONS };

static uint64_t passed_ns; /* by the guest's clock */

static uint64_t wall_clock_ns(void)
{
	return UINT64_C(1700000000000000000) + passed_ns;
}

static void on_event(void *arg, unsigned events)
{
	(void)arg;
	(void)events;
}

static void stopped(struct device *dev, void *arg)
{
	(void)dev;
	(void)arg;
}

/* All devices stop, are left alone, reset or given the state they had, and start. */
static void interlude(struct vm *vm, enum action action)
{
	struct device *dev;
	struct err e;

	list_for_each (dev, &vm->devices, node)
		device_stop(dev, stopped, NULL);
	list_for_each (dev, &vm->devices, node) {
		if (action == RESET)
			device_reset(dev);
		/* What a device has come to it must take back. */
		if (action == MOVE && device_loaded(dev, &e))
			abort();
	}
	list_for_each (dev, &vm->devices, node)
		device_start(dev);
}

static void act(struct vm *vm, const uint8_t *p)
{
	unsigned at = p[1] % ARRAY_SIZE(ports);
	uint16_t port = (uint16_t)(ports[at].base + p[2] % ports[at].len);

	switch ((enum action)(p[0] % ACTIONS)) {
	case READ:
		bus_read(&vm->pio, port, 1);
		break;
	case WRITE:
		bus_write(&vm->pio, port, 1, p[3]);
		break;
	case WRITE_WORD:
		bus_write(&vm->pio, port, 2, (uint64_t)p[3] << 8 | p[2]);
		break;
	case READ_LONG:
		bus_read(&vm->pio, port, 4);
		break;
	case BUTTON:
		passed_ns += (uint64_t)p[3] * 333333333;
		vm_press_power_button(vm);
		break;
	default:
		interlude(vm, (enum action)(p[0] % ACTIONS));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *null = json_pack("{s:s}", "mode", "Null");
	struct device *dev;
	struct loop *loop;
	struct vm vm;
	struct err e;

	if (!null || loop_new(&loop, &e) || vm_init(&vm, -1, loop, 0, &e))
		abort();
	passed_ns = 0;
	vm.wall_clock_ns = wall_clock_ns;
	vm.on_event = on_event;
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (device_new(&dev, classes[i], classes[i]->kind, &vm, null, &e))
			abort();
		device_start(dev);
	}
	for (; size >= 4; data += 4, size -= 4)
		act(&vm, data);
	list_for_each (dev, &vm.devices, node)
		device_stop(dev, stopped, NULL);
	vm_free(&vm);
	loop_free(loop);
	json_decref(null);
	return 0;
}
