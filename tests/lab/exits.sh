#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Disk I/O goes past the vCPU's thread: kicks and interrupts take the kernel's way only. KVM counts
# what it hands to the monitor (Documentation/virt/kvm, "binary stats"; in debugfs by name).
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# handed_over: prints how often vCPUs came back to the monitor with an access to a device
handed_over() { cat /sys/kernel/debug/kvm/"$vm"-*/{mmio,io}_exits | awk '{ n += $1 } END { print n }'; }

# exits MONITOR SERIES CPUS: 8000 reads; the guest's own lines cost a few hundred
exits() {
	local before after
	truncate -s 256M disk.img
	vm_start "$1" "$2" "$3" --append "console=ttyS0 quiet godwit.run=reads" \
		--disk path=disk.img --disk "path=$LAB/tools.img,readonly=on"
	vm_says "guest: reads begin"
	before=$(handed_over)
	vm_says "guest: reads done"
	after=$(handed_over)
	echo "exits from $before to $after"
	[[ $((after - before)) -lt 800 ]] || fail "8000 reads took $((after - before)) exits"
}

mount -t debugfs none /sys/kernel/debug 2>/dev/null || true
check "exits: Linux 6.12, 2 CPUs" exits godwit 6.12 2
