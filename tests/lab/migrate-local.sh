#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# migrate-local.sh [TIMES]: a stock guest moves TIMES (3) times from one process to the next on one
# host; its clock and its disk go on.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"
times=${1:-3}

# move SERIES CPUS [OPTION...]
move() {
	local name=vm$BASHPID left url number
	truncate -s 64M disk.img
	vm_start godwit "$1" "$2" --append "console=ttyS0 quiet godwit.run=moves" \
		--disk path=disk.img "${@:3}"
	vm_says "guest: disk 1"
	for ((number = 1; number <= times; number++)); do
		left=$vm
		"$GODWIT" run --name "$name-$number" --incoming tcp:127.0.0.1:0 --serial tty \
			</dev/null >>console 2>stderr &
		vm=$!
		url=$(vm_waits_at stderr)
		"$GODWIT" migrate "${from:-$name}" "$url"
		from=$name-$number
		wait "$left" || fail "the process that was left ended with status $?"
		vm_goes_on
	done
	"$GODWIT" shutdown "$from"
	vm_ends 0
	! grep "wrong:" console || fail "the guest complains"
}

check "migrate-local: Linux 6.12, 1 CPU, $times moves" move 6.12 1
check "migrate-local: Linux 6.12, 4 CPUs, $times moves" move 6.12 4
check "migrate-local: Linux 6.1, 1 CPU, $times moves" move 6.1 1
