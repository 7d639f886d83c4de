#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Completion in bash and zsh, as a person presses Tab, beside a VM that is made but not booted.
# usage: completion.sh BINARY
set -u

godwit=$(realpath "$1")
scripts=$(realpath "${BASH_SOURCE[0]%/*}/../../scripts/completion")
work=$(mktemp -d)
vm=unit-tab-$$
failed=0

fail() {
	echo "FAIL: $*" >&2
	failed=$((failed + 1))
}

PATH=$(dirname "$godwit"):$PATH
export XDG_RUNTIME_DIR=$work
godwit --api-socket "$work/api" 2>"$work/err" &
monitor=$!
trap 'kill -9 $monitor 2>/dev/null; rm -rf "$work"' EXIT

# request METHOD PATH [BODY]: of the control API
request() {
	python3 - "$work/api" "$@" <<'EOF'
import http.client, socket, sys, time
path, method, name, body = (sys.argv + [None])[1:5]
client = http.client.HTTPConnection("localhost")
client.sock = socket.socket(socket.AF_UNIX)
for attempt in range(600):
    try:
        client.sock.connect(path)
        break
    except OSError:
        time.sleep(0.1)
client.request(method, "/api/v1/" + name, body)
answer = client.getresponse()
assert answer.status < 300, answer.read()
EOF
}
request PUT vm.create "{\"name\": \"$vm\", \"payload\": {\"kernel\": \"k\"},
	\"disks\": [{\"path\": \"a\"}, {\"path\": \"b\", \"id\": \"data\"}]}" ||
	fail "no VM: $(cat "$work/err")"

# What bash puts into the line

# shellcheck source=scripts/completion/godwit.bash
. "$scripts/godwit.bash"
complete -p godwit godwit-agent >/dev/null || fail "bash: not registered"

# tab WANTED WORD...: candidates for the last word, as bash parts words
tab() {
	local wanted=$1
	shift
	COMP_WORDS=(godwit "$@") COMP_CWORD=$# COMPREPLY=(left over)
	_godwit godwit "${*: -1}" godwit
	[[ ${COMPREPLY[*]} == "$wanted" ]] || fail "bash: godwit $*: ${COMPREPLY[*]}, not $wanted"
}

tab 'pause' pa
tab 'add-disk add-net' add
tab '--version' --v
tab '' compl
tab '--now' shutdown --n
tab '--port --watch --take --help' console --
tab 'serial console' console --port ''
tab 'serial' console --port = s
tab 'serial console' console --port =
tab 'console' console --watch --port con
tab '--disk' run --di
tab 'path=' run --disk pa
tab 'path=' run --kernel k --disk = pa
tab 'a,readonly=' run --disk a,reado
tab 'on off' run --disk path = a,readonly =
tab '' run --net backend = pass
tab 'Passt' run --net backend = Pa
tab 'path= fd=' run --event-monitor ''
tab '' run --kernel ''
tab 'journal' run --audit jo
tab 'pause' help pa
tab "$vm" pause "${vm:0:8}"
tab "$vm" shutdown --now "${vm:0:8}"
tab "$vm" shutdown "$vm" "${vm:0:8}"
tab '' console "$vm" "${vm:0:8}"
tab 'data' remove "$vm" da
tab 'disk0' remove "$vm" dis
tab '' remove nobody ''
tab 'path=' add-disk "$vm" pat
tab '' no-such-command ''

# Options and keys that help has are those that are offered.
for command in $(godwit --help | sed -n 's/^  \([a-z-]*\) .*/\1/p'); do
	wanted=$(godwit help "$command" | grep -oE '^  --[a-z-]+' | tr -d ' ')
	[[ $(godwit complete -- "$command" --) == "$wanted" ]] || fail "options of $command"
done

# What zsh does with a key

cat >"$work/zsh" <<'EOF'
zmodload zsh/zpty
zpty line zsh -f -i
zpty -w line "PS1= PROMPT_EOL_MARK= RPS1=; stty -echo; fpath=($1 \$fpath); autoload -U compinit"
zpty -w line 'compinit -u -D; setopt no_list_ambiguous; zstyle ":completion:*" insert-tab no'
zpty -w line 'show() { local now=$BUFFER; BUFFER=; zle -I; print -r -- "<$now>" }; zle -N show'
zpty -w line 'bindkey "^X" show; bindkey "^I" complete-word; print re''ady'
zpty -r line seen '*ready*'
for typed in ${@[2,-1]}; do
	zpty -w -n line "$typed"$'\t\x18'
	zpty -r line seen $'*<*>\r*'
	print -r -- "${${seen##*\<}%%\>*}"
done
EOF
typed=('godwit vers' 'godwit shutdown --n' 'godwit run --di' 'godwit run --disk pat'
	'godwit run --disk path=a,reado' 'godwit console --port=ser' "godwit pause ${vm:0:8}"
	"godwit remove $vm dat" "godwit run --kernel $work/ap")
wanted=('godwit version ' 'godwit shutdown --now ' 'godwit run --disk ' 'godwit run --disk path='
	'godwit run --disk path=a,readonly=' 'godwit console --port=serial ' "godwit pause $vm "
	"godwit remove $vm data " "godwit run --kernel $work/api ")
zsh -n "$scripts/_godwit" || fail "zsh: _godwit does not parse"
mapfile -t got < <(TERM=dumb timeout 60 zsh -f "$work/zsh" "$scripts" "${typed[@]}")
for i in "${!typed[@]}"; do
	[[ ${got[i]:-nothing} == "${wanted[i]}" ]] ||
		fail "zsh: ${typed[i]}: <${got[i]:-nothing}>, not <${wanted[i]}>"
done

request PUT vmm.shutdown
wait $monitor || fail "the VM did not end well: $(cat "$work/err")"
[[ $failed == 0 ]] || echo "$failed failed" >&2
[[ $failed == 0 ]]
