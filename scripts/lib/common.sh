# SPDX-License-Identifier: Apache-2.0
# Helpers for the scripts beside and above this folder. Sourced, never run.
# shellcheck shell=bash disable=SC2034

set -euo pipefail
shopt -s inherit_errexit

top=$(realpath "${BASH_SOURCE[0]%/*}/../..")
cache=${GODWIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/godwit}

note() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { note "$*"; exit 1; }

# lab_kind: prints direct where this machine's own /dev/kvm runs stock kernels, otherwise emulated.
# The one place that decides.
lab_kind() {
	local godwit kind=emulated
	[[ ! ${GODWIT_LAB:-} ]] || { echo "$GODWIT_LAB"; return; }
	godwit=$(godwit_program)
	"$godwit" probe --json 2>/dev/null | grep -qF '"guests": "stock"' && kind=direct
	echo "$kind"
}

# need_packages PACKAGE...: installs those that are missing, and touches nothing when none is.
need_packages() { [[ ! $(packages_missing "$@") ]] || in_turn packages_install "$@"; }

# in_turn COMMAND...: two callers at once take turns, as apt-get update does not wait for another one.
in_turn() {
	mkdir -p "$cache"
	(
		flock 9
		"$@"
	) 9>"$cache/.packages"
}

packages_install() {
	local missing
	missing=$(packages_missing "$@")
	[[ $missing ]] || return 0
	command -v apt-get >/dev/null || die "this is not Debian; install what is in its $missing"
	[[ $EUID == 0 ]] || die "packages are missing; as root run: apt-get install $missing"
	note "installing $missing"
	apt_update
	# shellcheck disable=SC2086 # one word per package
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
		install --no-install-recommends $missing >/dev/null ||
		die "apt-get could not install $missing; what it said is above"
}

# packages_missing PACKAGE...: prints those on one line.
packages_missing() {
	comm -23 <(printf '%s\n' "$@" | sort) <(packages_installed "$@" | sort) | paste -sd ' '
}

packages_installed() {
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		sed -n 's/^installed //p'
}

apt_update() {
	apt-get -qq -o DPkg::Lock::Timeout=300 update ||
		die "apt-get update failed; is there a network?"
}

# make_once PATH COMMAND...: PATH, made by "COMMAND... TEMP" unless it is there already. It appears
# whole or not at all, and two callers at once make it once.
make_once() {
	local path=$1 folder=${1%/*}
	shift
	[[ ! -e $path ]] || return 0
	mkdir -p "$folder"
	(
		flock 9
		[[ ! -e $path ]] || exit 0
		temp=$(mktemp -d "$folder/.new.XXXXXX")
		trap 'rm -rf "$temp"' EXIT
		"$@" "$temp/new"
		mv -T "$temp/new" "$path"
	) 9>"$folder/.lock"
}

# godwit_program: prints the path of godwit: $GODWIT, or the one of build/, built if need be.
godwit_program() {
	local log
	[[ ! ${GODWIT:-} ]] || { echo "$GODWIT"; return; }
	need_packages check gcc libc6-dev libcap-ng-dev libgnutls28-dev libjansson-dev liblz4-dev \
		libseccomp-dev liburing-dev libzstd-dev meson ninja-build pkg-config
	log=$(mktemp)
	godwit_build >"$log" || {
		tail -n 40 "$log" >&2
		die "godwit did not build; what meson and ninja said is above"
	}
	rm -f "$log"
	echo "$top/build/godwit"
}

godwit_build() {
	[[ -f $top/build/build.ninja ]] ||
		meson setup "$top/build" "$top" --buildtype=release || return
	ninja -C "$top/build" godwit
}
