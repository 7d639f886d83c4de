#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Reboot, panic and the power button, and what the monitor is asked to make of them.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# steps MONITOR SERIES CPUS STEPS STATUS [OPTION...]: a VM whose boots do one of STEPS each, and
# which then ends with STATUS.
steps() {
	local all=${4//,/ } boot=0 step
	start_steps "${@:1:4}" "${@:6}"
	for step in $all; do
		boot=$((boot + 1))
		vm_says "guest: boot $boot: $step"
		[[ $step != button ]] || { vm_says "waiting for the power button"; power_button "$1"; }
	done
	vm_ends "$5"
	[[ $(grep -c "guest: boot" console) == "$boot" ]] || fail "there were more boots than steps"
	[[ $1 != godwit || $all != *panic* ]] || grep -i panic stderr || fail "no word of the panic"
}

start_steps() {
	truncate -s 1M disk.img
	vm_start "$1" "$2" "$3" --disk path=disk.img \
		--append "console=ttyS0 quiet godwit.run=steps godwit.args=$4" "${@:5}"
}

paused_by_panic() {
	start_steps godwit 6.12 1 panic --on-panic pause
	vm_says "guest: boot 1: panic"
	until grep -i panic stderr; do sleep 0.2; done
	sleep 2
	vm_lives || fail "the VM is gone"
	[[ $(grep -c "guest: boot" console) == 1 ]] || fail "the guest went on"
}

check "reboot: godwit, Linux 6.12, 1 CPU" steps godwit 6.12 1 reboot,off 0
check "reboot: godwit, Linux 6.1, 4 CPUs, twice" steps godwit 6.1 4 reboot,reboot,off 0
check "reboot: godwit, --on-reboot exit" steps godwit 6.12 1 reboot 0 --on-reboot exit
check "reboot: control, QEMU microvm" steps qemu-microvm 6.12 1 reboot,off 0
check "panic: godwit, --on-panic exit" steps godwit 6.12 1 panic 1 --on-panic exit
check "panic: godwit, --on-panic restart" steps godwit 6.1 1 panic,off 0 --on-panic restart
check "panic: godwit, --on-panic pause" paused_by_panic
check "panic: control, QEMU q35" steps qemu-q35 6.12 1 panic 1 --on-panic exit
for series in 6.12 6.1; do
	check "power button: godwit, Linux $series" \
		steps godwit "$series" 1 button 0 --stop-timeout "$patience"
done
check "power button: control, QEMU microvm" steps qemu-microvm 6.12 1 button 0
wait
