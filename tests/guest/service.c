/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service manager sees of a kernel: it takes its disks, unless "nodriver" is on the
 * command line, and its power button switches the machine off.  With "panic" it fails before.
 */
#include "lib/virtio.h"

enum {
	PORT_PVPANIC = 0x505,
	PVPANIC_PANICKED = 1 << 0,
};

const char guest_name[] = "service";

void guest_main(void)
{
	struct virtio disk;
	unsigned disks = 0;

	if (cmdline_has("panic")) {
		outb(PORT_PVPANIC, PVPANIC_PANICKED);
		delay_us(100000);
		print("service: last words\n");
		cpu_halt();
	}
	while (!cmdline_has("nodriver") && virtio_find(&disk, VIRTIO_ID_BLK, disks)) {
		virtio_begin(&disk, 0);
		virtio_ready(&disk);
		disks++;
	}
	CHECK(disks || cmdline_has("nodriver"));
	print("service: ready\n");
	while (!(inb(PORT_ACPI_EVENT) & ACPI_EVENT_BUTTON))
		delay_us(1000);
}
