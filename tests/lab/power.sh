#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Reboot, panic and the power button, and what the monitor is asked to make of them.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# steps STATUS STEPS MONITOR SERIES CPUS [OPTION...]: a VM whose boots do one of STEPS each, and
# which then ends with STATUS.
steps() {
	local status=$1 all=${2//,/ } boot=0 step
	steps_start "${@:2}"
	for step in $all; do
		boot=$((boot + 1))
		vm_says "guest: boot $boot: $step"
		[[ $step != button ]] || press "$3"
	done
	vm_ends "$status"
	[[ $(grep -c "guest: boot" console) == "$boot" ]] || fail "there were more boots than steps"
	[[ $3 != godwit || $all != *panic* ]] || grep -i panic stderr || fail "no word of the panic"
}

steps_start() {
	truncate -s 1M disk.img
	vm_start "${@:2:3}" --append "console=ttyS0 quiet godwit.run=steps godwit.args=$1" \
		--disk path=disk.img "${@:5}"
}

press() {
	vm_says "waiting for the power button"
	power_button "$1"
}

paused_by_panic() {
	steps_start panic godwit 6.12 1 --on-panic pause
	vm_says "guest: boot 1: panic"
	until grep -i panic stderr; do sleep 0.2; done
	sleep 2
	vm_lives || fail "the VM is gone"
	[[ $(grep -c "guest: boot" console) == 1 ]] || fail "the guest went on"
}

for series in 6.12 6.1; do
	check "power: Linux $series reboots, SIGTERM presses the power button" \
		steps 0 reboot,button godwit "$series" 1 --stop-timeout "$patience"
done
check "power: a panic with --on-panic restart, a reboot with --on-reboot exit" \
	steps 0 panic,reboot godwit 6.1 4 --on-panic restart --on-reboot exit
check "power: a panic with --on-panic exit" steps 1 panic godwit 6.12 1 --on-panic exit
check "power: a panic with --on-panic pause" paused_by_panic
control "power: QEMU microvm, reboot and power button" steps 0 reboot,button qemu-microvm 6.12 1
control "power: QEMU q35, panic" steps 1 panic qemu-q35 6.12 1 --on-panic exit
