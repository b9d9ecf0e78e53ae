#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: output.sh UNSTICK STUCK
#
# What the command says of itself, and what becomes of what it prints: a full disk, closed standard streams, help. Prints TAP.
# shellcheck disable=SC2317 # the functions are called through point()
set -u
unstick=$1 stuck=$2
# shellcheck source=tests/command/tap.sh
. "$(dirname "$(readlink -f "$0")")/tap.sh"

# Its output in $out, what it says in $err, its status in $status.
run() {
	status=0
	"$unstick" "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
	out=$(cat "$scratch/out") err=$(cat "$scratch/err")
}

# The same, with nowhere to write to.
run_full() {
	status=0
	"$unstick" "$@" >/dev/full 2>"$scratch/err" || status=$?
	err=$(cat "$scratch/err")
}

full() {
	local expected
	while read -r expected command; do
		# shellcheck disable=SC2086 # words
		run_full $command
		equal "status of $command" "$status" "$expected"
		matches "stderr of $command" "$err" '^unstick.*: standard output: No space left on device: '
	done <<<"1 --help
1 --version
1 ps $$
1 ps --json $$
1 ps --watch=10ms $$
1 wake --help
4 doctor
125 run --help"
}

watch_ends() {
	: >"$scratch/said"
	exec {hold}> >(exec "$stuck" flock >"$scratch/said")
	await grep -q "^flock " "$scratch/said"
	local pid
	read -r _ pid _ <"$scratch/said"
	run_full watch -b 10ms -i 5ms "$pid"
	exec {hold}>&-
	equal status "$status" 1
	matches stderr "$err" '^unstick watch: standard output: No space left on device'
}

closed() {
	status=0
	"$unstick" ps $$ >&- 2>"$scratch/err" || status=$?
	equal status "$status" 1
	matches stderr "$(cat "$scratch/err")" '^unstick ps: standard output: Bad file descriptor'
	status=0
	"$unstick" ps 2147483646 2>&- <&- || status=$?
	equal status "$status" 1
	# All three: nothing it opens is taken for one of them.
	"$unstick" run -d 1h -- sh -c '! test -e /proc/self/fd/0 && ! test -e /proc/self/fd/1' <&- >&-
}

speaks_of_itself() {
	run --version
	local version=$out
	matches version "$version" '^unstick [0-9]'
	run -V
	equal -V "$out" "$version"
	run --help
	local help=$out
	run -h
	equal -h "$out" "$help"
	run help
	equal help "$out" "$help"
	run ps --help
	help=$out
	run help ps
	equal 'help ps' "$out" "$help"
	run help no-such
	equal status "$status" 2
	matches stderr "$err" '^unstick: no-such: no such command: there are ps, wake, watch, run or doctor$'
	run no-such
	matches stderr "$err" '^unstick: no-such: no such command: there are ps, wake, watch, run or doctor$'
	run
	matches stderr "$err" '^unstick: no command given: ps, wake, watch, run or doctor$'
}

help_fits() {
	local name
	for name in ps wake watch run doctor; do
		run "$name" --help
		equal "status of $name" "$status" 0
		[ "$(wc -l <<<"$out")" -le 24 ] || { echo "$name: $(wc -l <<<"$out") lines"; return 1; }
		lacks "help of $name" "$out" '.{81}'
	done
}

point "an output that cannot be written is told, and is a failure" full
point "watch ends when nobody can read what it says" watch_ends
point "closed standard streams" closed
point "help, version, and commands that there are not" speaks_of_itself
point "--help fits 24 lines of 80" help_fits
finish
