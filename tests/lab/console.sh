#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The virtio console beside the serial port, in both directions; and on a terminal that is resized.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# terminal SERIES: a VM to be that talks on both, and fd 3 as the console's keyboard.
terminal() {
	: >console
	mkfifo keyboard
	exec 3<>keyboard
	vm_arguments godwit "$1" 1 --append "console=ttyS0 console=hvc0 quiet godwit.run=terminal"
}

answers() {
	echo "as typed" >&3
	vm_says "guest: got as typed"
	vm_ends 0
}

both() {
	terminal "$1"
	monitor "${arguments[@]}" --serial file=serial --console socket=socket 2>stderr &
	vm=$!
	socat - UNIX-CONNECT:socket,retry=100,interval=0.1 <&3 >console &
	vm_says "guest: on the console"
	vm_says "guest: size unknown"
	answers
	grep "guest: on the serial port" serial
	[[ $(grep -c "guest: on" serial console) == $'serial:1\nconsole:1' ]]
}

# The monitor's terminal is one whose other end socat has. Its status cannot come through socat.
resized() {
	terminal "$1"
	{
		echo ". $LAB/lib.sh"
		echo 'stty rows 30 cols 100'
		echo '(until [[ -e larger ]]; do sleep 0.2; done; stty rows 40 cols 120) </dev/tty &'
		printf '%q ' eval "(monitor$(printf ' %q' "${arguments[@]}" --console tty))"
		echo '&& echo 0 >status || echo $? >status'
	} >vm.sh
	socat - EXEC:"bash vm.sh",pty,setsid,ctty,stderr <&3 >console 2>stderr &
	vm=$!
	vm_says "guest: size 30 100"
	touch larger
	vm_says "guest: size 40 120"
	answers
	[[ $(<status) == 0 ]] || fail "the monitor ended with status $(<status)"
}

check "console: beside the serial port, Linux 6.12" both 6.12
check "console: beside the serial port, Linux 6.1" both 6.1
check "console: a terminal that is resized" resized 6.12
