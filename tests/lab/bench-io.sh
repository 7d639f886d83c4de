#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bench-io.sh disk|net|net-vhost MONITOR... -- NAME COMMAND [NAME COMMAND]...: every monitor in turn
# has its guest run each command; the monitor "host" runs them itself, with no guest around. Prints
# "ran MONITOR NAME STATUS CPU-NS", what the command said and "told"; the CPU time is that of all
# threads of the monitor but its vCPUs, and of those that the kernel made for it. One CPU, 512 MiB.
# The disk is in the host's memory; the network is a tap, at the host's end of which iperf3 and
# ping-pong (port 9000) answer. The guests' kernel is Linux 6.12, or SERIES. Status 124 says that a
# guest stood still.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

patience=60
disk=/dev/ram0

# monitor_cpu: nanoseconds that the threads of $vm have run that are not vCPUs.
monitor_cpu() {
	local task name ns total=0 _
	for task in "/proc/$vm/task"/*; do
		# QEMU's come and go.
		read -r name 2>/dev/null <"$task/comm" || continue
		[[ $name != vcpu* && $name != CPU\ * ]] || continue
		read -r ns _ 2>/dev/null <"$task/schedstat" || continue
		total=$((total + ns))
	done
	echo $total
}

# guest_says WORD: waits for the guest's "guest: WORD REST" and sets $rest.
guest_says() {
	local line
	while IFS= read -r -t $patience line <&3; do
		line=${line%$'\r'}
		[[ $line != "guest: $1"* ]] || { rest=${line#"guest: $1"}; return; }
	done
	echo "the guest of $monitor did not say \"$1\": $(tail -n 5 stderr)" >&2
	exit 124
}

run_in_guest() {
	local name=$1 command=$2 before after line
	echo "$command" >&4
	guest_says begin
	before=$(monitor_cpu)
	guest_says end
	after=$(monitor_cpu)
	echo "ran $monitor $name$rest $((after - before))"
	while IFS= read -r -t $patience line <&3 && [[ $line != "guest: told"* ]]; do
		echo "${line%$'\r'}"
	done
	echo told
}

# The same on what the host has: the disk itself, its own network, its best way of I/O.
run_in_host() {
	local name=$1 command=$2 status=0
	command=${command//\/dev\/vda/$disk}
	command=${command/libaio/io_uring}
	command=${command//10.0.0./10.0.1.}
	# shellcheck disable=SC2086 # one word per argument
	"${far[@]}" chroot "$tools" $command >said 2>&1 || status=$?
	echo "ran host $name $status 0"
	cut -d ';' -f 6-9,47-50 said | tail -n 3
	echo told
}

bench_host() {
	while [[ $# -gt 0 ]]; do
		run_in_host "$1" "$2"
		shift 2
	done
}

# bench_guest MONITOR NAME COMMAND...
bench_guest() {
	monitor=$1
	shift
	vm_arguments "$monitor" "${SERIES:-6.12}" 1 --append "console=ttyS0 quiet godwit.run=commands" \
		--disk "path=$disk,direct=on" --disk "path=$LAB/tools.img,readonly=on" "${card[@]}"
	coproc monitor "${arguments[@]/%vmlinuz/vmlinux}" --serial tty 2>stderr
	vm=$COPROC_PID
	exec 3<&"${COPROC[0]}" 4>&"${COPROC[1]}"
	guest_says ready
	run_in_guest warm "${2%% *} --version" >/dev/null # what it is made of is in memory then
	while [[ $# -gt 0 ]]; do
		run_in_guest "$1" "$2"
		shift 2
	done
	echo end >&4
	vm_ends 0
}

prepare_tools() {
	modprobe loop
	mkdir "$tools"
	mount -o loop,ro "$LAB/tools.img" "$tools"
	mount --bind /dev "$tools/dev"
	mount --bind /proc "$tools/proc"
	mount -t tmpfs none "$tools/tmp"
}

# Written once, so that no measurement has to find memory for it.
prepare_disk() {
	modprobe brd rd_nr=1 rd_size=$((256 << 10))
	dd if=/dev/zero of=$disk bs=1M 2>/dev/null || true
}

prepare_tap() {
	tunctl -t lab0 >/dev/null
	ip address add 10.0.0.1/24 dev lab0
	ip link set lab0 up
	[[ $1 == off ]] || modprobe vhost_net
	card=(--net "tap=lab0,mac=52:54:00:12:34:56,vhost=$1")
}

# For "host" a pair of virtual cards stands in for the tap: near is here, the other is in a network
# of its own, which the words of "far" run a command in.
prepare_far() {
	local holder
	unshare -n sleep 3600 &
	holder=$!
	far=(nsenter -t "$holder" -n)
	until [[ $(readlink "/proc/$holder/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do
		sleep 0.1
	done
	"${far[@]}" ip link add near type veth # and veth0
	"${far[@]}" ip link set near netns $$
	"${far[@]}" ip address add 10.0.1.2/24 dev veth0
	"${far[@]}" ip link set veth0 up
	ip address add 10.0.1.1/24 dev near
	ip link set near up
}

prepare_net() {
	case $kind in
	net) prepare_tap off ;;
	net-vhost) prepare_tap on ;;
	esac
	prepare_far
	chroot "$tools" iperf3 --server >/dev/null &
	chroot "$tools" ping-pong listen 9000 &
}

# Where the lab is this machine itself nothing may be left behind.
clean_up() {
	vm_kill
	jobs -p | xargs -r kill 2>/dev/null || true
	wait 2>/dev/null || true
	umount "$tools"/{dev,proc,tmp} "$tools" 2>/dev/null || true
	rmmod brd || true
	[[ $kind == disk ]] || tunctl -d lab0 >/dev/null || true
}

kind=$1 qemu_tuned=yes monitors=() card=() far=()
shift
while [[ $1 != -- ]]; do monitors+=("$1"); shift; done
shift
cd "$(mktemp -d)"
tools=$PWD/tools
trap clean_up EXIT
prepare_tools
prepare_disk
[[ $kind == disk ]] || prepare_net
for name in "${monitors[@]}"; do
	if [[ $name == host ]]; then bench_host "$@"; else bench_guest "$name" "$@"; fi
done
