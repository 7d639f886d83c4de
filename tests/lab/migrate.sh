#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# migrate.sh: a stock guest moves between the two hosts of "scripts/lab pair", with its TCP session
# through the bridges and its disk on an NFS export. Then the monitor that it shall move to is
# killed. hosts.sh has the long form.
# shellcheck source-path=SCRIPTDIR source=pair.sh
. "$LAB/pair.sh"

# second_is_refused HOST: the lock of the host that runs the VM holds on the other, too.
second_is_refused() {
	on "$1" "! $GODWIT run --name second --kernel $LAB/6.12/vmlinuz --disk $disk --serial null \
		2>refused && grep 'in use on another host' refused"
}

move() {
	local here=1 there=2 number
	trap ends EXIT
	answer_guests
	new_disk nfs 1
	starts $here
	second_is_refused $there
	for ((number = 1; number <= 3; number++)); do
		moves "$here"
		arbiter_was "$here" lock
		here=$there there=$(other "$here")
	done
	awaits_vm "$there"
	on "$here" "$GODWIT migrate web tcp:$(address "$there"):4444 --bandwidth 1M --no-wait"
	migration_says "$here" MemoryPrecopy
	on "$there" "kill -KILL \$(<pid)"
	migration_says "$here" Failed
	all_goes_on "$here"
	on "$here" "$GODWIT shutdown web"
}

serve_files
for host in 1 2; do joins $host; done
check "migrate: Linux 6.12, 1 CPU, 3 moves between two hosts, disk on NFS" move
