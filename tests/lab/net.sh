#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# 32 MiB from the host to the guest and back over a tap; then the tap is removed under the guest.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# net SERIES CPUS OPTIONS QUEUES MTU
net() {
	local sum sender receiver
	dd if=/dev/urandom of=data bs=1M count=32 2>/dev/null
	sum=$(sha256sum <data)
	vm_start godwit "$1" "$2" --append "console=ttyS0 quiet godwit.run=network" \
		--net "tap=lab0,ip=10.0.0.1,mask=255.255.255.0,mac=52:54:00:12:34:56$3"
	timeout $patience socat -u OPEN:data,rdonly TCP-LISTEN:8000,reuseaddr &
	sender=$!
	timeout $patience socat -u TCP-LISTEN:8001,reuseaddr CREATE:back &
	receiver=$!
	vm_says "guest: $4 queues, mtu $5, 52:54:00:12:34:56"
	vm_says "guest: got $sum"
	vm_says "guest: sent"
	wait $sender $receiver
	cmp data back
	ip link delete lab0
	vm_says "guest: the link is down"
	grep -q "net0: tap lab0 was removed" stderr
	vm_ends 0
}

check "net: Linux 6.12, 1 CPU" net 6.12 1 "" 1 1500
check "net: Linux 6.12, 4 CPUs, 4 pairs of queues, mtu=9000" net 6.12 4 ,num_queues=8,mtu=9000 4 9000
check "net: Linux 6.1, 1 CPU, no offloads" net 6.1 1 ,offload_csum=off 1 1500
