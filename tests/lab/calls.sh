#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the I/O threads ask of the kernel: for a disk three system calls a batch of requests, which
# are wait, submit and interrupt; for a network that the kernel moves, nothing. The kernel counts
# them (Documentation/trace/histogram).
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"
trigger=/sys/kernel/tracing/events/raw_syscalls/sys_enter/trigger
histogram='hist:keys=common_pid,id:size=4096'

count_from_now() {
	echo "!$histogram" >"$trigger"
	echo "$histogram" >"$trigger"
}

# counted NUMBER|all: prints how many calls of that number the I/O threads have made
counted() {
	local tids
	tids=$(grep -l ^_io /proc/"$vm"/task/*/comm | cut -d / -f 5)
	sed -n 's/{ common_pid: *\([0-9]*\), id: *\([0-9]*\) } hitcount: *\([0-9]*\)/\1 \2 \3/p' \
		"${trigger%/*}/hist" | awk -v id="$1" -v tids=" ${tids//$'\n'/ } " \
		'index(tids, " " $1 " ") && (id == "all" || id == $2) { n += $3 } END { print n + 0 }'
}

# 4000 reads one by one, and as many sixteen at once
reads() {
	local all batches
	truncate -s 256M disk.img
	vm_start godwit 6.12 2 --append "console=ttyS0 quiet godwit.run=reads" \
		--disk path=disk.img --disk "path=$LAB/tools.img,readonly=on"
	vm_says "guest: reads begin"
	count_from_now
	vm_says "guest: reads done"
	all=$(counted all)
	batches=$(counted 426) # io_uring_enter
	echo "$all calls, $batches batches"
	[[ $batches -gt 4000 && $batches -lt 8000 ]] || fail "8000 reads went in $batches batches"
	[[ $all -lt $((4 * batches)) ]] || fail "$batches batches took $all calls"
}

# packets: 16 MiB to the guest
packets() {
	local all n
	truncate -s 16M data
	vm_start godwit 6.12 1 --append "console=ttyS0 quiet godwit.run=network godwit.args=1" \
		--net "tap=lab0,ip=10.0.0.1,mask=255.255.255.0,mac=52:54:00:12:34:56,vhost=on"
	vm_says "guest: 1 queues"
	count_from_now
	timeout $patience socat -u OPEN:data,rdonly TCP-LISTEN:8000,reuseaddr
	vm_says "guest: got"
	all=$(counted all)
	n=$(cat /sys/class/net/lab0/statistics/tx_packets)
	echo "$all calls, $n packets"
	# of 64 KiB at most, where the guest takes segments together
	[[ $n -ge 256 ]] || fail "16 MiB went in $n packets"
	[[ $all -lt 50 ]] || fail "$n packets took $all calls"
}

mount -t tracefs none /sys/kernel/tracing 2>/dev/null || true
modprobe vhost_net
check "calls: 8000 reads" reads
check "calls: packets that the kernel moves" packets
