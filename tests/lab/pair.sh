# SPDX-License-Identifier: Apache-2.0
# Helpers for scripts that run in the hosts of "scripts/lab pair": host 3 leads and serves files by
# NFS, hosts 1 and 2 do what they are told and never return. Sourced, never run.
# shellcheck shell=bash source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

patience=400 # several hosts at once are slower

# Whoever calls has a shell. It ends well, because socat drops what a program says that does not.
[[ $LAB_HOST == 3 ]] || exec socat -t $((3 * patience)) \
	TCP-LISTEN:7000,reuseaddr,fork,keepalive "SYSTEM:bash || true"

uuid=6ba7b810-9dad-41d1-80b4-00c04fd430c8

# on HOST COMMAND: runs it there in /run, with the lab's helpers; fails if it does. A host that is
# reset meanwhile does not know of the call any more.
on() {
	local said
	echo "$SECONDS s, host $1: ${2:0:80}" >&2
	said=$(echo "{ cd /run && . $LAB/lib.sh && patience=$patience && $2; } 2>&1 && echo done" |
		socat -t $((3 * patience)) - "TCP:$(address "$1"):7000,retry=$patience,interval=1,$alive") ||
		true
	[[ $said == *done ]] || fail "host $1: $said"
	echo "${said%done}"
}
alive=connect-timeout=5,keepalive,keepidle=5,keepintvl=5,keepcnt=4

address() { echo "192.168.7.1$1"; }

other() { echo $((3 - $1)); }

# serve_files: this host's /srv is the root of an NFS 4.2 export. The kernel asks a daemon who may
# mount what; here it is told before. A client that was not heard of for 10 s may lose its locks.
serve_files() {
	local client rpc=/proc/net/rpc forever=4000000000 flags=9218 # insecure, no_subtree_check, fsid
	modprobe nfsd
	mount -t nfsd nfsd /proc/fs/nfsd
	mkdir /srv
	mount -t tmpfs tmpfs /srv
	for client in 1 2; do
		echo "nfsd $(address $client) $forever lab" >$rpc/auth.unix.ip/channel
	done
	echo "lab /srv $forever $flags 65534 65534 0" >$rpc/nfsd.export/channel
	printf 'lab 1 \\x00000000 %s /srv\n' $forever >$rpc/nfsd.fh/channel
	echo "-2 -3 +4.2" >/proc/fs/nfsd/versions
	echo 10 >/proc/fs/nfsd/nfsv4leasetime
	echo 10 >/proc/fs/nfsd/nfsv4gracetime
	echo 4 >/proc/fs/nfsd/threads
}

# answer_guests: what the guest says in its TCP session comes back, and is in the file heard.
answer_guests() { socat TCP-LISTEN:8000,reuseaddr,fork SYSTEM:"tee -a $PWD/heard" & }

# joins HOST: it has booted, and mounts the files of host 3.
joins() {
	remembers_boot "$1"
	on "$1" "modprobe nfsv4 && mkdir -p /srv && mount -t nfs4 \
		-o vers=4.2,addr=$(address 3),clientaddr=$(address "$1") $(address 3):/ /srv"
}

# new_disk nfs|block CPUS: the hosts have an empty disk, $image, and know nothing of the VM, which is
# to have that many CPUs.
new_disk() {
	local host
	# A check that failed may have left one.
	for host in 1 2; do on $host "! kill -KILL \$(cat pid) 2>&1 || sleep 1"; done
	case $1 in
	nfs)
		image=/srv/web.img disk=path=$image
		rm -f $image*
		truncate -s 64M $image
		;;
	block)
		image=/dev/vdb disk=path=$image,direct=on
		on 1 "dd if=/dev/zero of=$image bs=1M count=1 conv=fsync 2>&1"
		;;
	esac
	cpus=$2
	for host in 1 2; do on $host "rm -rf /var/lib/godwit && : >console && : >stderr && : >pid"; done
}

# run_command: what starts the VM, but for --serial.
run_command() {
	echo "$GODWIT run --name web --platform uuid=$uuid --cpus $cpus --memory 256M \
		--kernel $LAB/6.12/vmlinuz --initrd $LAB/6.12/initrd --disk $disk \
		--disk path=$LAB/tools.img,readonly=on --net tap=web0,bridge=br0 \
		--append 'console=ttyS0 quiet godwit.run=moves godwit.args=192.168.7.20,$(address 3)'"
}

# starts HOST: a cold start there.
starts() {
	on "$1" ": >console && { $(run_command) --serial tty </dev/null >console 2>stderr & } && vm=\$! &&
		echo \$! >pid && vm_says 'guest: rows'"
}

# awaits_vm HOST
awaits_vm() {
	on "$1" ": >stderr && { $GODWIT run --name web --incoming tcp:$(address "$1"):4444 --plaintext \
		--serial tty </dev/null >>console 2>stderr & } && echo \$! >pid && vm_waits_at stderr"
}

# all_goes_on HOST: waits until each of the guest's works has gone on, and none complains.
all_goes_on() {
	on "$1" "for work in tick disk blocks rows; do vm_says_more \"guest: \$work\" 1; done"
}

# reads_old_blocks HOST: its cache has what is on the disk now.
reads_old_blocks() { on "$1" "cat $image >/dev/null"; }

# moves FROM [OPTION...]: the VM goes to the other host, whose cache is full of old blocks.
moves() {
	local there
	there=$(other "$1")
	reads_old_blocks "$there"
	awaits_vm "$there"
	on "$1" "$GODWIT migrate web tcp:$(address "$there"):4444 --max-blackout 2s ${*:2}"
	all_goes_on "$there"
}

# migration_says HOST WORD: waits until what the VM there says of its migration has WORD.
migration_says() { on "$1" "until $GODWIT migration web --json | grep $2; do sleep 0.2; done"; }

# arbiter_was HOST lock|none: what the journal of the host that the VM left says.
arbiter_was() { on "$1" "grep -E '\"arbiter\": ?\"$2\"' /var/lib/godwit/$uuid-source.json"; }

# remembers_boot HOST: what tells this boot of the host from the next.
remembers_boot() { boot_of "$1" >"$LAB/boot$1"; }
boot_of() { on "$1" "cat /proc/sys/kernel/random/boot_id"; }

# ends: stops what a check has left here, and shows what may tell why it failed; status 125 if a host
# has died of itself.
ends() {
	jobs -p | xargs -r kill 2>/dev/null || true
	for host in 1 2; do
		on $host "tail -n 4 console stderr"
		[[ $(boot_of $host) == "$(<"$LAB/boot$host")" ]] || exit 125
	done
}
