#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What godwit-agent says, its exit statuses, and that docs/rebalancing.md has every policy value,
# rule and request as it is: agent.sh BINARY
# shellcheck disable=SC2016 # the page has code in backquotes
set -u

# Root's run directory is the same for all: where no other agent can be in the way
if [ "$(id -u)" -eq 0 ] && [ -z "${OWN_RUN-}" ]; then
	OWN_RUN=1 exec unshare -m -- "$0" "$@"
fi

agent=$1
program=$agent
page=$(dirname "$0")/../../docs/rebalancing.md
rules=$(dirname "$0")/../../src/planner/rules.c
routes=$(dirname "$0")/../../src/agent/routes.c
# shellcheck source-path=SCRIPTDIR source=says.sh
. "$(dirname "$0")/says.sh"

export XDG_RUNTIME_DIR="$work"
run=$work/godwit
if [ "$(id -u)" -eq 0 ]; then
	run=/run/godwit
	mount -t tmpfs none /run || exit 1
fi

s=$work/snapshot
host='"at":1700000000,"cores":4,"memory":1000,"available":900,"link":1'
cat >"$s" <<END
{"snapshot":{"version":1,"time":1700000000}}
{"host":{"id":"a",$host}}
{"host":{"id":"b",$host}}
{"vm":{"id":"web","host":"a","at":1700000000,"vcpus":1,"memory":9,"resident":9,"run":[0.5],"delay":[0],"cpu_mean":0.5}}
END

"$agent" >"$work/out" 2>"$work/err"
[ $? -eq 2 ] || fail "no arguments: not status 2"
grep -q '^Usage: godwit-agent COMMAND' "$work/err" || fail "no arguments: no usage"
shows 0 'Usage: godwit-agent COMMAND [OPTION]...' --help
shows 0 'Usage: godwit-agent COMMAND [OPTION]...' help
shows 0 'Usage: godwit-agent plan [OPTION]...' plan --help
"$agent" --version | grep -qx 'godwit-agent [0-9][0-9.]*' || fail "--version"
sentence 2 'unknown command "dance"; see "godwit-agent --help"' dance
sentence 2 'unknown command "paln"; did you mean "plan"?' paln
sentence 2 'unknown command "--plan"; did you mean "plan"?' --plan
sentence 2 'unknown option "--quickly"; see "godwit-agent plan --help"' plan --quickly
sentence 2 '--save is given twice' plan --snapshot "$s" --save a --save b
sentence 2 'there is no place for "web"; see "godwit-agent plan --help"' plan --snapshot "$s" web
sentence 2 '--snapshot needs a value: --snapshot FILE' plan --snapshot
sentence 1 "$work/none: No such file or directory" plan --snapshot "$work/none"
sentence 1 '--what-if drain=c: there is no host c' plan --snapshot "$s" --what-if drain=c
shows 0 'host c: 4 cores, expected use 0.000, expected loss 0.00 vCPUs' explain --snapshot "$s" \
	--what-if add-host=c --what-if drain=c c
sentence 1 '--what-if drain=d: there is no host d' explain --snapshot "$s" --what-if add-host=c \
	--what-if drain=c --what-if=drain=d
sentence 1 'there is no VM and no host c' explain --snapshot "$s" c
sed 's/"run":\[0.5\],"delay":\[0\]/"run":[0.5],"delay":[0.9]/' "$s" >"$work/absurd"
sentence 1 'VM web is absurd: its vCPUs ran and waited for more time than there was' \
	explain --snapshot "$work/absurd" web
echo '{"snapshot":[]}' >"$work/bad"
sentence 1 "$work/bad: line 1: it is of version 0, not 1" plan --snapshot "$work/bad"

shows 0 '1 VMs on 2 hosts get 1.000 of what they want, 1 in 100 less than 1.000; 0 less than 0.9' \
	plan --snapshot "$s"
shows 0 'none: nothing needs doing' explain --snapshot "$s" web
shows 0 'host a: 4 cores, expected use 0.125, expected loss 0.00 vCPUs' explain --snapshot "$s" a
"$agent" plan --json --snapshot "$s" --what-if drain=a | grep -q '"vm":"web","from":"a","to":"b"' ||
	fail "web does not leave a"

# What was saved is a snapshot, and leads to the same once more
"$agent" plan --snapshot "$s" --what-if drain=a --save "$work/saved" >/dev/null || fail "save"
"$agent" plan --snapshot "$work/saved" --save "$work/again" >/dev/null || fail "replay"
cmp -s "$work/saved" "$work/again" || fail "a plan that is replayed is another"
grep -q '^{"plan":{' "$work/saved" || fail "what was saved has no plan"

# What is asked of the agent that runs, which has a stand-in here
no_agent='no agent of yours runs on this host; "godwit-agent run" starts one'
sentence 1 "$no_agent" status
mkdir -p "$run"
sentence 1 "$no_agent" plan
sentence 1 "$no_agent" drain a
python3 "$(dirname "$0")/fake_agent.py" "$run" 2>"$work/fake" &
fake=$!
trap 'kill $fake 2>/dev/null; rm -rf "$work"' EXIT
while [ ! -S "$run/.agent.sock" ]; do
	kill -0 $fake || { cat "$work/fake"; exit 1; }
	sleep 0.1
done
cp "$s" "$run/snapshot"
echo '{"policy":{"margin":3}}' >>"$run/snapshot"
cat >"$run/status" <<END
{"id":"a","mode":"auto","planner":"b","hosts":[
 {"id":"b","state":"draining","cores":2,"memory":2147483648,"available":1073741824,"use":[0.25,1]},
 {"id":"a","state":"up","cores":4,"memory":4294967296,"reserve":1048576,"available":5,"use":0.5}],
 "vms":[{"name":"web","host":"a","state":"Running","vcpus":2,"memory":1048576,"resident":524288,
  "happiness":0.75,"run":[0.6],"delay":[0.2],"throttled":[0],"dirty_rate":10,"spec":true,"restarts":1,
  "why":""}],
 "flights":[{"vm":"db","from":"b","to":"a","since":1700000000,"phase":"copying","left_s":12}],
 "alerts":["host b has too little memory"]}
END
cat >"$run/events" <<'END'
{"seq":1,"events":[{"timestamp":{"secs":3,"nanos":5000},"source":"agent","event":"moved",
 "properties":{"about":"web"}}]}
END
shows 0 'The agent of a: mode auto, b plans' status
shows 0 'a*    up          1      4      2  50%      -    4.0G     5     1.0M        -        -       -' status
shows 0 'web  a     Running      2    75%  60%    20%         0%    1.0M      512k       10  yes          1' \
	status
grep -q '^  db: b to a, copying for [0-9]* s, 12 s left$' "$work/out" || fail "status: no move"
grep -qx '  host b has too little memory' "$work/out" || fail "status: no alert"
"$agent" status --json >"$work/status"
python3 -c 'import json, sys
assert json.load(open(sys.argv[1])) == json.load(open(sys.argv[2]))' "$work/status" "$run/status" || fail "status --json"
shows 0 'web          a       75%  60%    20%         0%      2' top --once
"$agent" top --once --json | cmp -s - "$work/status" || fail "top --json is not status --json"
sentence 2 '--interval must be 0.1 to 3600 seconds, not "0"' top --interval 0
shows 0 '     3.000005  agent           moved about="web"' events
shows 0 'host a: 4 cores, expected use 0.125, expected loss 0.00 vCPUs' explain a
shows 0 '1 VMs on 2 hosts get 1.000 of what they want, 1 in 100 less than 1.000; 0 less than 0.9' plan
"$agent" plan --json --what-if drain=a | grep -q '"vm":"web","from":"a","to":"b"' ||
	fail "web does not leave a of the agent"
"$agent" policy >"$work/out"
grep -qx "margin  *3  *2  a move's benefit must be this many times its cost" "$work/out" ||
	fail "policy: $(cat "$work/out")"

# said PATH BODY ARGUMENT...: the verb asks for this and says nothing
said() {
	want="/api/v1/$1 $2"
	shift 2
	: >"$run/said"
	"$agent" "$@" >"$work/out" 2>&1 || fail "$*: status $?"
	[ ! -s "$work/out" ] || fail "$*: said $(cat "$work/out")"
	[ "$(cat "$run/said")" = "$want" ] || fail "$*: asked for $(cat "$run/said"), not $want"
}
echo '{"name": "web"}' >"$work/web.json"
said apply '{"name":"web"}' apply "$work/web.json"
echo '{"name": "later"}' >"$work/web.json"
shows 0 'memory is another from the next start on' apply "$work/web.json"
said delete '{"name":"web"}' delete web
said start '{"name":"web"}' start web
said stop '{"name":"web"}' stop web
said host '{"id":"a","state":"draining"}' drain a
said host '{"id":"a","state":"maintenance"}' maintenance a on
said host '{"id":"a","state":"up"}' maintenance a off
said mode '{"mode":"auto"}' mode auto
said move '{"vm":"web","to":"b","wait":true}' move web b
said policy '{"margin":2.5,"out_max":1.0}' policy margin=2.5 out_max=1
sentence 1 'the agent refused: the request cannot be done: there is no VM nobody' stop nobody
sentence 2 'something is missing: godwit-agent move VM HOST' move web
sentence 2 'there can be recommend|auto|emergency here, not "fast"' mode fast
sentence 2 'there can be on|off here, not "maybe"' maintenance a maybe
sentence 2 'there is no "fast" to change' policy fast=1
sentence 2 'a value is given as KEY=VALUE, not "margin"' policy margin
echo '[' >"$work/web.json"
sentence 1 "$work/web.json: line 2 is no JSON: ']' expected near end of file" apply "$work/web.json"
echo '[]' >"$work/web.json"
sentence 1 "$work/web.json: a VM is described by a JSON object" apply "$work/web.json"
"$agent" apply "$work/none" 2>&1 | grep -q "^godwit-agent: .*$work/none.*No such file" || fail "apply"

# How words go on
sample=$("$agent" complete -- drain '')
[ "$sample" = "$(printf 'b\na')" ] || fail "completion of a host: $sample"
sample=$("$agent" complete -- move w)
[ "$sample" = web ] || fail "completion of a VM: $sample"
sample=$("$agent" complete -- maintenance a o)
[ "$sample" = "$(printf 'on\noff')" ] || fail "completion of a choice: $sample"
sample=$("$agent" complete -- policy mar)
[ "$sample" = margin= ] || fail "completion of a policy value: $sample"
sample=$("$agent" complete -- plan --what-if dr)
[ "$sample" = drain= ] || fail "completion of an edit: $sample"
sample=$("$agent" complete -- explain --snapshot "$s" --what-if=use_h)
[ "$sample" = --what-if=use_high= ] || fail "completion of a policy value: $sample"
"$agent" complete -- plan --snapshot '' >"$work/out"
[ $? -eq 1 ] || fail "completion of a file: not status 1"

# A person looks at a terminal while the agent ends.
kill -0 $fake || fail "the stand-in has ended"
timeout 30 python3 - "$agent" $fake <<'END' || fail "top on a terminal"
import os, pty, sys
pid, fd = pty.fork()
if not pid:
    os.environ.update(TERM="xterm", NO_COLOR="1")
    os.execv(sys.argv[1], [sys.argv[1], "top", "--interval", "0.1"])

def see(text):
    seen = b""
    while text not in seen:
        seen += os.read(fd, 65536)

see(b"q quit")
os.write(fd, b" ")
see(b"paused")
os.write(fd, b" ")
os.kill(int(sys.argv[2]), 15)
see(b"the agent does not answer")
os.write(fd, b"q")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END

# The page
"$agent" help policy | sed -nE 's/^ +([a-z_]+)=N +(.*) \(([0-9.]+)\)$/| `\1` | \3 | \2 |/p' \
	>"$work/policy"
[ "$(wc -l <"$work/policy")" -gt 30 ] || fail "help has no policy values"
while read -r line; do
	grep -qxF -e "$line" "$page" || fail "docs/rebalancing.md has no line: $line"
done <"$work/policy"
sed -nE '/^static const struct words rules/,/^}/s/.*\[RULE_.*\{ "([a-z-]+)", "(.*)" \},/| `\1` | \2 |/p' \
	"$rules" | grep -v '`none`' >"$work/rules"
[ "$(wc -l <"$work/rules")" -gt 15 ] || fail "rules.c has no rules"
while read -r line; do
	grep -qxF -e "$line" "$page" || fail "docs/rebalancing.md has no line: $line"
done <"$work/rules"

grep -o 'HTTP_[A-Z]*, [A-Z "/a-z]*"' "$routes" |
	sed 's|HTTP_\([A-Z]*\), |\1 |; s|API "|/api/v1/|; s|"||g' >"$work/routes"
[ "$(wc -l <"$work/routes")" -gt 10 ] || fail "routes.c has no routes"
while read -r line; do
	grep -qF -e "| \`$line\` |" "$page" || fail "docs/rebalancing.md has no request $line"
done <"$work/routes"

[ "$failed" -eq 0 ]
