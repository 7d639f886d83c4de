#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vcpus.sh [SERIES...]: a stock guest with Linux 6.12, or these, that stress-ng loads is given CPUs,
# uses them in the nodes that they are of, and gives them up: all in one process, after a reboot,
# and in the process that it has moved to.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# has NAME CPUS: waits until stress-ng runs on so many in the guest, as it said last; the host has
# as many, too. It has run for more than $ran ticks by then, which becomes how many they are.
has() {
	local line before=$ran deadline=$((SECONDS + patience))
	until line=$(grep -a "^guest: " console | tail -n 1) &&
		[[ $line == "guest: $2 CPUs"*" ticks"* ]]; do
		[[ $SECONDS -lt $deadline ]] || fail "the guest does not use $2 CPUs in $patience s"
		vm_lives || fail "the VM ended before it used $2 CPUs"
		sleep 0.2
	done
	[[ $("$GODWIT" list | awk -v name="$1" '$1 == name { print $3 }') == "$2" ]] ||
		fail "the host does not count $2"
	ran=${line##* stress-ng ran } ran=${ran% ticks*}
	[[ $ran -gt $before ]] || fail "stress-ng has run for $ran ticks, and for $before before"
}

# resize SERIES
resize() {
	local name=vm$BASHPID left mib ran=0
	vm_start godwit "$1" boot=1,max=4 --disk "path=$LAB/tools.img,readonly=on" \
		--numa "guest_numa_id=0,cpus=[0-1],distances=[1@30]" \
		--numa "guest_numa_id=1,cpus=[2-3],memory=128M" --append "console=ttyS0 quiet godwit.run=vcpus"
	has "$name" 1
	"$GODWIT" resize "$name" --cpus 4
	has "$name" 4
	grep -aF "guest: 4 CPUs, node0: 0-1: 10 30, node1: 2-3: 30 10" console
	mib=$(sed -n 's/^guest: node1 has \([0-9]*\) MiB.*/\1/p' console)
	[[ $mib -gt 32 && $mib -le 128 ]] || fail "node 1 has $mib MiB"
	[[ $("$GODWIT" events --json "$name" | grep -c '"found"') == 3 ]]
	"$GODWIT" resize "$name" --cpus 1
	has "$name" 1
	"$GODWIT" resize "$name" --cpus 3
	has "$name" 3
	left=$vm
	"$GODWIT" run --name "$name-2" --incoming tcp:127.0.0.1:0 --serial tty \
		</dev/null >>console 2>stderr &
	vm=$!
	"$GODWIT" migrate "$name" "$(vm_waits_at stderr)"
	wait "$left"
	name+=-2
	"$GODWIT" resize "$name" --cpus 4
	has "$name" 4
	"$GODWIT" resize "$name" --cpus 2
	has "$name" 2
	: >console
	ran=0
	"$GODWIT" reset "$name"
	has "$name" 2
	"$GODWIT" resize "$name" --cpus 3
	has "$name" 3
	"$GODWIT" resize "$name" --cpus 1
	has "$name" 1
	"$GODWIT" shutdown "$name"
	vm_ends 0
}

[[ $# -gt 0 ]] || set -- 6.12
for series; do
	check "vcpus: 1 to 4, a move and a reset, Linux $series" resize "$series"
done
