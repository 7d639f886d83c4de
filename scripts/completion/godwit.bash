# SPDX-License-Identifier: Apache-2.0
# Completion of godwit and godwit-agent for bash: the command itself says how its words go on.
# shellcheck shell=bash

_godwit() {
	local words=() word kept found
	# bash parts words at = and :, they do not.
	for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
		if [[ ${#words[@]} -gt 1 && (${word:0:1} == [=:] || ${words[-1]: -1} == [=:]) ]]; then
			words[-1]+=$word
		else
			words+=("$word")
		fi
	done
	word=${words[-1]}
	kept=${word%"${word##*[=:]}"}
	found=$("$1" complete -- "${words[@]}" 2>/dev/null) || compopt -o default 2>/dev/null
	COMPREPLY=()
	[[ ! $found ]] || mapfile -t COMPREPLY <<<"$found"
	COMPREPLY=("${COMPREPLY[@]#"$kept"}")
	[[ $found != *= ]] || compopt -o nospace 2>/dev/null
}
complete -F _godwit godwit godwit-agent
