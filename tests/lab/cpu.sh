#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A guest sees the CPU features of its profile and no others; a host that lacks one of them says so.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$LAB/lib.sh"

# boots PROFILE: a guest of that profile says what it sees; that is in the file features, a line each.
boots() {
	vm_start godwit 6.12 "2,profile=$1" --append "console=ttyS0 quiet godwit.run=features"
	vm_says " end"
	vm_ends 0
	sed -n 's/^guest: features//p' console | tr -s ' \r' '\n' >features
	grep -qx lm features
}

sees() { for flag; do grep -qx "$flag" features || fail "the guest does not see $flag"; done; }

sees_no() { for flag; do ! grep -qx "$flag" features || fail "the guest sees $flag"; done; }

level_2() {
	boots x86-64-v2
	sees cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2 hypervisor x2apic nx
	sees_no xsave avx avx2 fma bmi1 movbe aes pclmulqdq svm smep rdrand
}

level_3() {
	"$GODWIT" probe --json >facts
	if grep -qF '"avx2"' facts; then
		boots x86-64-v3
		sees sse4_2 bmi1 bmi2 f16c abm movbe
		# An emulated processor hides XSETBV from KVM, and the kernel then does without XSAVE.
		! grep -qx xsave features || sees avx avx2 fma
		sees_no aes pclmulqdq xsaveopt xsavec svm smep
	else
		is_refused x86-64-v3
		grep -F "avx2" said
	fi
}

# is_refused PROFILE: no guest of it is built, with words in the file said.
is_refused() {
	local status=0
	vm_arguments godwit 6.12 "1,profile=$1"
	"$GODWIT" run "${arguments[@]:1}" >said 2>&1 </dev/null || status=$?
	cat said
	[[ $status == 1 ]] || fail "the status is $status, not 1"
	grep -F "this host lacks " said
}

level_4() {
	"$GODWIT" probe --json >facts
	! grep -qF '"avx512f"' facts || { echo "this host has AVX-512"; exit 77; }
	is_refused x86-64-v4
	grep -F "avx512f" said
}

# without FILE WORD BIT: the same facts of a host without that feature
without() {
	local value
	value=$(sed -n "s/^ *\"$2\": \([0-9]*\).*/\1/p" "$1")
	[[ $((value >> $3 & 1)) == 1 ]] || fail "this host has no bit $3 of $2"
	sed "s/\(\"$2\": \)$value/\1$((value & ~(1 << $3)))/" "$1"
}

baseline() {
	"$GODWIT" probe --json >one
	without one 1.ecx 1 >two # pclmulqdq
	"$GODWIT" probe --baseline one two >fleet
	boots fleet
	sees sse4_2 aes lm
	sees_no pclmulqdq
	boots one
	sees pclmulqdq
	# A fleet that has more than this host
	sed 's/\("7.0.ebx": \)[0-9]*/\14294967295/' one >three
	is_refused three
}

check "cpu: the guest sees x86-64-v2" level_2
check "cpu: the guest sees x86-64-v3, or is refused" level_3
check "cpu: x86-64-v4 is refused in words" level_4
check "cpu: the guest sees what two hosts have in common" baseline
