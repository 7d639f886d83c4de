#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A stock guest under load is given CPUs, uses them, and gives them up: all in one process, after a
# reboot, and in the process that it has moved to.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# has NAME CPUS NUMBER: the guest uses so many, as it says at its change of that NUMBER, and the
# host says so, too.
has() {
	vm_says "guest: $3. $2 CPUs"
	[[ $("$GODWIT" list | awk -v name="$1" '$1 == name { print $3 }') == "$2" ]] ||
		fail "the host does not count $2"
}

# resize SERIES
resize() {
	local name=vm$BASHPID left=
	vm_start godwit "$1" boot=1,max=4 --append "console=ttyS0 quiet godwit.run=vcpus"
	has "$name" 1 1
	"$GODWIT" resize "$name" --cpus 4
	has "$name" 4 2
	[[ $("$GODWIT" events --json "$name" | grep -c '"found"') == 3 ]]
	"$GODWIT" resize "$name" --cpus 1
	has "$name" 1 3
	"$GODWIT" resize "$name" --cpus 3
	has "$name" 3 4
	left=$vm
	"$GODWIT" run --name "$name-2" --incoming tcp:127.0.0.1:0 --serial tty \
		</dev/null >>console 2>stderr &
	vm=$!
	"$GODWIT" migrate "$name" "$(vm_waits_at stderr)"
	wait "$left"
	name+=-2
	"$GODWIT" resize "$name" --cpus 4
	has "$name" 4 5
	"$GODWIT" resize "$name" --cpus 2
	has "$name" 2 6
	: >console
	"$GODWIT" reset "$name"
	has "$name" 2 1
	"$GODWIT" resize "$name" --cpus 3
	has "$name" 3 2
	"$GODWIT" resize "$name" --cpus 1
	has "$name" 1 3
	"$GODWIT" shutdown "$name"
	vm_ends 0
}

check "vcpus: 1 to 4, a move and a reset, Linux 6.12" resize 6.12
check "vcpus: 1 to 4, a move and a reset, Linux 6.1" resize 6.1
