#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The serial console as people use it: log in, type, read the answer; and the file it can go to.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# root_disk MONITOR SERIES: a VM to be that asks for a login, and fd 3 as its keyboard.
root_disk() {
	cp "$LAB/root.img" root.img
	: >console
	mkfifo keyboard
	exec 3<>keyboard
	vm_arguments "$1" "$2" 1 --append "console=ttyS0 quiet" --disk path=root.img
}

log_in() {
	vm_says "godwit login:"
	echo root >&3
	vm_says "root@godwit"
	# shellcheck disable=SC2016 # the guest's shell does the sum
	echo 'echo answer $((6 * 7))' >&3
	vm_says "answer 42"
	echo poweroff >&3
	vm_ends 0
}

over_socket() {
	root_disk "$@"
	monitor "${arguments[@]}" --serial socket=serial 2>stderr &
	vm=$!
	socat - UNIX-CONNECT:serial,retry=100,interval=0.1 <&3 >console &
	log_in
}

# The monitor's terminal is one whose other end socat has. Its status cannot come through socat.
on_terminal() {
	root_disk "$@"
	{
		echo ". $LAB/lib.sh"
		printf '%q ' eval "(monitor$(printf ' %q' "${arguments[@]}" --serial tty))"
		echo '&& echo 0 >status || echo $? >status'
	} >vm.sh
	socat - EXEC:"bash vm.sh",pty,setsid,ctty,stderr <&3 >console 2>stderr &
	vm=$!
	log_in
	[[ $(<status) == 0 ]] || fail "the monitor ended with status $(<status)"
}

to_file() {
	vm_arguments "$1" "$2" 1 --append "console=ttyS0 quiet godwit.run=report"
	monitor "${arguments[@]}" --serial file=console 2>stderr &
	vm=$!
	vm_ends 0
	grep "guest: kernel=$2" console
}

check "serial: login on a socket" over_socket godwit 6.12
check "serial: login on a terminal" on_terminal godwit 6.1
check "serial: to a file" to_file godwit 6.1
control "serial: QEMU microvm, login on a socket" over_socket qemu-microvm 6.12
control "serial: QEMU q35, login on a terminal" on_terminal qemu-q35 6.12
