#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What hotplug.sh does by name, and the VM's making as well, by nothing but requests over the socket.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# state STATE: the VM is in it.
state() { api 200 GET vm.info | grep -qF "\"state\":\"$1\"" || fail "not $1: $(<answer)"; }

# by_api SERIES
by_api() {
	truncate -s 8M disk.img
	: >console
	"$GODWIT" --api-socket api.sock 2>stderr &
	vm=$!
	until [[ -S api.sock ]]; do vm_lives && sleep 0.1; done
	api 404 GET vm.info
	api 204 PUT vm.create "{\"payload\": {\"kernel\": \"$LAB/$1/vmlinuz\",
		\"initramfs\": \"$LAB/$1/initrd\", \"cmdline\": \"console=ttyS0 quiet godwit.run=hotplug\"},
		\"cpus\": {\"boot_vcpus\": 2, \"max_vcpus\": 2}, \"memory\": {\"size\": $((512 << 20))},
		\"serial\": {\"mode\": \"File\", \"file\": \"$PWD/console\"}}"
	state Created
	api 204 PUT vm.boot
	vm_says "guest: ready"
	api 200 PUT vm.add-disk "{\"path\": \"$PWD/disk.img\"}" >place
	[[ $(<place) == '{"id":"disk0","bdf":"0000:00:02.0"}' ]] || fail "the disk is at $(<place)"
	vm_says "guest: disk"
	vm_says "$(sha256sum <disk.img)"
	api 204 PUT vm.resize-disk "{\"id\": \"disk0\", \"desired_size\": $((16 << 20))}"
	vm_says "guest: disk has grown"
	api 200 PUT vm.add-net \
		'{"id": "card", "tap": "lab1", "ip": "10.0.0.1", "mask": "255.255.255.0"}' | grep -F '"card"'
	vm_says "guest: network answers"
	api 204 PUT vm.remove-device '{"id": "disk0"}'
	vm_says "guest: disk is gone"
	api 204 PUT vm.remove-device '{"id": "card"}'
	vm_says "guest: card is gone"
	api 404 PUT vm.remove-device '{"id": "card"}'
	api 204 PUT vm.pause
	state Paused
	api 204 PUT vm.resume
	state Running
	api 200 PUT vm.add-disk "{\"path\": \"$PWD/disk.img\"}" # which stays
	api 204 PUT vm.reboot
	vm_says "guest: ready again"
	api 204 PUT vm.power-button
	vm_ends 0
}

check "api: from vm.create to the power button, Linux 6.12" by_api 6.12
check "api: from vm.create to the power button, Linux 6.1" by_api 6.1
