#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# acpi.sh TEST_ACPI: every table disassembles and compiles again without error or warning.
set -euo pipefail
shopt -s inherit_errexit

command -v iasl >/dev/null || { echo "acpi.sh: iasl is missing; install acpica-tools" >&2; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ACPI_DUMP=$dir "$1"
failed=0
for table in "$dir"/*.aml; do
	name=${table##*/} source=${table%.aml}.dsl
	iasl -d "$table" >"$dir/log" 2>&1 || true
	iasl -p "$dir/again" "$source" >>"$dir/log" 2>&1 || true
	# Resources that iasl cannot read it shows as bytes, and says nothing.
	if grep -qiE 'error[^s]|warning[^s]|invalid|incorrect|unknown|_CRS, Buffer' "$dir/log" "$source" ||
		! grep -q '0 Errors, 0 Warnings' "$dir/log"; then
		echo "acpi.sh: iasl is not content with $name:" >&2
		cat "$dir/log" >&2
		failed=1
	fi
done
exit "$failed"
