#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What an agent writes to the cgroups of its VMs, which --monitor makes, and what comes of it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"
groups=/sys/fs/cgroup

# agent OPTION...: $agent is its process, which says what it does in the file stderr.
agent() {
	[[ -x $LAB/godwit-agent && -f $LAB/work.elf ]] || { echo "there is no agent, or no guest"; exit 77; }
	echo "+cpu +memory" >$groups/cgroup.subtree_control
	cat >monitor <<-EOF
		#!/bin/bash
		mkdir $groups/\$\$ && echo \$\$ >$groups/\$\$/cgroup.procs && exec "$GODWIT" "\$@"
	EOF
	chmod +x monitor
	export GODWIT_STATE_DIR=$PWD
	godwit-agent run --id lab --monitor "$PWD/monitor" "$@" 2>stderr &
	agent=$!
	trap ends EXIT
	says 'agent "lab" runs'
}

ends() {
	local pid
	swapoff "$PWD/swap" 2>/dev/null || true
	kill "$agent" 2>/dev/null || true
	for pid in /run/godwit/*/pid; do kill -KILL "$(<"$pid")" || true; done 2>/dev/null
}

# says TEXT: waits until the agent has.
says() {
	local deadline=$((SECONDS + patience))
	until grep -F -- "$1" stderr; do
		kill -0 "$agent" || fail "the agent ended before it said: $1"
		[[ $SECONDS -lt $deadline ]] || fail "the agent did not say in $patience s: $1"
		sleep 0.2
	done
}

# starts NAME CMDLINE MORE: a guest that works; $group is its group's folder. MORE is of its spec.
starts() {
	cat >"$1.json" <<-EOF
		{"name": "$1", "restart": "no", $3 "vm": {
		  "payload": {"kernel": "$LAB/work.elf", "cmdline": "$2"},
		  "memory": {"size": "128M"}, "balloon": {"size": 0}}}
	EOF
	godwit-agent apply "$1.json"
	group=$groups/$(<"/run/godwit/$1/pid")
	grep -qx "${group##*/}" "$group/cgroup.procs"
}

used() { sed -n 's/^usage_usec //p' "$1/cpu.stat"; }

# weights: one that weighs four times as much as another has more than twice as much of a processor.
weights() {
	local web rest before
	agent
	starts rest load=90 ""
	rest=$group
	starts web load=90 '"weight": 4,'
	web=$group
	says "weight-set web: its cpu.weight is 400 in place of 100: VMs wait for cores"
	[[ $(<"$web/cpu.weight") == 400 && $(<"$rest/cpu.weight") == 100 ]]
	before=("$(used "$web")" "$(used "$rest")")
	sleep 10
	[[ $(($(used "$web") - before[0])) -gt $((2 * ($(used "$rest") - before[1]))) ]]
	kill "$agent"
	wait "$agent"
	[[ $(<"$web/cpu.weight") == 100 ]]
}

# reclaims: what a guest has written and does not touch goes to swap while the host is short of memory.
reclaims() {
	local before
	dd if=/dev/zero of=swap bs=1M count=128
	chmod 600 swap
	mkswap swap
	swapon "$PWD/swap"
	agent --memory 100M --reserve 90M
	starts web "load=10 mib=96" '"memory_min": "32M",'
	until [[ $(<"$group/memory.current") -ge $((96 << 20)) ]]; do sleep 0.2; done
	before=$(<"$group/memory.current")
	says "of 6 MiB that it should: the host is short of it"
	grep "memory-reclaimed web: the kernel took " stderr
	[[ $(<"$group/memory.swap.current") -ge $((5 << 20)) ]]
	[[ $(<"$group/memory.current") -lt $before ]]
}

# held_back GROUP DEVICE: of its processor; and what it writes to the device is its group's.
held_back() {
	local throttled written
	[[ -e $1/cpu.stat && -e $1/io.stat ]] || return 1
	throttled=$(sed -n 's/^nr_throttled //p' "$1/cpu.stat")
	written=$(sed -n "s/^$2 .*wios=\([0-9]*\) .*/\1/p" "$1/io.stat")
	((throttled > 2 && ${written:-0} > 20))
}

# limits: a group that godwit makes for a VM, with limits that hold, and that is gone with it.
limits() {
	local group=$groups/godwit-limited deadline=$((SECONDS + patience)) pid device
	[[ -f $LAB/ledger.elf ]] || { echo "there is no guest"; exit 77; }
	device=$(</sys/block/vda/dev)
	truncate -s 64M disk
	"$GODWIT" run --name limited --memory 128M --kernel "$LAB/ledger.elf" --append auto --disk path=disk \
		--cgroup "auto,memory_max=512M,cpu_max=0.2,cpu_weight=50,pids_max=100,io_max=$device wbps=1048576,strict=on" \
		</dev/null >console 2>stderr &
	pid=$!
	until held_back "$group" "$device"; do
		[[ -n $(jobs -pr) && $SECONDS -lt $deadline ]] || fail "it is not held back: $(<stderr)"
		sleep 0.2
	done
	[[ $(<"$group/memory.max") == $((512 << 20)) && $(<"$group/cpu.max") == "20000 100000" ]]
	[[ $(<"$group/cpu.weight") == 50 && $(<"$group/pids.max") == 100 ]]
	[[ $(<"$group/io.max") == "$device rbps=max wbps=1048576 riops=max wiops=max" ]]
	[[ $(wc -l <"$group/cgroup.procs") == 2 ]]
	kill -KILL $pid
	wait $pid || true
	while [[ -d $group ]]; do
		[[ $SECONDS -lt $deadline ]] || fail "the group is left"
		sleep 0.2
	done
}

check "local: a group of its own, with limits" limits
check "local: cpu.weight of a group of its own" weights
check "local: memory.reclaim of a group of its own" reclaims
