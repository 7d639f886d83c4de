# SPDX-License-Identifier: Apache-2.0
# What a program says and how it ends, for tests of its command line. Sourced, with $program set to the
# binary; in the end $failed says how many did not come true.
# shellcheck shell=sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
	echo "FAIL: $*" >&2
	failed=$((failed + 1))
}

# sentence STATUS TEXT ARGUMENT...: the command ends so, with this one line on stderr
sentence() {
	want_status=$1 want=$2
	shift 2
	"$program" "$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
	[ "$status" -eq "$want_status" ] || fail "$*: status $status, not $want_status"
	got=$(cat "$work/err")
	[ "$got" = "${program##*/}: $want" ] || fail "$*: said: $got
      instead of: ${program##*/}: $want"
	[ -s "$work/out" ] && fail "$*: wrote to standard output"
}

# shows STATUS TEXT ARGUMENT...: standard output has this line, stderr nothing
shows() {
	want_status=$1 want=$2
	shift 2
	"$program" "$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
	[ "$status" -eq "$want_status" ] || fail "$*: status $status, not $want_status"
	grep -qxF -e "$want" "$work/out" || fail "$*: no line: $want
$(cat "$work/out")"
	[ -s "$work/err" ] && fail "$*: stderr: $(cat "$work/err")"
}
