/* SPDX-License-Identifier: Apache-2.0 */
/* A network without a word from the kernel of its own, in which interfaces are nobody's. */
#ifndef OWN_NETWORK_H
#define OWN_NETWORK_H

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <unistd.h>

#include "cleanup.h"

/* False: not allowed here, or there are no taps. */
static inline bool own_network(void)
{
	CLEANUP(fd) int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	CLEANUP(fd) int ipv6 = -1;

	if (tun < 0 || unshare(CLONE_NEWNET))
		return false;
	ipv6 = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	return ipv6 < 0 || write(ipv6, "1", 1) == 1;
}

#endif
