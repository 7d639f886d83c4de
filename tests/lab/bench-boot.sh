#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bench-boot.sh N SERIES vmlinuz|vmlinux: N rounds of every monitor in turn; a line "boot MONITOR MS"
# each, from the start of the process to the first line of the guest's init. One CPU, 512 MiB, one
# disk; vmlinuz is the kernel as Debian ships it, vmlinux the ELF file inside.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# Reads the console line by line and does not poll, so that a millisecond is one.
boot_ms() {
	local line started
	vm_arguments "$1" "$series" 1 --disk path=disk.img \
		--append "console=ttyS0 quiet godwit.run=report"
	arguments=("${arguments[@]/%vmlinuz/$format}")
	exec 3< <(
		echo "${EPOCHREALTIME/./}"
		monitor "${arguments[@]}" --serial tty </dev/null 2>stderr
	)
	read -r started <&3
	while IFS= read -r line <&3; do
		[[ $line != init:* ]] || echo "boot $1 $(((${EPOCHREALTIME/./} - started) / 1000))"
	done
}

rounds=$1 series=$2 format=$3
packed=$format
folder=$(mktemp -d)
cd "$folder"
truncate -s 1M disk.img
for ((round = 0; round < rounds; round++)); do
	for monitor in godwit qemu-microvm; do (boot_ms "$monitor"); done
done
