#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The probe knows a host that runs stock kernels, as this one does, and says why one without KVM
# runs none.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

probes() {
	"$GODWIT" probe
	"$GODWIT" probe --json >facts
	grep -F '"ring0": "hardware"' facts
	grep -F '"guests": "stock"' facts
	"$GODWIT" probe | tail -n 1 | grep -F "Stock Linux kernels run here, in hardware; "
}

# hidden: a mount of its own hides /dev/kvm
hidden() {
	local status=0
	unshare -m sh -c "mount -t tmpfs none /dev && exec '$GODWIT' probe" >said || status=$?
	cat said
	[[ $status == 1 ]] || fail "the status is $status, not 1"
	tail -n 1 said | grep "^No guest can run here: /dev/kvm is missing: "
}

check "probe: a host that runs stock kernels" probes
check "probe: a host without /dev/kvm" hidden
