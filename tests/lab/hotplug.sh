#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A running stock guest is given a disk, which then grows, and a network card, uses both and loses
# both; then it is paused, resumed, reset and shut down: all by name.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# hotplug SERIES
hotplug() {
	local name=vm$BASHPID
	truncate -s 8M disk.img
	vm_start godwit "$1" 2 --append "console=ttyS0 quiet godwit.run=hotplug"
	vm_says "guest: ready"
	[[ $("$GODWIT" add-disk "$name" "path=$PWD/disk.img") == "disk0 at 0000:00:02.0" ]]
	vm_says "guest: disk"
	vm_says "$(sha256sum <disk.img)"
	"$GODWIT" resize-disk "$name" disk0 16M
	vm_says "guest: disk has grown"
	tail -c 512 disk.img | grep -aq "^the last sector"
	"$GODWIT" add-net "$name" tap=lab1,ip=10.0.0.1,mask=255.255.255.0,id=card
	vm_says "guest: network answers"
	[[ $("$GODWIT" events --json "$name" | grep -c '"found"') == 2 ]]
	"$GODWIT" remove "$name" disk0
	vm_says "guest: disk is gone"
	"$GODWIT" remove "$name" card
	vm_says "guest: card is gone"
	! "$GODWIT" remove "$name" card 2>refusal || fail "a card was removed twice"
	grep -q "card: there is no device" refusal
	"$GODWIT" pause "$name"
	"$GODWIT" list | grep -q "^$name  *Paused"
	"$GODWIT" resume "$name"
	"$GODWIT" add-disk "$name" "path=$PWD/disk.img" >/dev/null # which stays
	"$GODWIT" reset "$name"
	vm_says "guest: ready again"
	"$GODWIT" shutdown "$name"
	vm_ends 0
}

check "hotplug: disk and network card, Linux 6.12" hotplug 6.12
check "hotplug: disk and network card, Linux 6.1" hotplug 6.1
