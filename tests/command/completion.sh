#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: completion.sh COMPLETION UNSTICK
#
# The completion for bash: sources it and completes. What it offers is held against what the command itself takes. Prints TAP.
# shellcheck disable=SC2317 # the functions are called through point()
set -u
# shellcheck source=tests/command/tap.sh
. "$(dirname "$(readlink -f "$0")")/tap.sh"
# shellcheck source=tools/completion/unstick
. "$1"
mkdir "$scratch/bin"
ln -s "$(readlink -f "$2")" "$scratch/bin/unstick"
PATH=$scratch/bin:$PATH

# Completes the last of these words; the offers in $offers, one a line.
complete_words() {
	COMP_WORDS=(unstick "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_unstick unstick "${*: -1}" unstick
	offers=$(printf '%s\n' "${COMPREPLY[@]}")
}

offers() { # what is offered, in this order, for the words
	local expected=$1
	shift
	complete_words "$@"
	equal "offered for '$*'" "$(paste -sd' ' <<<"$offers")" "$expected"
}

is_offered() { # word, for the words
	local expected=$1
	shift
	complete_words "$@"
	grep -qxF -- "$expected" <<<"$offers" || { echo "'$expected' is not offered for '$*' but: $offers"; return 1; }
}

subcommands() {
	offers "wake watch" wa
	local name
	for name in $(unstick --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
		is_offered "$name" ""
	done
}

# Every long option that --help shows, and no other.
options_of_help() {
	local name
	for name in ps wake watch doctor run; do
		complete_words "$name" --
		equal "options of $name" "$(sort <<<"$offers" | paste -sd' ')" \
			"$(unstick "$name" --help | grep -oE '^ +(-[a-zA-Z], )?--[a-z-]+' | grep -oE '\-\-[a-z-]+' | sort -u | paste -sd' ')"
	done
}

# Each of them is taken: what is wrong then is something else.
columns_of_help() {
	local name
	complete_words ps --columns ""
	for name in $offers; do
		unstick ps --columns "$name" $$ >/dev/null
	done
	offers "pid,tid" ps --columns pid,ti
	offers "at_least" ps --sort at
}

values() {
	is_offered 30s ps --blocked-longer ""
	offers "ECANCELED ECONNRESET" wake --error EC
	offers "USR1 USR2" run --signal US
	offers "always" ps --color = al
	offers "always never auto" doctor --color =
	is_offered 5m watch --blocked-longer 5
}

calls_of_now() {
	is_offered wait4 wake --call wa
}

processes_and_threads() {
	is_offered $$ wake "$$"
	is_offered $$/$$ wake "$$/"
	is_offered "$(cat /proc/$$/comm)" ps ""
}

command_of_run() {
	is_offered sleep run --deadline 3s sle
	is_offered sleep run --deadline = 3s -- sle
	is_offered --deadline run --dea
	cd "$scratch"
	touch a-file
	offers a-file run -d 3s cat a-f
	offers a-file run --deadline 3s --quiet -- cat --no-such a-f
}

point "subcommands" subcommands
point "the options of each are those of its --help" options_of_help
point "columns" columns_of_help
point "values of options" values
point "calls: those that threads are in" calls_of_now
point "processes and threads" processes_and_threads
point "run: the command and its arguments" command_of_run
finish
