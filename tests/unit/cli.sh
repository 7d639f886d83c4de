#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every sentence and exit status of the command that needs no guest: cli.sh BINARY
set -u

godwit=$1
program=$godwit
# shellcheck source-path=SCRIPTDIR source=says.sh
. "$(dirname "$0")/says.sh"

# config STATUS TEXT JSON ARGUMENT...: the same for a dry run with this configuration file
config() {
	verb=$1 status_wanted=$2 line=$3
	printf '%s\n' "$4" >"$work/vm.json"
	shift 4
	"$verb" "$status_wanted" "$line" run --dry-run --config "$work/vm.json" "$@"
}

# The command itself
"$godwit" >"$work/out" 2>"$work/err"
[ $? -eq 2 ] || fail "no arguments: not status 2"
grep -q '^Usage: godwit COMMAND' "$work/err" || fail "no arguments: no usage"
"$godwit" --version | grep -qx 'godwit [0-9][0-9.]*' || fail "--version"
[ "$("$godwit" version)" = "$("$godwit" --version)" ] || fail "version is not --version"
shows 0 'Usage: godwit COMMAND [OPTION]...' --help
shows 0 'Usage: godwit COMMAND [OPTION]...' help
shows 0 'Devices of a running VM:' --help
shows 0 'Usage: godwit run [OPTION]... --kernel FILE' run --help
shows 0 'Usage: godwit run [OPTION]... --kernel FILE' help run
shows 0 '      bw=SIZE                      bytes per second, at most' help run
shows 0 '      ops=N                        operations per second, at most' help run
for flag in name kernel initrd append on-reboot on-panic on-io-error stop-timeout lease config dry-run api-group audit metrics-socket cpus memory \
	disk rate-limit-group rng serial console; do
	"$godwit" run --help | grep -q -e "^  --$flag " || fail "run --help: no --$flag"
done
sentence 2 'unknown command "rnu"; did you mean "run"?' rnu
sentence 2 'unknown command "xyzzy"; see "godwit --help"' xyzzy
sentence 2 'unknown command "hepl"; did you mean "help"?' help hepl
sentence 2 'there is no place for "3"; see "godwit version --help"' version 3

# What each verb says of itself: the same twice, in whole lines, with its exit status
for verb in $("$godwit" --help | sed -n 's/^  \([a-z-]*\) .*/\1/p'); do
	"$godwit" "$verb" --help >"$work/one" 2>"$work/err" || fail "$verb --help: status $?"
	"$godwit" help "$verb" | cmp -s - "$work/one" || fail "help $verb is not $verb --help"
	[ -s "$work/err" ] && fail "$verb --help: stderr: $(cat "$work/err")"
	grep -qe '^  --help ' "$work/one" || fail "$verb --help: no --help"
	grep -qe '^  0  ' "$work/one" || fail "$verb --help: no exit status"
	awk "/^  --/ { exit } length > 79 { exit 1 }" "$work/one" ||
		fail "$verb --help: a long line of text"
	sentence 2 'unknown option "--hepl"; did you mean "--help"?' "$verb" --hepl
done
shows 0 '      [path=]TEXT                  raw disk image or block device (required)' add-disk --help
shows 0 '  godwit shutdown --now web' shutdown --help
"$godwit" --help | grep -q complete && fail "--help: a command that is not for people"

# Who is let in
sentence 2 'there is no group "no-such-group" on this host' run --api-group no-such-group
sentence 2 '--api-group is given twice' run --api-group 0 --api-group root

sentence 2 '--metrics-socket is given twice' run --metrics-socket a --metrics-socket b
sentence 2 '--metrics-socket names no path' run --metrics-socket ,group=root
sentence 2 'there is no group "no-such-group" on this host' run --metrics-socket a,group=no-such-group

# The audit log
sentence 2 '--audit is given twice' run --audit a --audit journal
sentence 2 '--audit names no file' run --audit ''
sentence 1 "--audit: $work cannot be opened: Is a directory" run --audit "$work" --kernel a

# Verbs that name VMs
sentence 2 'something is missing: godwit pause NAME...' pause
sentence 2 'something is missing: godwit remove NAME ID' remove web
sentence 2 'something is missing: godwit resolve UUID|NAME [DISK]...' resolve --run
sentence 2 'say one of --run and --discard; see "godwit resolve --help"' resolve web
sentence 1 '"web" is not the uuid of a VM' resolve web --run
sentence 2 'something is missing: godwit add-disk NAME KEY=VALUE,...' add-disk --json web
sentence 2 'there is no place for "now"; see "godwit remove --help"' remove web disk0 now
sentence 2 'there is no place for "b=1"; see "godwit add-disk --help"' add-disk web a=1 b=1
sentence 2 'there is no place for "--json"; see "godwit list --help"' list -- --json
sentence 2 'add-disk: unknown key "pth"; did you mean "path"?' add-disk web pth=a
sentence 2 '--now is given twice' shutdown --now --now web
sentence 2 '--now takes no value' shutdown --now=1 web
"$godwit" info no-such-vm >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || fail "info no-such-vm: not status 1"
grep -q '^godwit: VM "no-such-vm" is not running' "$work/err" || fail "info: $(cat "$work/err")"

# console: what needs no VM
shows 0 'Usage: godwit console [OPTION]... NAME' console --help
shows 0 'Usage: godwit console [OPTION]... NAME' help console
sentence 2 'something is missing: godwit console NAME' console --watch
sentence 2 'there is no place for "db"; see "godwit console --help"' console web db
sentence 2 '--port needs a value: --port serial|console' console web --port
sentence 2 '--port must be one of serial|console, not "pty"' console --port=pty web
sentence 2 '--watch and --take exclude each other; leave one of them out' console --watch --take web
sentence 2 'unknown option "--wach"; did you mean "--watch"?' console --wach web

# dump: what it says of files is in tests/guest/test_dump.py
shows 0 'Usage: godwit dump [OPTION]... FILE|DIR [FILE|DIR]' dump --help
sentence 2 'something is missing: godwit dump FILE|DIR [FILE|DIR]' dump
sentence 2 'there is no place for "c"; see "godwit dump --help"' dump a b c
sentence 2 "$work/none: cannot open it: No such file or directory" dump "$work/none"
sentence 2 "$work: cannot open config.json: No such file or directory" dump "$work"
printf 'something that is no stream' >"$work/text"
sentence 2 "$work/text: this is not a stream of godwit" dump "$work/text"

# TLS is loaded when it is wanted
mkdir "$work/libraries" "$work/certificates"
: >"$work/libraries/libgnutls.so.30"
export LD_LIBRARY_PATH="$work/libraries"
shows 0 "$("$godwit" version)" version
sentence 1 "TLS needs GnuTLS, which cannot be loaded: $work/libraries/libgnutls.so.30: file too short" \
	run --incoming tcp:127.0.0.1:0 --tls "$work/certificates"
unset LD_LIBRARY_PATH

# probe: what it says depends on the host, but its status and its sentence on the verdict alone
shows 0 'Usage: godwit probe [OPTION]... [FILE...]' probe --help
shows 0 'Usage: godwit probe [OPTION]... [FILE...]' help probe
sentence 2 'unknown option "--jsn"; did you mean "--json"?' probe --jsn
sentence 2 'there is no place for "now"; see "godwit probe --help"' probe --json now
"$godwit" probe --json >"$work/probe.json" 2>"$work/err"
status=$?
[ -s "$work/err" ] && fail "probe --json: stderr: $(cat "$work/err")"
python3 - "$work/probe.json" "$status" >"$work/want" <<'EOF' || fail "probe --json: not as it should be"
import json, sys
facts = json.load(open(sys.argv[1]))
for key in "kvm cpu memory numa limits kernel network cgroup pressure verdict".split():
    assert isinstance(facts[key], dict), key
verdict = facts["verdict"]
assert verdict["guests"] in ("stock", "small", "none"), verdict
assert int(sys.argv[2]) == (verdict["guests"] == "none"), sys.argv[2]
print(verdict["sentence"].split(";")[0])
EOF
"$godwit" probe >"$work/out" 2>"$work/err"
[ $? -eq "$status" ] || fail "probe: not the status of probe --json, $status"
tail -n 1 "$work/out" | grep -qF -e "$(cat "$work/want")" || fail "probe: ends with: $(tail -n 1 "$work/out")"
"$godwit" probe --json >/dev/full 2>"$work/err"
[ $? -eq 1 ] || fail "probe --json >/dev/full: not status 1"

# probe --baseline: what the hosts have in common
host() {
	echo "{\"cpu\":{\"vendor\":\"$2\",\"features\":{\"1.ecx\":$3,\"7.0.ebx\":$4}}}" >"$work/$1.json"
}
host a GenuineIntel 7 4294967295
host b GenuineIntel 13 32
host c AuthenticAMD 7 32
host d GenuineIntel 7 -1
sentence 2 '--baseline needs a value: --baseline FILE' probe --baseline
sentence 1 "$work/none cannot be read as JSON: unable to open $work/none: No such file or directory" \
	probe --baseline "$work/none"
sentence 1 "$work/c.json is of a host by AuthenticAMD and the first by GenuineIntel: guests do not \
move between those; make a baseline for each kind" probe --baseline "$work/a.json" "$work/c.json"
sentence 1 "$work/d.json is no output of \"godwit probe --json\" on a host with KVM: CPU features \
7.0.ebx are no number of 32 bits" probe --baseline "$work/a.json" "$work/d.json"
shows 0 '      "1.ecx": 7,' probe --baseline "$work/a.json"
shows 0 '      "1.ecx": 5,' probe --baseline "$work/a.json" "$work/b.json"
shows 0 '      "7.0.ebx": 32,' probe --baseline "$work/a.json" "$work/b.json"
shows 0 '    "vendor": "GenuineIntel",' probe --baseline "$work/a.json" "$work/b.json"

# libvirt is asked by a program beside godwit, which may do anything, and never linked
mkdir "$work/bin"
cp "$godwit" "$work/bin/godwit"
helper=$work/bin/godwit-probe-libvirt

# libvirt JSON TEXT-OF-A-SCRIPT: what the probe makes of such a program
libvirt() {
	printf '#!/bin/sh\n%s\n' "$2" >"$helper"
	chmod +x "$helper"
	"$work/bin/godwit" probe --json >"$work/out" 2>"$work/err"
	got=$(python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["libvirt"]))' <"$work/out")
	[ "$got" = "$1" ] || fail "a helper \"$2\": $got"
	[ -s "$work/err" ] && fail "a helper \"$2\": stderr: $(cat "$work/err")"
}
libvirt '{"usable": true, "arch": "x"}' 'echo "{\"usable\": true, \"arch\": \"x\"}"; echo noise >&2'
libvirt '{"usable": "godwit-probe-libvirt did not answer with a JSON object"}' 'exit 3'
libvirt '{"usable": "godwit-probe-libvirt did not answer with a JSON object"}' 'echo "[1]"'
libvirt '{"usable": "godwit-probe-libvirt did not answer with a JSON object"}' 'echo "{} {}"'
libvirt '{"usable": "godwit-probe-libvirt answered at too great a length"}' 'exec yes'
libvirt '{"usable": "godwit-probe-libvirt gave no answer within 5 s"}' 'exec sleep 60'
ldd "$godwit" | grep -q libvirt && fail "godwit links libvirt"
if [ -x "$godwit-probe-libvirt" ]; then
	"$godwit-probe-libvirt" test:///default >"$work/out" || fail "godwit-probe-libvirt"
	for line in '"usable": true,' '"arch": "i686",' '"cores_per_socket": 2,'; do
		grep -qF -e "$line" "$work/out" || fail "godwit-probe-libvirt: no $line"
	done
	"$godwit-probe-libvirt" none:///a none:///b >"$work/out" || fail "godwit-probe-libvirt none"
	grep -q '^  "usable": "none:///a: .*; none:///b: ' "$work/out" ||
		fail "godwit-probe-libvirt none: $(cat "$work/out")"
fi

# Options of run
sentence 2 'unknown option "--krenel"; did you mean "--kernel"?' run --krenel x
sentence 2 'unknown option "--mem"; did you mean "--memory"?' run --mem=1G
sentence 2 'unknown option "--xyzzy"; see "godwit run --help"' run --xyzzy
sentence 2 '"bzImage" is not an option; see "godwit run --help"' run bzImage
sentence 2 '--kernel needs a value: --kernel FILE' run --kernel
sentence 2 '--disk needs a value: --disk KEY=VALUE,...' run --kernel k --disk
sentence 2 '--dry-run takes no value' run --dry-run=yes
sentence 2 '--kernel is given twice' run --kernel a --kernel b
sentence 2 '--cpus is given twice' run --cpus 1 --cpus 2
sentence 2 '--config is given twice' run --config a --config b
sentence 2 'no kernel is given; name one with --kernel FILE, or as kernel in the payload of the configuration' \
	run --dry-run
sentence 2 '--on-reboot must be restart or exit, not "halt"' run --on-reboot halt
sentence 2 '--on-io-error must be report or pause, not "ask"' run --on-io-error ask
sentence 2 '--on-panic must be exit, pause or restart, not "ask"' run --on-panic ask
sentence 2 '--stop-timeout must be a number from 0 to 86400, not "soon"' run --stop-timeout soon
sentence 2 'lease: "/run/lease" is no lease server; write unix:PATH' \
	run --dry-run --kernel k --lease /run/lease
sentence 2 '--pvpanic must be on or off, not "1"' run --pvpanic 1
sentence 2 'name must be 1 to 64 letters, digits, dots, underscores or dashes and begin with a letter, a digit or an underscore, not "a/b"' \
	run --kernel k --name a/b

# Values with keys
sentence 2 '--cpus: boot_vcpus must be a number from 1 to 255, not "256"' run --cpus 256
sentence 2 '--memory: size must be a size such as 512M or 2G, at least 16M, not "1Q"' \
	run --memory 1Q
sentence 2 '--memory: size must be a size such as 512M or 2G, at least 16M, not "512"' \
	run --memory 512
sentence 2 '--memory: unknown key "sized"; did you mean "size"?' run --memory sized=1G
sentence 2 '--disk: unknown key "pth"; did you mean "path"?' run --disk pth=a
sentence 2 '--disk: readonly must be on or off, not "yes"' run --disk a,readonly=yes
sentence 2 '--disk: readonly has no value; write readonly=VALUE' run --disk a,readonly
sentence 2 '--disk: path is given twice' run --disk a,path=b
sentence 2 'disks[0]: path is missing and must be given' run --kernel k --disk readonly=on
sentence 2 '--serial: mode must be Off, Null, Tty, Pty, File or Socket, not "ttyy"' \
	run --serial ttyy
sentence 2 'serial and console cannot both have this terminal; give one of them another mode, such as --serial null' \
	run --kernel k --serial tty --console tty
sentence 2 '--cpus: nested is supported only as on by this version; leave it out' \
	run --cpus nested=off
sentence 2 'memory: size must be a multiple of its pages of 2048 KiB, not 17825792 bytes' \
	run --kernel k --memory 17M,hugepages=on
sentence 2 '--disk: bw must be a size such as 512M or 2G, not "fast"' run --disk a,bw=fast
sentence 2 '--rate-limit-group: ops must be a number from 0 to 9223372036854775807, not "1K"' \
	run --rate-limit-group gold,ops=1K
sentence 2 'disks[0]: there is no rate limit group "gold"; make it with --rate-limit-group id=gold,bw=SIZE' \
	run --kernel k --disk a,rate_limit_group=gold
sentence 2 'disks[0]: it has limits of its own and those of group "gold"; leave one of them out' \
	run --kernel k --disk a,ops=1,rate_limit_group=gold --rate-limit-group gold,bw=1
printf 'x' >"$work/k"

# Larger than the host, but not if that is wanted
"$godwit" run --kernel k --memory 8T --dry-run >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || fail "--memory 8T: not status 1"
grep -q "of RAM and swap of this host; give it less, or allow that with" "$work/err" ||
	fail "--memory 8T: $(cat "$work/err")"
shows 0 '    "size": 8796093022208,' run --kernel k --memory 8T,reserve=off --dry-run

# What a dry run prints
dry='run --dry-run --kernel k'
# shellcheck disable=SC2086
{
	shows 0 '    "kernel": "k",' $dry --append 'a=1,b "c"'
	shows 0 '    "cmdline": "a=1,b \"c\""' $dry --append 'a=1,b "c"'
	shows 0 '    "initramfs": "i"' $dry --initrd=i
	shows 0 '    "mode": "Tty"' $dry
	shows 0 '    "mode": "Tty"' $dry --serial tty
	shows 0 '    "mode": "Pty"' $dry --serial pty
	shows 0 '    "mode": "Null"' $dry --serial null
	shows 0 '    "mode": "File",' $dry --serial file=/tmp/x
	shows 0 '    "file": "/tmp/x"' $dry --serial file=/tmp/x
	shows 0 '    "mode": "Socket",' $dry --serial socket=/tmp/x
	shows 0 '    "mode": "Off"' $dry
	shows 0 '    "mode": "Tty"' $dry --console tty
	shows 0 '    "mode": "Null"' $dry --console tty
	shows 0 '    "socket": "/tmp/x"' $dry --console socket=/tmp/x
	shows 0 '    "mode": "Socket",' $dry --console socket=/tmp/x
	shows 0 '    "mode": "Tty"' $dry --console socket=/tmp/x
	shows 0 '  "pvpanic": true,' $dry
	shows 0 '  "pvpanic": false,' $dry --pvpanic off
	shows 0 '  "name": "web",' $dry --name web
	shows 0 '  "on_reboot": "exit",' $dry --on-reboot exit
	shows 0 '  "on_panic": "pause",' $dry --on-panic pause
	shows 0 '  "on_io_error": "report",' $dry
	shows 0 '  "on_io_error": "pause",' $dry --on-io-error pause
	shows 0 '  "stop_timeout_s": 3' $dry --stop-timeout 3
	shows 0 '  "lease": "unix:/run/lease"' $dry --lease unix:/run/lease
	shows 0 '      "path": "a,b",' $dry --disk 'path="a,b"'
	shows 0 '          "size": 104857600,' $dry --disk a,bw=100M
	shows 0 '          "one_time_burst": 7,' $dry --net ops=5,ops_burst=7
	shows 0 '          "refill_time": 1000' $dry --rate-limit-group gold,ops=5
	shows 0 '      "rate_limit_group": "gold"' $dry --rate-limit-group gold,ops=5 \
		--disk a,rate_limit_group=gold
	shows 0 '    "boot_vcpus": 4,' $dry --cpus 4,topology.cores_per_die=4
}

# A dry run is its own configuration: the same VM again
"$godwit" run --dry-run --kernel k --disk a --disk b,readonly=on --name web >"$work/one.json"
"$godwit" run --dry-run --config "$work/one.json" >"$work/two.json" 2>"$work/err" ||
	fail "dry run of a dry run: $(cat "$work/err")"
cmp -s "$work/one.json" "$work/two.json" || fail "dry run of a dry run differs"

# Laid over a file: flags win, arrays append
base='{"payload":{"kernel":"k","cmdline":"quiet"},"memory":{"size":67108864,"thp":false},
	"disks":[{"path":"first"}],"serial":{"mode":"Pty"},"pvpanic":false,"name":"base"}'
config shows 0 '    "kernel": "k",' "$base"
config shows 0 '    "cmdline": "verbose"' "$base" --append verbose
config shows 0 '    "size": 134217728,' "$base" --memory 128M
config shows 0 '    "thp": false,' "$base" --memory 128M
config shows 0 '      "path": "first",' "$base" --disk second
config shows 0 '      "path": "second",' "$base" --disk second
config shows 0 '    "mode": "Pty"' "$base"
config shows 0 '    "mode": "File",' "$base" --serial file=x
config shows 0 '  "pvpanic": false,' "$base"
config shows 0 '  "name": "top",' "$base" --name top
config shows 0 '    "kernel": "old"' '{"kernel":{"path":"old"}}'

# Files that do not do
config sentence 2 'configuration: vdpa is not supported by this version; leave it out' \
	'{"payload":{"kernel":"k"},"vdpa":[{"path":"t"}]}'
config sentence 2 'console: iommu is supported only as off by this version; leave it out' \
	'{"payload":{"kernel":"k"},"console":{"mode":"Pty","iommu":true}}'
config sentence 2 "--config: $work/vm.json must hold a JSON object, { ... }" '[]'
config sentence 2 'disks: must be an array of objects, [ { ... } ]' \
	'{"payload":{"kernel":"k"},"disks":{}}'
sentence 1 "--config: $work/none cannot be opened: No such file or directory" \
	run --config "$work/none"
printf '{\n  "a": }\n' >"$work/bad.json"
"$godwit" run --config "$work/bad.json" 2>"$work/err"
[ $? -eq 2 ] || fail "bad JSON: not status 2"
grep -q "^godwit: --config: $work/bad.json:2:8: not valid JSON: " "$work/err" ||
	fail "bad JSON: $(cat "$work/err")"
printf '{"payload":{"kernel":"k"},"memroy":{}}' >"$work/vm.json"
"$godwit" run --dry-run --config "$work/vm.json" 2>"$work/err" >"$work/out" || fail "unknown key"
grep -qxF 'godwit: warning: configuration: unknown key "memroy" is ignored' \
	"$work/err" || fail "unknown key: $(cat "$work/err")"

# Standard output that cannot be written
"$godwit" run --kernel k --dry-run >/dev/full 2>"$work/err"
[ $? -eq 1 ] || fail "/dev/full: not status 1"

[ "$failed" -eq 0 ] || echo "$failed failed" >&2
[ "$failed" -eq 0 ]
