#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A disk has one VM: the second is refused, and told who has it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

second_is_refused() {
	local name status=0
	truncate -s 1M disk.img
	vm_start godwit 6.12 1 --append "console=ttyS0 quiet" --disk path=disk.img
	name=${arguments[2]}
	vm_says "init:"
	vm_arguments godwit 6.12 1 --disk path=disk.img
	arguments[2]=second
	(monitor "${arguments[@]}" --serial null) >second 2>&1 || status=$?
	cat second
	[[ $status == 1 ]] || fail "the second ended with status $status, not 1"
	grep -F "$name" second || fail "the second was not told that $name has the disk"
	vm_lives || fail "the first is gone"
}

check "lock: the second VM on a disk is refused" second_is_refused
