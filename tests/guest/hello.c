/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte a guest can send: 'G', by the entry code before anything else. With "stay" on the
 * command line the machine then sits still, else it ends.
 */
#include "lib/guest.h"

const char guest_name[] = "hello";
uint8_t guest_early_byte = 'G';

void guest_main(void)
{
	if (cmdline_has("stay"))
		cpu_halt();
	power_off(0);
}
