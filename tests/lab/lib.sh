# SPDX-License-Identifier: Apache-2.0
# Helpers for the scripts that run inside the lab's host. Sourced, never run.
# shellcheck shell=bash

set -euo pipefail
shopt -s inherit_errexit

# Seconds to wait for anything: many, because a busy machine emulates slowly.
patience=180

# check NAME COMMAND...: runs COMMAND in a folder of its own and prints a line of TAP for it; status
# 77 says that it does not apply, 125 that a host died. What the file "done" has a line for is left
# out. What fails while the machine stood still says nothing, and ends as if a host had died.
check() {
	local name=$1 started=$SECONDS folder status=0 watch
	! grep -qF -- " - $name #" "$LAB/done" 2>/dev/null || return 0
	shift
	folder=$(mktemp -d)
	watch_clock "$folder" >/dev/null 2>&1 &
	watch=$!
	# In the background, because set -e does not count in a condition.
	(
		cd "$folder"
		trap 'vm_kill; jobs -p | xargs -r kill 2>/dev/null || true' EXIT
		"$@"
	) >"$folder/log" 2>&1 &
	wait $! || status=$?
	kill $watch 2>/dev/null || true
	case $status in
	0) echo "ok - $name # $((SECONDS - started)) s" ;;
	77) echo "ok - $name # SKIP $(tail -n 1 "$folder/log")" ;;
	125) exit 125 ;;
	*)
		[[ ! -e $folder/stood-still ]] || exit 125
		touch "$LAB/failed"
		echo "not ok - $name # $((SECONDS - started)) s"$'\n'"$(check_logs "$folder")"
		;;
	esac
	rm -rf "$folder"
}

# watch_clock FOLDER: makes the file stood-still there when nothing ran for 5 s. A shared machine
# does that now and then, for 20 s and more, and then limits of time pass in all hosts on it.
watch_clock() {
	local last=$SECONDS
	while sleep 1; do
		[[ $SECONDS -le $((last + 6)) ]] || touch "$1/stood-still"
		last=$SECONDS
	done
}

# control NAME COMMAND...: a check of QEMU, made only after one of godwit has failed, to see whether
# the fault is the lab's.
control() { [[ ! -e $LAB/failed ]] || check "control: $1" "${@:2}"; }

check_logs() { (cd "$1" && tail -n 24 log stderr console 2>/dev/null | sed 's/^/# /'); }

fail() {
	echo "$*"
	exit 1
}

# vm_start MONITOR SERIES CPUS OPTION...: starts a VM with the lab's kernel and initrd of that
# series; $memory is more of the option --memory. $vm is its process; what the guest says is in the
# file console, the monitor's own words are in stderr.
vm_start() {
	vm_arguments "$@"
	: >console
	monitor "${arguments[@]}" --serial tty </dev/null >console 2>stderr &
	vm=$!
}

# vm_arguments MONITOR SERIES CPUS OPTION...: what "monitor" needs, but for --serial.
vm_arguments() {
	[[ $1 != godwit || -x ${GODWIT:-} ]] || { echo "godwit is not built"; exit 77; }
	arguments=("$1" --name "vm$BASHPID" --cpus "$3" --memory "512M${memory:+,$memory}"
		--kernel "$LAB/$2/vmlinuz" --initrd "$LAB/$2/initrd" "${@:4}")
}

vm_kill() { [[ ! ${vm:-} ]] || kill -KILL "$vm" 2>/dev/null || true; }

vm_lives() { kill -0 "$vm" 2>/dev/null; }

# vm_says TEXT: waits until the guest has said TEXT.
vm_says() {
	local deadline=$((SECONDS + patience))
	until grep -qF -- "$1" console; do
		vm_lives || grep -qF -- "$1" console || fail "the VM ended before it said: $1"
		[[ $SECONDS -lt $deadline ]] || fail "the guest did not say in $patience s: $1"
		sleep 0.2
	done
}

# vm_waits_at LOG: prints where the process with that stderr waits for a VM.
vm_waits_at() {
	local deadline=$((SECONDS + patience))
	until sed -n 's/.*waits for a migration at //p' "$1" | grep .; do
		[[ $SECONDS -lt $deadline ]] || fail "nobody waits for a VM"
		sleep 0.1
	done
}

# vm_says_more TEXT TIMES: waits until the guest has said that so many times more, and has not
# complained.
vm_says_more() {
	local said deadline=$((SECONDS + patience))
	said=$(grep -cF -- "$1" console) || true
	until [[ $(grep -cF -- "$1" console) -ge $((said + $2)) ]]; do
		! grep "wrong:" console || fail "the guest complains"
		[[ $SECONDS -lt $deadline ]] || fail "the guest did not say in $patience s again: $1"
		sleep 0.2
	done
}

# vm_ends STATUS: waits until the monitor has ended, with that status.
vm_ends() {
	local deadline=$((SECONDS + patience)) status=0
	while vm_lives; do
		[[ $SECONDS -lt $deadline ]] || fail "the monitor did not end in $patience s"
		sleep 0.2
	done
	wait "$vm" || status=$?
	vm=
	[[ $status == "$1" ]] || fail "the monitor ended with status $status, not $1"
}

# api STATUS METHOD PATH [BODY]: asks the VM whose socket is api.sock, and prints the body of the
# answer, which must have STATUS.
api() {
	local body=${4:-} status
	printf '%s /api/v1/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n\r\n%s' \
		"$2" "$3" "Content-Length: ${#body}" "$body" |
		socat -t "$patience" - UNIX-CONNECT:api.sock | tr -d '\r' >answer
	read -r _ status <answer
	[[ ${status% } == "$1" ]] || fail "$2 $3: $(<answer)"
	sed '1,/^$/d' answer
}

# power_button MONITOR
power_button() {
	if [[ $1 == godwit ]]; then kill -TERM "$vm"; return; fi
	printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"system_powerdown"}' |
		socat -t 5 - "UNIX-CONNECT:$(echo ./*.qmp)" >/dev/null
}

# monitor NAME OPTION...: becomes that monitor. The options are those of "godwit run"; for QEMU,
# which is here to tell faults of godwit from faults of the lab, they are translated.
monitor() {
	local name=$1
	shift
	case $name in
	godwit) exec ${as_user[@]+"${as_user[@]}"} "$GODWIT" run "$@" ;;
	qemu-microvm) qemu_options -M microvm,pcie=on,acpi=on,rtc=on "$@" ;;
	qemu-q35) qemu_options -M q35 "$@" ;;
	*) fail "there is no monitor $name" ;;
	esac
	exec qemu-system-x86_64 -accel kvm -cpu host -nodefaults -no-user-config -display none \
		-device pvpanic-pci -device virtio-rng-pci "${qemu[@]}"
}

# qemu_options -M MACHINE OPTION...: sets the array qemu.
qemu_options() {
	local disks=0 option value
	qemu=("$1" "$2")
	shift 2
	while [[ $# -gt 0 ]]; do
		option=$1 value=$2
		shift 2
		case $option=$value in
		--name=*) qemu+=(-name "$value,debug-threads=on" -qmp "unix:$value.qmp,server,nowait") ;;
		--cpus=*) qemu+=(-smp "$value") ;;
		--memory=*) qemu+=(-m "$value") ;;
		# Unless asked otherwise the ELF: it spares the emulated processor seconds of unpacking.
		--kernel=*) qemu+=(-kernel "${value/%vmlinuz/${packed:-vmlinux}}") ;;
		--initrd=*) qemu_initrd "$value" ;;
		--append=*) qemu+=(-append "$value") ;;
		--disk=path=*) qemu_disk $((disks++)) "$value" ;;
		--net=tap=*) qemu_net "$value" ;;
		--serial=tty) qemu+=(-serial stdio) ;;
		--serial=socket=*) qemu+=(-serial "unix:${value#*=},server,nowait") ;;
		--serial=file=*) qemu+=(-serial "file:${value#*=}") ;;
		--serial=null) qemu+=(-serial null) ;;
		--on-reboot=exit) qemu+=(-no-reboot) ;;
		--on-panic=exit) qemu+=(-action panic=exit-failure) ;;
		--stop-timeout=*) ;;
		*) fail "the lab cannot say $option $value to QEMU" ;;
		esac
	done
}

# QEMU 7.2's microvm puts the initrd over its own ACPI tables, at the end of memory, unless the
# initrd's last page has room for them.
qemu_initrd() {
	local copy
	copy=$(mktemp)
	cp "$1" "$copy"
	truncate -s $((($(stat -c %s "$copy") + 4095) / 4096 * 4096 + 4)) "$copy"
	qemu+=(-initrd "$copy")
}

# qemu_disk NUMBER path=FILE[,direct=on][,readonly=on][,serial=S]; with $qemu_tuned as fast as it can:
# by io_uring, from a thread of its own.
qemu_disk() {
	local drive="if=none,format=raw,id=disk$1" device="virtio-blk-pci,drive=disk$1" item IFS=,
	for item in $2; do
		case $item in
		path=*) drive+=",file=${item#path=}" ;;
		readonly=on) drive+=,readonly=on ;;
		direct=on) drive+=,cache=none ;;
		serial=*) device+=,$item ;;
		*) fail "the lab cannot say $item of a disk to QEMU" ;;
		esac
	done
	[[ ! ${qemu_tuned:-} ]] || {
		qemu+=(-object "iothread,id=io$1")
		drive+=,aio=io_uring
		device+=",iothread=io$1"
	}
	qemu+=(-drive "$drive" -device "$device")
}

# qemu_net tap=TAP,mac=ADDRESS,vhost=on|off of a tap that is there
qemu_net() {
	local netdev=tap,id=net,script=no,downscript=no device=virtio-net-pci,netdev=net,romfile= item IFS=,
	for item in $1; do
		case $item in
		tap=*) netdev+=",ifname=${item#tap=}" ;;
		vhost=*) netdev+=",$item" ;;
		mac=*) device+=",$item" ;;
		*) fail "the lab cannot say $item of a network card to QEMU" ;;
		esac
	done
	qemu+=(-netdev "$netdev" -device "$device")
}
