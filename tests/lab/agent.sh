#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# agent.sh [SERIES...]: an agent whose host is short of memory takes some of stock guests with Linux
# 6.12, or these. Who comes to use more has it in time, and when the host has enough, all have all.
# A guest that has no driver for its balloon is left alone.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# In a run directory of its own, so that the agent sees no VMs of other tests.
[[ ${own_run:-} ]] || own_run=1 exec unshare -m bash "$0" "$@"
mount -t tmpfs none /run

# until_so WHAT COMMAND...
until_so() {
	local deadline=$((SECONDS + patience))
	until "${@:2}"; do
		kill -0 "$agent" || fail "the agent ended"
		[[ $SECONDS -lt $deadline ]] || fail "not in $patience s: $1"
		sleep 0.2
	done
}

# says FILE TEXT
says() { until_so "$1: $2" grep -qF -- "$2" "$1"; }

# begin NAME SERIES SIZE [WORDS]: a VM that can do with 244 MiB, and these words on its kernel's
# command line; its guest has a shell, and says things in the file NAME.
begin() {
	cat >"$1.json" <<-END
		{ "name": "$1", "restart": "no", "memory_min": "244M", "vm": {
			"payload": { "kernel": "$LAB/$2/vmlinuz", "initramfs": "$LAB/$2/initrd",
				"cmdline": "console=ttyS0 quiet ${4:-}" },
			"memory": { "size": "$3" }, "balloon": { "size": 0, "deflate_on_oom": true },
			"serial": { "mode": "Socket", "socket": "$PWD/$1.port" } } }
	END
	"$LAB/godwit-agent" apply "$1.json"
	mkfifo "$1.keys"
	socat "UNIX-CONNECT:$1.port,retry=100,interval=0.1" - <>"$1.keys" >"$1" &
}

# fill NAME MIB: so much of the guest's memory is in use from then on.
fill() {
	says "$1" "here is a shell"
	echo "mount -t tmpfs -o size=0 none /mnt; dd if=/dev/zero of=/mnt/file bs=1M count=$2" \
		"&& echo guest'': filled" >"$1.keys"
	says "$1" "guest: filled"
}

# has_given NAME: whether the guest has let its host have all that it was asked for, and that is
# what the agent wanted.
has_given() { "$GODWIT" info "$1" | grep -q "^balloon  *12 MiB of 12 MiB"; }

# end_all: VMs outlive their agent.
end_all() {
	jobs -p | xargs kill
	cat /run/godwit/*/pid | xargs kill -KILL
}

takes_and_gives() {
	local agent name status=0
	[[ -x $LAB/godwit-agent ]] || { echo "godwit-agent is not built"; exit 77; }
	trap 'end_all 2>/dev/null || true' EXIT
	GODWIT_STATE_DIR=$PWD/state "$LAB/godwit-agent" run --id lab --memory 1100M --reserve 500M \
		>stderr 2>&1 &
	agent=$!
	says stderr 'agent "lab" runs'
	begin deaf "$1" 512M module_blacklist=virtio_balloon
	begin calm "$1" 256M
	begin busy "$1" 256M
	fill deaf 380
	for name in calm busy; do
		says stderr "memory-taken $name: it has 244 of 256 MiB: the host is short of it"
		until_so "$name gives 12 MiB" has_given "$name"
	done
	# It cannot be asked, and says so.
	"$GODWIT" resize deaf --memory 400M --deadline 1s >said 2>&1 || status=$?
	cat said
	[[ $status == 1 ]] || fail "resize ended with status $status"
	grep -F "deaf: the guest has no driver for it that is up; that goes on" said
	"$GODWIT" resize deaf --memory 512M
	fill busy 130
	says stderr "memory-given busy: it has "
	"$GODWIT" stats --json busy | grep -q '"oom_kills": *0' || fail "$("$GODWIT" stats busy)"
	! grep -F "Out of memory" busy || fail "a process was killed"
	! grep "memory-given calm" stderr || fail "it has it back already"
	# With this one goes what the host is short of.
	echo poweroff -f >deaf.keys
	says stderr "memory-given calm: it has 256 of 256 MiB: the host has enough"
	! grep -E "memory-(taken|given) deaf" stderr || fail "it was not left alone"
	kill -TERM "$agent"
	wait "$agent"
}

[[ $# -gt 0 ]] || set -- 6.12
for series; do
	check "agent: takes memory and gives it back, Linux $series" takes_and_gives "$series"
done
