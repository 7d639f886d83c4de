/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte a guest can send: 'G', by the entry code before anything else. Then the machine is
 * switched off; with "stay" on the command line it sits still, with "reset" it asks for a reset,
 * with "button" it waits for its power button.
 */
#include "lib/guest.h"

const char guest_name[] = "hello";
uint8_t guest_early_byte = 'G';

void guest_main(void)
{
	if (cmdline_has("stay"))
		cpu_halt();
	if (cmdline_has("reset"))
		power_reset();
	while (cmdline_has("button") && !(inb(PORT_ACPI_EVENT) & ACPI_EVENT_BUTTON))
		cpu_relax();
	power_off(0);
}
