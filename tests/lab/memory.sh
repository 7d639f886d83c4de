#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A stock guest has more memory and less of it while it runs, by blocks that it plugs and by its
# balloon; what it uses stays what it was, and what it gives up goes back to the host.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# tell VERB [MIB]: the guest does that.
tell() {
	local said deadline=$((SECONDS + patience))
	said=$(grep -c "guest: did $1" console) || true
	echo "$@" >&"$guest"
	until [[ $(grep -c "guest: did $1" console) -gt $said ]]; do
		! grep "wrong:" console || fail "the guest complains"
		vm_lives || fail "the VM ended"
		[[ $SECONDS -lt $deadline ]] || fail "the guest did not do in $patience s: $1"
		sleep 0.2
	done
}

held() { awk '/^RssAnon/ { print int($2 / 1024) }' "/proc/$vm/status"; }

# asked EXPECTED COMMAND...: what "godwit resize" ends with; what it says is in the file said.
asked() {
	local status=0
	"$GODWIT" resize "${@:2}" >said 2>&1 || status=$?
	cat said
	[[ $status == "$1" ]] || fail "resize ended with status $status, not $1"
}

# memory SERIES
memory() {
	local name=vm$BASHPID left
	mkfifo keys
	exec {guest}<>keys
	memory=hotplug_size=1536M vm_arguments godwit "$1" 2 --balloon size=0,deflate_on_oom=on \
		--append "console=ttyS0 quiet godwit.run=memory"
	monitor "${arguments[@]}" --serial tty <keys >console 2>stderr &
	vm=$!
	vm_says "guest: memory"
	asked 0 "$name" --memory 2G
	grep -F "2048 MiB asked, 2048 MiB given" said
	tell fill 75
	[[ $(held) -ge 1200 ]]
	# It cannot give what it uses, and has back what it had.
	asked 1 "$name" --memory 512M --deadline 60s
	grep -F "short of memory" said
	asked 0 "$name" --memory 2G
	tell check
	tell free
	asked 0 "$name" --memory 512M --deadline 60s
	grep -F "512 MiB asked, 512 MiB given" said
	[[ $(held) -lt 512 ]] || fail "the host holds $(held) MiB"
	tell fill 6
	left=$vm
	"$GODWIT" run --name "$name-2" --incoming tcp:127.0.0.1:0 --serial tty \
		<keys >>console 2>stderr &
	vm=$!
	"$GODWIT" migrate "$name" "$(vm_waits_at stderr)"
	wait "$left"
	name+=-2
	tell check
	asked 0 "$name" --memory 1100M
	grep -F "1100 MiB asked, 1100 MiB given" said
	tell fill 38
	"$GODWIT" reset "$name"
	tell end
	vm_ends 0
}

check "memory: 512 MiB to 2 GiB and back, a move, Linux 6.12" memory 6.12
