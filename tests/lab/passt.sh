#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A VM of an ordinary user with a network by passt: address, name, 16 MiB there and back, a forwarded
# port; then passt is killed under the guest.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# Nobody, in the group that owns /dev/kvm.
as_user=(setpriv --reuid 65534 --regid "$(stat -c %g /dev/kvm)" --clear-groups)

# vm_answers PORT TEXT: waits until who calls that port gets that text. The caller speaks first:
# Debian 12's passt tells the guest of a call only then.
vm_answers() {
	local deadline=$((SECONDS + patience))
	until [[ $(echo hello | timeout 10 socat -t 5 - "TCP:127.0.0.1:$1" 2>/dev/null) == "$2" ]]; do
		[[ $SECONDS -lt $deadline ]] || fail "nobody answers on port $1"
		sleep 0.2
	done
}

# passt SERIES
passt() {
	local receiver server
	dd if=/dev/urandom of=data bs=1M count=16 2>/dev/null
	chmod 711 .
	mkdir -m 777 run
	export XDG_RUNTIME_DIR=$PWD/run
	vm_start godwit "$1" 1 --net passt,forward=2222:22 \
		--append "console=ttyS0 quiet godwit.run=passt godwit.args=${LAB_NAME:-localhost}"
	printf 'HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n' "$(stat -c %s data)" | cat - data >answer
	timeout $patience socat TCP-LISTEN:8000,bind=127.0.0.1,reuseaddr,fork \
		SYSTEM:'cat answer; cat >/dev/null' &
	server=$!
	# It speaks first, too: on a busy machine Debian 12's passt was seen to end a call in which
	# only the guest had spoken.
	timeout $patience socat TCP-LISTEN:8001,bind=127.0.0.1,reuseaddr \
		SYSTEM:'echo go on; cat >back' &
	receiver=$!
	vm_says "guest: is "
	vm_says "guest: found ${LAB_ADDRESS:-127.0.0.1}"
	vm_says "guest: waits for calls"
	wait $receiver
	kill $server
	cmp data back
	vm_answers 2222 "how are you"
	[[ $(stat -c %u "/proc/$vm") == 65534 ]]
	# The broker's child, which is the VM's.
	kill -KILL "$(grep -l "^Name:.*\<passt$" /proc/[0-9]*/status | cut -d / -f 3)"
	vm_says "guest: the link is down"
	vm_ends 0
	grep -q "net0: passt has ended" stderr
}

check "passt: Linux 6.12, an ordinary user" passt 6.12
check "passt: Linux 6.1, an ordinary user" passt 6.1
