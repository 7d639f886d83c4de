#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# net.sh [TIMES]: over a tap, 16 MiB from the host to the guest, then TIMES (1) times as much each
# way; then the tap goes down, up, and away under the guest.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"
times=${1:-1}
# On a host with one processor netcat's small pieces are dear where each wakes another thread, the
# kernel's or that of another queue: a GiB takes a quarter of an hour.
few=$((times < 8 ? times : 8))
patience=$((patience * (1 + times / 8)))

# repeat TIMES FILE
repeat() { for ((n = 0; n < $1; n++)); do cat "$2"; done; }

# net TIMES SERIES CPUS OPTIONS QUEUES MTU UDP-SEGMENTS
net() {
	local times=$1 sum many senders=()
	shift
	dd if=/dev/urandom of=data bs=1M count=16 2>/dev/null
	sum=$(sha256sum <data)
	many=$(repeat "$times" data | sha256sum)
	vm_start godwit "$1" "$2" --append "console=ttyS0 quiet godwit.run=network godwit.args=$times" \
		--net "tap=lab0,ip=10.0.0.1,mask=255.255.255.0,mac=52:54:00:12:34:56$3"
	timeout $patience socat -u OPEN:data,rdonly TCP-LISTEN:8000,reuseaddr &
	senders+=($!)
	repeat "$times" data | timeout $patience socat -u - TCP-LISTEN:8002,reuseaddr &
	senders+=($!)
	vm_says "guest: UDP segments $6"
	vm_says "guest: $4 queues, mtu $5, 52:54:00:12:34:56"
	[[ $(timeout $patience socat -u TCP-LISTEN:8001,reuseaddr - | sha256sum) == "$many" ]]
	vm_says "guest: got $sum"
	vm_says "guest: sent"
	vm_says "guest: got again $many"
	wait "${senders[@]}"
	ip link set lab0 down
	vm_says "guest: carrier 0"
	ip link set lab0 up
	vm_says "guest: carrier 1"
	ip link delete lab0
	vm_ends 0
	[[ $(grep -c "guest: carrier 0" console) == 2 ]]
	grep -q "net0: tap lab0 was removed" stderr
}

modprobe vhost_net
check "net: Linux 6.12, 1 CPU, packets moved by the monitor" \
	net "$times" 6.12 1 ,vhost=off 1 1500 111
check "net: Linux 6.12, 1 CPU, by the kernel" net "$few" 6.12 1 ,vhost=on 1 1500 111
check "net: Linux 6.12, 4 CPUs, 4 pairs of queues, mtu=9000, by the monitor" \
	net "$few" 6.12 4 ,num_queues=8,mtu=9000,vhost=off 4 9000 111
check "net: Linux 6.12, 4 CPUs, 4 pairs of queues, mtu=9000, by the kernel" \
	net "$few" 6.12 4 ,num_queues=8,mtu=9000,vhost=on 4 9000 111
check "net: Linux 6.1, 1 CPU, no offloads" net "$times" 6.1 1 ,offload_csum=off,vhost=off 1 1500 000
