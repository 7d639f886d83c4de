# SPDX-License-Identifier: Apache-2.0
# Stock Debian cloud kernels, fetched into the cache and not installed. Needs common.sh.
# shellcheck shell=bash disable=SC2154

# kernel_fetch SERIES: prints the folder with vmlinuz, vmlinux and modules/ of the newest Debian
# cloud kernel of SERIES (6.12, 6.1). Once it is there no network is needed; remove the folder to
# get a newer one.
kernel_fetch() {
	local folder=$cache/kernels/$1
	make_once "$folder" kernel_make "$1"
	echo "$folder"
}

kernel_make() {
	local series=$1 folder=$2 release
	need_packages kmod lz4 zstd
	mkdir -p "$folder/deb"
	kernel_download "$series" "$folder/deb"
	dpkg -x "$folder"/deb/*.deb "$folder"
	release=$(basename "$folder"/lib/modules/*)
	depmod -b "$folder" "$release"
	ln -s "lib/modules/$release" "$folder/modules"
	mv "$folder/boot/vmlinuz-$release" "$folder/vmlinuz"
	kernel_unpack "$folder/vmlinuz" >"$folder/vmlinux"
	rm -r "${folder:?}"/{deb,boot,usr}
}

# Package lists may be missing on a fresh machine, or name a version that the mirror has dropped.
kernel_download() {
	kernel_try_download "$@" && return
	[[ $EUID == 0 ]] || die "no Debian cloud kernel $1 to be had; as root run apt-get update"
	in_turn apt_update
	kernel_try_download "$@" ||
		die "apt-get finds no Debian cloud kernel $1; are Debian's package sources there?"
}

kernel_try_download() {
	local package name="^linux-image-${1/./\\.}\\.[0-9].*-cloud-amd64\$"
	package=$(apt-cache search --names-only "$name" |
		cut -d' ' -f1 | sort -V | tail -n 1)
	[[ -n $package ]] || return
	note "fetching $package"
	# As root apt would fetch as a user that may not write here.
	(cd "$2" && apt-get -qq -o APT::Sandbox::User=root download "$package")
}

# kernel_unpack VMLINUZ: prints the ELF kernel inside, which starts seconds sooner where the
# processor is emulated. Linux, Documentation/arch/x86/boot.rst: setup_sects, payload_offset and
# payload_length; the last four bytes of the payload are the unpacked size.
kernel_unpack() {
	local sectors offset length unpack=(zstd -dc)
	read -r sectors < <(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
	read -r offset length < <(od -An -tu4 -j $((0x248)) -N 8 "$1")
	offset=$(((sectors + 1) * 512 + offset))
	[[ $(od -An -tx1 -j "$offset" -N 4 "$1") != " 02 21 4c 18" ]] || unpack=(lz4 -dc)
	head -c $((offset + length - 4)) "$1" | tail -c $((length - 4)) | "${unpack[@]}"
}
