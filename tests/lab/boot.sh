#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Stock kernels boot to init with the CPUs they were given; poweroff ends the monitor, status 0.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

boot() {
	vm_start "$1" "$2" "$3" --append "console=ttyS0 quiet godwit.run=report"
	vm_says "guest: kernel=$2."
	vm_ends 0
	grep "guest:.* cpus=$3 " console
}

for series in 6.12 6.1; do
	check "boot: Linux $series, 1 CPU" boot godwit "$series" 1
	check "boot: Linux $series, 4 CPUs" boot godwit "$series" 4
done
check "control: boot: QEMU microvm, Linux 6.12, 1 CPU" boot qemu-microvm 6.12 1
control "boot: QEMU q35, Linux 6.1, 4 CPUs" boot qemu-q35 6.1 4
