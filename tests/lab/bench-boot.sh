#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bench-boot.sh [N [MONITOR...]]: N rounds of every monitor in turn; a line "boot MONITOR MS" each,
# from the start of the process to the first line of the guest's init. Linux 6.12, one CPU, 512 MiB,
# one disk. QEMU is given the kernel as an ELF, which suits it better than the packed one.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# Reads the console line by line and does not poll, so that a millisecond is one.
boot_ms() {
	local line started
	vm_arguments "$1" 6.12 1 --disk path=disk.img \
		--append "console=ttyS0 quiet godwit.run=report"
	exec 3< <(
		echo "${EPOCHREALTIME/./}"
		monitor "${arguments[@]}" --serial tty </dev/null 2>stderr
	)
	read -r started <&3
	while IFS= read -r line <&3; do
		[[ $line != init:* ]] || echo "boot $1 $(((${EPOCHREALTIME/./} - started) / 1000))"
	done
}

folder=$(mktemp -d)
cd "$folder"
truncate -s 1M disk.img
rounds=${1:-5}
monitors=("${@:2}")
[[ ${#monitors[@]} -gt 0 ]] || monitors=(godwit qemu-microvm)
for ((round = 0; round < rounds; round++)); do
	for monitor in "${monitors[@]}"; do (boot_ms "$monitor"); done
done
