#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What godwit-agent says, its exit statuses, and that docs/rebalancing.md has every policy value and
# rule as it is: agent.sh BINARY
# shellcheck disable=SC2016 # the page has code in backquotes
set -u

agent=$1
program=$agent
page=$(dirname "$0")/../../docs/rebalancing.md
rules=$(dirname "$0")/../../src/planner/rules.c
# shellcheck source-path=SCRIPTDIR source=says.sh
. "$(dirname "$0")/says.sh"

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
sentence 2 'something is missing: godwit-agent explain --snapshot FILE' explain
sentence 2 'unknown option "--quickly"; see "godwit-agent plan --help"' plan --quickly
sentence 2 '--save is given twice' plan --snapshot "$s" --save a --save b
sentence 2 'there is no place for "web"; see "godwit-agent plan --help"' plan --snapshot "$s" web
sentence 2 '--snapshot needs a value: --snapshot FILE' plan --snapshot
sentence 1 "$work/none: No such file or directory" plan --snapshot "$work/none"
sentence 1 '--what-if drain=c: there is no host c' plan --snapshot "$s" --what-if drain=c
sentence 1 '--what-if drain=d: there is no host d' explain --snapshot "$s" --what-if add-host=c \
	--what-if drain=c --what-if=drain=d
sentence 1 'there is no VM and no host c' explain --snapshot "$s" c
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

# How words go on
sample=$("$agent" complete -- plan --what-if dr)
[ "$sample" = drain= ] || fail "completion of an edit: $sample"
sample=$("$agent" complete -- explain --snapshot "$s" --what-if=use_h)
[ "$sample" = --what-if=use_high= ] || fail "completion of a policy value: $sample"
"$agent" complete -- plan --snapshot '' >"$work/out"
[ $? -eq 1 ] || fail "completion of a file: not status 1"

# The page
"$agent" help plan | sed -nE 's/^ +([a-z_]+)=N +(.*) \(([0-9.]+)\)$/| `\1` | \3 | \2 |/p' \
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

[ "$failed" -eq 0 ]
