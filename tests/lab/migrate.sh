#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# migrate.sh [TIMES]: a stock guest moves TIMES (3) times between the two hosts of "scripts/lab
# pair", with its TCP session through the bridges and its disk, which both hosts have. Then the
# monitor that it shall move to is killed. The script runs on both hosts; host 1 leads.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"
times=${1:-3}
patience=400 # two hosts at once are twice as slow

# socat gives up that many seconds after one side has said all.
limit=$((3 * patience))
# Whoever calls has a shell. It ends well, because socat drops what a program says that does not.
shell=(socat -t "$limit" "TCP-LISTEN:7000,reuseaddr,fork" "SYSTEM:bash || true")
[[ $LAB_HOST == 1 ]] || exec "${shell[@]}"

# on HOST COMMAND: runs it there in /run, with the lab's helpers; fails if it does.
on() {
	local said
	said=$(echo "{ cd /run && . $LAB/lib.sh && patience=$patience && $2; } 2>&1 && echo done" |
		socat -t $limit - "TCP:192.168.7.1$1:7000,retry=$patience,interval=1")
	[[ $said == *done ]] || fail "host $1: $said"
	echo "${said%done}"
}

awaits_vm() {
	on "$1" ": >stderr && { $GODWIT run --name web --incoming tcp:192.168.7.1$1:4444 --plaintext \
		--serial tty </dev/null >>console 2>stderr & } && echo \$! >pid && vm_waits_at stderr"
}

# moves_until HOST WORD: waits until what the VM there says of its migration has WORD.
moves_until() { on "$1" "until $GODWIT migration web --json | grep $2; do sleep 0.2; done"; }

# show: what may tell why it failed.
show() { for host in 1 2; do on $host "tail -n 5 console stderr"; done; }

# move SERIES CPUS
move() {
	local here=1 there=2 number
	trap show EXIT
	"${shell[@]}" &
	socat TCP-LISTEN:8000,reuseaddr EXEC:cat &
	on 2 "touch console"
	on 1 "{ $GODWIT run --name web --cpus $2 --memory 256M --kernel $LAB/$1/vmlinuz \
		--initrd $LAB/$1/initrd --disk path=/dev/vdb,direct=on --net tap=web0,bridge=br0 \
		--append 'console=ttyS0 quiet godwit.run=moves godwit.args=192.168.7.20,192.168.7.11' \
		--serial tty </dev/null >console 2>stderr & } && vm=\$! && vm_says 'guest: disk 1'"
	for ((number = 1; number <= times; number++)); do
		awaits_vm $there
		on $here "$GODWIT migrate web tcp:192.168.7.1$there:4444 --max-blackout 2s"
		on $there vm_goes_on
		here=$((3 - here)) there=$((3 - there))
	done
	awaits_vm $there
	on $here "$GODWIT migrate web tcp:192.168.7.1$there:4444 --bandwidth 1M --no-wait"
	moves_until $here MemoryPrecopy
	on $there "kill -KILL \$(<pid)"
	moves_until $here Failed
	on $here vm_goes_on
	on $here "$GODWIT shutdown web"
}

check "migrate: Linux 6.12, 1 CPU, $times moves between two hosts" move 6.12 1
