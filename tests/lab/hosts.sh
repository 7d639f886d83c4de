#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# hosts.sh moves nfs|block CPUS TIMES          a stock guest moves so often between the two hosts
# hosts.sh profiles FEATURE                    only host 1 has that: where a guest moves, and where not
# hosts.sh reset nfs|block [MESSAGE-HOST...]   source or destination is reset while MESSAGE is under
#                                              way; without any, each at each
# Its disk is on an NFS export, whose locks are the arbiter, or is the hosts' shared /dev/vdb, and
# then there is none.
# shellcheck source-path=SCRIPTDIR source=pair.sh
. "$LAB/pair.sh"

declare -A arbiters=([nfs]=lock [block]=none)
declare -A messages=([PAGES]=16 [OFFER]=32 [SEAL]=34 [READY]=35 [TOKEN]=36 [ACCEPTED]=37)
no_message=0

# What becomes of the VM, which was on host 1 and was to move to host 2: docs/migration.md.
declare -A outcomes=(
	[PAGES-source]=starts_at_source [PAGES-destination]=goes_on_at_source
	[OFFER-source]=starts_resolved [OFFER-destination]=goes_on_at_source
	[SEAL-source]=starts_resolved [SEAL-destination]=goes_on_at_source
	[READY-source-nfs]=goes_on_at_destination [READY-source-block]=waits_at_destination
	[READY-destination]=goes_on_at_source
	[TOKEN-source-nfs]=goes_on_at_destination [TOKEN-source-block]=waits_at_destination
	[TOKEN-destination-nfs]=goes_on_at_source [TOKEN-destination-block]=goes_on_answered
	[ACCEPTED-source]=goes_on_at_destination
	[ACCEPTED-destination-nfs]=starts_at_destination
	[ACCEPTED-destination-block]=starts_answered
)

move() {
	local here=1 number
	trap ends EXIT
	answer_guests
	new_disk "$1" "$2"
	starts $here
	for ((number = 1; number <= $3; number++)); do
		moves "$here"
		arbiter_was "$here" "${arbiters[$1]}"
		here=$(other "$here")
	done
	on "$here" "$GODWIT shutdown web"
}

# profiles FEATURE: a guest that may use it stays where it is; one of a profile without it moves.
profiles() {
	local host profile
	trap ends EXIT
	answer_guests
	for host in 1 2; do on $host "$GODWIT probe --json >/srv/facts$host"; done
	on 1 "$GODWIT probe --baseline /srv/facts1 /srv/facts2 >/srv/fleet"
	new_disk nfs 1
	starts 1
	awaits_vm 2
	on 1 "! $GODWIT migrate web tcp:$(address 2):4444 2>refused && cat refused && grep $1 refused"
	all_goes_on 1
	on 1 "$GODWIT shutdown web"
	for profile in x86-64-v2 x86-64-v3 /srv/fleet; do
		new_disk nfs "1,profile=$profile"
		starts 1
		moves 1
		moves 2
		on 1 "$GODWIT shutdown web"
	done
}

# reset HOST: it forgets all that is not on its disk, at once, and boots.
reset() {
	echo "echo b >/proc/sysrq-trigger" |
		socat -t 1 - "TCP:$(address "$1"):7000,connect-timeout=5" || true
	sleep 2
	on "$1" ": >stderr && : >console"
	joins "$1"
}

# no_start HOST WORD: a cold start there is refused, with that word.
no_start() {
	on "$1" "! timeout 60 $(run_command) --serial null 2>refused && cat refused && grep '$2' refused"
}

# has_all_rows HOST: the guest that was started there has what it told us before it was killed.
has_all_rows() {
	local told found
	told=$(sed -n 's/.*rows //p' heard | sort -n | tail -n 1)
	found=$(on "$1" "grep -m 1 -o 'guest: rows [0-9]*' console | cut -d ' ' -f 3")
	[[ $found -ge $told ]] || fail "there were $told rows, and are $found"
}

starts_with_all() {
	mv heard before
	starts "$1"
	mv before heard
	has_all_rows "$1"
	all_goes_on "$1"
}

starts_at_source() { starts_with_all 1; }

starts_resolved() {
	no_start 1 resolve
	resolve_and_start
}

resolve_and_start() {
	on 1 "$GODWIT resolve $uuid --run $image"
	starts_with_all 1
}

goes_on_at_source() { all_goes_on 1; }

goes_on_at_destination() {
	all_goes_on 2
	no_start 1 'in use\|resolve'
}

# Nobody but a person knows that the source is dead.
waits_at_destination() {
	no_start 1 resolve
	on 2 "sleep 20 && ! grep guest: console && kill -TERM \$(<pid)"
	resolve_and_start
}

# destination_answers: whoever waits on host 2, reached as before, says what the journal there has.
destination_answers() {
	migration_says 1 undecided
	/mnt/usr/bin/hold 4444 "$(address 2)" 4444 "$no_message" >/dev/null &
	awaits_vm 2
}

goes_on_answered() {
	destination_answers
	all_goes_on 1
}

starts_at_destination() {
	on 1 "while $GODWIT info web; do sleep 0.5; done; cat stderr"
	no_start 1 given
	starts_with_all 2
}

starts_answered() {
	destination_answers
	on 1 "while $GODWIT info web; do sleep 0.5; done"
	on 2 "kill -KILL \$(<pid) && sleep 1"
	starts_at_destination
}

# reset_at nfs|block MESSAGE source|destination
reset_at() {
	local proxy outcome=${outcomes[$2-$3]:-${outcomes[$2-$3-$1]:-}} victim=1
	[[ $3 == source ]] || victim=2
	trap ends EXIT
	answer_guests
	new_disk "$1" 1
	starts 1
	reads_old_blocks 2
	awaits_vm 2
	/mnt/usr/bin/hold 4444 "$(address 2)" 4444 "${messages[$2]}" >held &
	proxy=$!
	on 1 "$GODWIT migrate web tcp:$(address 3):4444 --max-blackout 2s --no-wait"
	until grep held held; do sleep 0.2; done
	reset $victim
	kill $proxy
	$outcome
}

resets() {
	local disk=$1 place message host places=("${@:2}")
	[[ $# -gt 1 ]] || places=({PAGES,OFFER,SEAL,READY,TOKEN,ACCEPTED}-{source,destination})
	for place in "${places[@]}"; do
		message=${place%-*} host=${place#*-}
		check "resets: $host at $message, disk on $disk" reset_at "$disk" "$message" "$host"
	done
}

serve_files
mount -o ro,loop "$LAB/tools.img" /mnt
for host in 1 2; do joins $host; done
case $1 in
moves) check "hosts: $4 moves, disk on $2, CPUs: $3" move "${@:2}" ;;
profiles) check "profiles: a host without $2: refused, and with x86-64-v2, v3 and a file there and back" profiles "$2" ;;
reset) resets "${@:2}" ;;
esac
