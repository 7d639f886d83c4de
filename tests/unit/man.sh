#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The manual pages: one for each command, without a complaint, and with what --help has.
# usage: man.sh GODWIT GODWIT-AGENT
set -u

godwit=$1 agent=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
	echo "FAIL: $*" >&2
	failed=$((failed + 1))
}

# text PAGE: as a terminal shows it, without bold and italics
text() {
	mandoc -T ascii -O width=200 "$work/man1/$1.1" | sed "s/.$(printf '\b')//g"
}

# words: options and keys of lines that begin with one, the same from a page and from --help
words() {
	grep -oE '^ +(--[a-z-]+|\[?[a-z_.]+=\]?)( ?[A-Z][A-Za-z=|,.]*| ?[a-z]+[|=][A-Za-z|=]+)?' |
		sed 's/^ *//' | sort
}

# pages BINARY COUNT: of this program, which has that many commands at least
pages() {
	program=$1 name=${1##*/}
	rm -rf "$work/man1"
	"$program" help --man "$work/man1" || fail "$name help --man: status $?"
	"$program" help --man "$work/man1" || fail "$name help --man again: status $?"

	commands=$("$program" --help | sed -n 's/^  \([a-z-]*\) .*/\1/p')
	[ "$(echo "$commands" | wc -l)" -ge "$2" ] || fail "$name: commands: $commands"
	{
		echo "$name.1"
		for command in $commands; do echo "$name-$command.1"; done
	} | sort >"$work/wanted"
	(cd "$work/man1" && printf '%s\n' *) | sort >"$work/got"
	diff "$work/wanted" "$work/got" || fail "$name: the pages are not the commands"

	mandoc -T lint -W warning "$work"/man1/*.1 >"$work/lint" 2>&1
	[ ! -s "$work/lint" ] || fail "lint: $(cat "$work/lint")"

	text "$name" >"$work/index"
	for command in $commands; do
		text "$name-$command" >"$work/page"
		for heading in NAME SYNOPSIS DESCRIPTION OPTIONS 'EXIT STATUS' 'SEE ALSO'; do
			grep -qx "$heading" "$work/page" || fail "$name-$command: no $heading"
		done
		"$program" help "$command" >"$work/help"
		words <"$work/help" >"$work/wanted"
		words <"$work/page" >"$work/got"
		grep -qe '^--help' "$work/wanted" || fail "$name $command --help: no --help"
		diff "$work/wanted" "$work/got" || fail "$name-$command: not the options of --help"
		grep -q "^ *$name-$command(1)$" "$work/index" || fail "$name: no $command"
	done
}

pages "$agent" 5
pages "$godwit" 16
[ "$("$godwit" help run | words | wc -l)" -ge 80 ] || fail "run has lost its options"
text godwit-shutdown | grep -q '^ *godwit shutdown --now web$' || fail "shutdown: no example"
text godwit-run | grep -q '^ *0  *the guest powered off, or moved to another host$' ||
	fail "run: no exit status"

"$godwit" help --man "$work/none/man1" >"$work/out" 2>&1
[ $? -eq 1 ] || fail "a folder that cannot be made: not status 1"
[ "$(cat "$work/out")" = "godwit: $work/none/man1 cannot be made: No such file or directory" ] ||
	fail "a folder that cannot be made: $(cat "$work/out")"
mkdir -p "$work/full/godwit.1/in-the-way"
"$godwit" help --man "$work/full" 2>/dev/null
[ $? -eq 1 ] || fail "a page that cannot be written: not status 1"

[ "$failed" -eq 0 ] || echo "$failed failed" >&2
[ "$failed" -eq 0 ]
