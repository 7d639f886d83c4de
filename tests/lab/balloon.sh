#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# balloon.sh [SERIES...]: the balloon of a stock guest with Linux 6.12, or these, takes most of its
# memory, which is the host's then, and gives it back, also by itself before a process is killed;
# what the guest says of its memory; what is free in it, also when it moves.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# begin SERIES HOW OPTIONS [WORDS]: a VM whose guest does so, with a balloon with these options, and
# these words on the kernel's command line.
begin() {
	name=vm$BASHPID
	vm_start godwit "$1" 1 --balloon "size=0,$3" --api-socket api.sock \
		--append "console=ttyS0 quiet godwit.run=balloon godwit.args=$2 ${4:-}"
	vm_says "init: Linux"
	mkfifo keys
	exec 3<>keys
	"$GODWIT" console "$name" <keys >/dev/null 2>&1 &
}

next() { echo >&3; }

# resident: MiB of the host that the VM has.
resident() {
	"$GODWIT" stats --json "$name" |
		grep -o '"rss": *[0-9]*' | { IFS=:; read -r _ bytes; echo $((bytes >> 20)); }
}

# size MIB: all at once, whatever the guest thinks of that.
size() { api 204 PUT vm.resize "{\"desired_balloon\": $(($1 << 20))}"; }

# has MIB: waits until the guest has given so much.
has() {
	local deadline=$((SECONDS + patience))
	until "$GODWIT" info "$name" | grep -q "^balloon  *$1 MiB of $1 MiB"; do
		[[ $SECONDS -lt $deadline ]] || fail "not $1 MiB: $("$GODWIT" info "$name")"
		sleep 0.5
	done
}

# hinted: MiB of its memory that the guest has said are free, when it was asked.
hinted() {
	"$GODWIT" stats --json "$name" |
		grep -o '"hinted": *[0-9]*' | { IFS=:; read -r _ bytes; echo $((bytes >> 20)); }
}

# hint: it is asked when a move begins, which is called off then.
hint() {
	local there deadline=$((SECONDS + patience))
	"$GODWIT" run --name nowhere --incoming tcp:127.0.0.1:0 --serial null </dev/null 2>there &
	there=$!
	"$GODWIT" migrate "$name" "$(vm_waits_at there)" --bandwidth 64k --no-wait
	until [[ $(hinted) -gt 150 ]]; do
		[[ $SECONDS -lt $deadline ]] || fail "$(hinted) MiB: $("$GODWIT" stats "$name")"
		sleep 0.5
	done
	"$GODWIT" cancel "$name"
	wait "$there" || true
}

# inflate SERIES
inflate() {
	local before after
	begin "$1" inflate deflate_on_oom=on,free_page_hinting=on
	vm_says "guest: touched"
	before=$(resident)
	[[ $before -gt 300 ]] || fail "only $before MiB are resident"
	size 380
	has 380
	after=$(resident)
	[[ $after -lt $((before - 200)) ]] || fail "$before MiB became $after"
	"$GODWIT" info "$name" | grep -q "^in guest .* MiB total, .* free, .* available, .* caches" ||
		fail "no statistics: $("$GODWIT" info "$name")"
	next
	vm_says "guest: free"
	[[ $(sed -n 's/.*guest: free \([0-9]*\) MiB.*/\1/p' console) -lt 120 ]] || fail "much is free"
	size 0
	has 0
	next
	vm_says "guest: all is back"
	[[ $(resident) -gt $((after + 200)) ]] || fail "it has nothing back"
	hint
	# Once more, and a process wants most of that.
	size 380
	has 380
	next
	vm_says "guest: killed 0"
	"$GODWIT" events "$name" | grep -q taken-back || fail "no event"
	next
	vm_says "guest: done"
	vm_ends 0
}

# report SERIES [WORDS]
report() {
	local before deadline=$((SECONDS + patience))
	begin "$1" report free_page_reporting=on "${2:-}"
	vm_says "guest: written"
	before=$(resident)
	[[ $before -gt 250 ]] || fail "only $before MiB are resident"
	next
	vm_says "guest: removed"
	until [[ $(resident) -lt $((before - 200)) ]]; do
		[[ $SECONDS -lt $deadline ]] || fail "of $before MiB $(resident) are left"
		sleep 0.5
	done
	next
	vm_says "guest: done"
	vm_ends 0
}

[[ $# -gt 0 ]] || set -- 6.12
for series; do
	check "balloon: inflated, deflated, asked what is free, out of memory, Linux $series" inflate "$series"
	check "balloon: what is free is reported, Linux $series" report "$series"
	check "balloon: what is free, and zeroed by the guest, is reported, Linux $series" \
		report "$series" init_on_free=1
done
