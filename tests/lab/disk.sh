#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# 256 MiB written, synced, read again and checked in the guest; then the host finds them in the
# image.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# disk MONITOR SERIES CPUS [OPTION-OF-THE-DISK]
disk() {
	truncate -s 256M disk.img
	vm_start "$1" "$2" "$3" --append "console=ttyS0 quiet godwit.run=disk" \
		--disk "path=disk.img${4:+,$4}" --disk "path=$LAB/tools.img,readonly=on"
	vm_says "guest: disk verified"
	vm_ends 0
	mkdir tools
	mount -o loop,ro "$LAB/tools.img" tools
	mount --bind . tools/mnt
	chroot tools fio --eta=never --filename=/mnt/disk.img --verify_only /verify.fio ||
		fail "the image holds something else"
	umount tools/mnt tools
}

modprobe loop
check "disk: Linux 6.12, 4 CPUs" disk godwit 6.12 4
check "disk: Linux 6.1, 1 CPU, direct=on" disk godwit 6.1 1 direct=on
control "disk: QEMU microvm, Linux 6.12, direct=on" disk qemu-microvm 6.12 1 direct=on
