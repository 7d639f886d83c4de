#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# memory.sh [MIB [SERIES...]]: stock guests of 512 MiB, with Linux 6.12, have so many (512) more and
# less again while they run, by blocks that they plug and by their balloon; what they use stays what
# it was, and what they give up goes back to the host.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"
more=${1:-512} most=$((512 + ${1:-512}))
# Of 16 MiB; it cannot do without that, nor without some beside it.
hog=$((most * 58 / 100 / 16))

# tell VERB [N]: the guest does that.
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
	memory=hotplug_size=${more}M vm_arguments godwit "$1" 2 --balloon size=0,deflate_on_oom=on \
		--append "console=ttyS0 quiet godwit.run=memory"
	monitor "${arguments[@]}" --serial tty <keys >console 2>stderr &
	vm=$!
	vm_says "guest: memory"
	asked 0 "$name" --memory "${most}M"
	grep -F "$most MiB asked, $most MiB given" said
	tell fill $hog
	[[ $(held) -ge $((hog * 16)) ]]
	# It cannot give what it uses, and has back what it had.
	asked 1 "$name" --memory 512M --deadline 60s
	grep -F "short of memory" said
	asked 0 "$name" --memory "${most}M"
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
	asked 0 "$name" --memory 701M
	grep -F "701 MiB asked, 701 MiB given" said
	tell fill 20
	"$GODWIT" reset "$name"
	vm_says_more "guest: memory" 1
	echo end >&"$guest"
	vm_ends 0
}

[[ $# -gt 1 ]] || set -- "$more" 6.12
for series in "${@:2}"; do
	check "memory: 512 MiB to $most MiB and back, a move, Linux $series" memory "$series"
done
