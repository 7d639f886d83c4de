# SPDX-License-Identifier: Apache-2.0
# Disk images and initrds, for guests and for the emulated host, made once and kept in the cache
# under a key of all they were made from. Needs common.sh and kernels.sh.
# shellcheck shell=bash disable=SC2154

guest_modules="virtio_pci virtio_blk virtio_console virtio_net virtio-rng virtio_mem virtio_balloon
	button evdev pvpanic-pci pvpanic-mmio"
host_modules="kvm-amd tun virtio_net vhost_net vhost_vsock bridge veth loop evdev brd nfsd nfsv4"

# initrd_image SERIES: prints the guest initrd for that kernel: busybox, modules, guest-init and the
# programs of tests/lab/guest as /tests/NAME. Not compressed: an emulated guest unpacks slowly.
initrd_image() {
	need_packages busybox-static cpio kmod xz-utils
	local kernel
	kernel=$(kernel_fetch "$1")
	image_once "initrd-$1" initrd_make "$kernel" -- \
		"$(readlink "$kernel/modules")" "$(package_versions busybox-static)" \
		"$top"/scripts/lib/{images.sh,guest-init,rootfs/etc/{acpi/*/*,network,udhcpc/*}} \
		"$top"/tests/lab/guest/*
}

initrd_make() {
	local stage=${2%/*}/stage
	mkdir -p "$stage"/{bin,dev,etc,mnt,proc,root,sys,tests}
	install "$(command -v busybox)" "$stage/bin/"
	ln -s busybox "$stage/bin/sh"
	install "$top/scripts/lib/guest-init" "$stage/init"
	install "$top"/tests/lab/guest/* "$stage/tests/"
	cp -r "$top"/scripts/lib/rootfs/etc/{acpi,network,udhcpc} "$stage/etc/"
	stage_modules "$stage" "$1" "$guest_modules"
	make_cpio "$stage" "$2"
}

# root_image: prints a small root disk: busybox laid out like a Debian, a login on the serial port.
root_image() {
	need_packages busybox-static e2fsprogs
	image_once root root_make -- "$(package_versions busybox-static)" \
		"$top/scripts/lib/images.sh" "$top"/scripts/lib/rootfs/etc/{*,*/*,*/*/*}
}

root_make() {
	local stage=${1%/*}/stage
	stage_root "$stage"
	cp -r "$top/scripts/lib/rootfs/." "$stage/"
	make_ext4 "$stage" "$1" 64M
}

# tools_image: prints a disk with fio, iperf3, mkfs.ext4, sqlite3 and stress-ng, whose libraries are
# too big for an initrd, and programs of the lab's own.
tools_image() {
	need_packages fio iperf3 gcc libc6-dev e2fsprogs sqlite3 stress-ng
	image_once tools tools_make -- "$(package_versions e2fsprogs fio iperf3 libc6 sqlite3 stress-ng)" \
		"$top/scripts/lib/images.sh" "$top"/tests/lab/{verify.fio,*.c}
}

tools_make() {
	local stage=${1%/*}/stage program
	stage_root "$stage"
	for program in fio iperf3 mkfs.ext4 sqlite3 stress-ng; do
		stage_program "$(command -v $program)" "$stage/usr/bin/$program" "$stage"
	done
	for program in hold ping-pong; do
		gcc -O2 -static -o "$stage/usr/bin/$program" "$top/tests/lab/$program.c"
	done
	cp "$top/tests/lab/verify.fio" "$stage/"
	make_ext4 "$stage" "$1" 256M
}

# lab_list SET: lines "PLACE FILE", what lab scripts find in the folder $LAB. SET guest: a kernel
# with its initrd and a root disk. SET tests: an older kernel and a disk of tools as well.
lab_list() {
	local series all=(6.12) file
	case $1 in
	guest) ;;
	tests) all+=(6.1) ;;
	*) die "there is no set $1; there are guest and tests" ;;
	esac
	for series in "${all[@]}"; do
		file=$(kernel_fetch "$series")
		printf '%s\n' "$series/vmlinuz $file/vmlinuz" "$series/vmlinux $file/vmlinux"
		file=$(initrd_image "$series")
		echo "$series/initrd $file"
	done
	file=$(root_image)
	echo "root.img $file"
	[[ $1 == tests ]] || return 0
	file=$(tools_image)
	echo "tools.img $file"
}

# lab_files FOLDER LIST COMMAND...: puts the files of a lab_list there with "COMMAND FILE PLACE".
lab_files() {
	local folder=$1 list=$2 place file
	shift 2
	while read -r place file; do
		mkdir -p "$(dirname "$folder/$place")"
		"$@" "$file" "$folder/$place"
	done <<<"$list"
}

# host_image SET: prints the emulated host's root disk: the SET in /lab, busybox, bash, modules, what
# makes a network, and for tests QEMU and socat.
host_image() {
	local list
	need_packages busybox-static dnsmasq-base e2fsprogs passt qemu-system-x86 socat util-linux
	list=$(lab_list "$1")
	image_once "host-$1" host_make "$1" "$list" -- "$list" \
		"$(package_versions bash busybox-static dnsmasq-base libc6 passt qemu-system-x86 socat)" \
		"$top"/scripts/lib/{images.sh,host-init,rootfs/etc/{passwd,group}}
}

host_make() {
	local stage=${3%/*}/stage kernel program
	kernel=$(kernel_fetch 6.12)
	stage_root "$stage"
	install "$top/scripts/lib/host-init" "$stage/bin/init"
	cp "$top"/scripts/lib/rootfs/etc/{passwd,group} "$stage/etc/"
	stage_modules "$stage" "$kernel" "$host_modules"
	for program in bash dnsmasq passt setpriv; do
		stage_program "$(command -v $program)" "$stage/usr/bin/$program" "$stage"
	done
	[[ $1 == guest ]] || stage_qemu "$stage"
	lab_files "$stage/lab" "$2" cp --sparse=always
	make_ext4 "$stage" "$3" 4G
}

# QEMU with the firmware that its microvm and q35 machines load.
stage_qemu() {
	local program
	for program in qemu-system-x86_64 socat; do
		stage_program "$(command -v $program)" "$1/usr/bin/$program" "$1"
	done
	install -D -m 644 -t "$1/usr/share/qemu" /usr/share/qemu/{linuxboot_dma,pvh,kvmvapic}.bin \
		/usr/share/seabios/{bios-256k,bios-microvm}.bin
}

# image_once NAME MAKER [ARG...] -- WORD-OR-FILE...: prints the image that "MAKER ARG... FILE" made,
# anew only when the words or the files' contents change. What nobody used for a day is removed.
image_once() {
	local name=$1 make=() key file
	shift
	while [[ $1 != -- ]]; do make+=("$1"); shift; done
	shift
	key=$(for file; do [[ -f $file ]] && cat "$file" || echo "$file"; done | sha256sum)
	file=$cache/images/$name-${key:0:16}
	make_once "$file" "${make[@]}"
	touch "$file"
	# Another script may be removing the same ones.
	find "$cache/images" -maxdepth 1 -ignore_readdir_race -name "$name-????????????????" \
		-mmin +1440 -delete
	echo "$file"
}

package_versions() { dpkg-query -W -f '${Package}=${Version} ' "$@"; }

# stage_root STAGE: busybox in a tree of Debian's shape, so that libraries keep their places.
stage_root() {
	local folder
	mkdir -p "$1"/{dev,etc,mnt,proc,root,run,sys,tmp,usr/bin,usr/lib,usr/lib64,var/tmp}
	for folder in bin lib lib64; do ln -s "usr/$folder" "$1/$folder"; done
	ln -s usr/bin "$1/sbin"
	ln -s bin "$1/usr/sbin"
	install "$(command -v busybox)" "$1/bin/"
	busybox --install -s "$1/bin"
}

# stage_program FILE PLACE STAGE: FILE at PLACE, and in STAGE the libraries it names, if it does.
stage_program() {
	local library
	install -D "$1" "$2"
	while read -r library; do
		install -D "$library" "$3$(realpath "${library%/*}")/${library##*/}"
	done < <(ldd "$1" 2>/dev/null | grep -o '/[^ ]*')
}

# stage_modules STAGE KERNEL NAMES: modules and those they need, where modprobe looks for them. They
# are unpacked, because the guest's processor is the slow one. What is built in is left out.
stage_modules() {
	local release folder
	release=$(basename "$(readlink "$2/modules")")
	folder=lib/modules/$release
	mkdir -p "$1/$folder"
	# shellcheck disable=SC2086 # one word per module
	modprobe -d "$2" -S "$release" --show-depends -a $3 | awk '$1 == "insmod" { print $2 }' |
		sort -u | xargs cp -t "$1/$folder"
	find "$1/$folder" -name '*.xz' -exec unxz {} +
	cp "$2/$folder"/modules.{builtin,builtin.modinfo,order} "$1/$folder/"
	depmod -b "$1" "$release"
}

make_cpio() {
	(cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) >"$2"
}

# make_ext4 STAGE FILE SIZE: sparse, so free space costs nothing.
make_ext4() {
	truncate -s "$3" "$2"
	mkfs.ext4 -q -F -d "$1" -m 0 -E root_owner=0:0 "$2"
}
