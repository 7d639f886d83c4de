#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# migrate-local.sh [TIMES]: a stock guest moves TIMES (3) times from one process to the next on one
# host; its clock and its disk go on, and so does what the kernel brings it from the network.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"
times=${1:-3}

# move_on TEXT [OPTION...]: from one process to the next, and at last to the end. In all of them the
# guest says TEXT some more times. In an OPTION of where it comes to, NUMBER stands for which move.
move_on() {
	local text=$1 name=vm$BASHPID from left url number
	shift
	from=$name
	for ((number = 1; number <= times; number++)); do
		left=$vm
		"$GODWIT" run --name "$name-$number" --incoming tcp:127.0.0.1:0 --serial tty \
			"${@//NUMBER/$number}" </dev/null >>console 2>stderr &
		vm=$!
		url=$(vm_waits_at stderr)
		"$GODWIT" migrate "$from" "$url"
		from=$name-$number
		wait "$left" || fail "the process that was left ended with status $?"
		vm_says_more "$text" 4
	done
	"$GODWIT" shutdown "$from"
	vm_ends 0
	! grep "wrong:" console || fail "the guest complains"
}

# move SERIES CPUS
move() {
	truncate -s 64M disk.img
	vm_start godwit "$1" "$2" --append "console=ttyS0 quiet godwit.run=moves" \
		--disk path=disk.img
	vm_says "guest: disk 1"
	move_on "guest:"
}

# frames_here NAME: those that went to the guest by way of the monitor
frames_here() {
	"$GODWIT" stats --prometheus "$1" |
		awk '/^godwit_net_receive_latency_seconds_count/ { n += $NF } END { print n + 0 }'
}

# call_off NAME: while it would move the monitor serves the card, before and after that the kernel.
call_off() {
	local frames there
	frames=$(frames_here "$1")
	[[ $frames == 0 ]] || fail "the kernel does not serve the card"
	"$GODWIT" run --name nowhere --incoming tcp:127.0.0.1:0 --serial null \
		--net id=net0,tap=nowhere </dev/null 2>there &
	there=$!
	"$GODWIT" migrate "$1" "$(vm_waits_at there)" --bandwidth 8M --no-wait
	vm_says_more "guest: got" 2
	frames=$(frames_here "$1")
	[[ $frames != 0 ]] || fail "the kernel serves the card while memory is logged"
	"$GODWIT" cancel "$1"
	wait "$there" || true
	vm_says_more "guest: got" 2
	frames=$(frames_here "$1")
	vm_says_more "guest: got" 2
	[[ $(frames_here "$1") == "$frames" ]] || fail "the kernel does not serve the card again"
}

# receive SERIES CPUS: the kernel writes to the guest's memory what comes from the host.
receive() {
	local sum
	ip link add lab type bridge
	ip address add 10.0.1.1/24 dev lab
	ip link set lab up
	dd if=/dev/urandom of=data bs=1M count=4 2>/dev/null
	sum=$(sha256sum <data)
	socat -U TCP-LISTEN:8000,reuseaddr,fork OPEN:data,rdonly &
	vm_start godwit "$1" "$2" --net tap=lab0,bridge=lab,vhost=on \
		--append "console=ttyS0 quiet godwit.run=receives godwit.args=${sum%% *}"
	vm_says "guest: got 1"
	call_off "vm$BASHPID"
	move_on "guest: got" --net id=net0,tap=labNUMBER,bridge=lab
	ip link delete lab
}

modprobe -a bridge vhost_net
check "migrate-local: Linux 6.12, 1 CPU, $times moves" move 6.12 1
check "migrate-local: Linux 6.12, 4 CPUs, $times moves" move 6.12 4
check "migrate-local: Linux 6.1, 1 CPU, $times moves" move 6.1 1
check "migrate-local: Linux 6.12, 1 CPU, $times moves, the kernel receives" receive 6.12 1
