#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: ps.sh UNSTICK STUCK ON_TERMINAL
#
# What `unstick ps` takes for a process, an option, a column; what it says when it is misunderstood; the table on terminals. Prints TAP.
# shellcheck disable=SC2317,SC2016 # the functions are called through point(); what is quoted is for another shell
set -u
unstick=$1 stuck=$2 on_terminal=$3
# shellcheck source=tests/command/tap.sh
. "$(dirname "$(readlink -f "$0")")/tap.sh"

# Its output in $out, what it says in $err, its status in $status.
ps() {
	status=0
	"$unstick" ps "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
	out=$(cat "$scratch/out") err=$(cat "$scratch/err")
}

# start NAME: $pid and $tid; it ends when fd $hold is closed.
start() {
	: >"$scratch/said"
	exec {hold}> >(exec "$stuck" "$1" >"$scratch/said")
	await grep -q "^$1 " "$scratch/said"
	read -r _ pid tid _ <"$scratch/said"
}

interval() {
	start flock
	local arguments
	for arguments in "-w $pid" "--watch $pid"; do
		# shellcheck disable=SC2086 # words
		"$unstick" ps $arguments >"$scratch/out" 2>"$scratch/err" {hold}>&- &
		await test -s "$scratch/out"
		kill $!
		matches stderr "$(cat "$scratch/err")" "^unstick ps: $pid is taken as a PID; for the interval write --watch=$pid$"
	done
	"$unstick" ps -n -w0.01 -c pid "$pid" >"$scratch/out" 2>"$scratch/err" {hold}>&- &
	await grep -q "$pid" "$scratch/out"
	await eval '[ "$(grep -c "$pid" "$scratch/out")" -ge 3 ]'
	kill $!
	equal stderr "$(cat "$scratch/err")" ""
}

once() {
	start flock
	ps -n -c tid "$pid" "$pid" stuck stuck
	equal rows "$(grep -cw "$tid" <<<"$out")" 1
}

kernel_threads() {
	[ "$(cat /proc/2/comm 2>/dev/null)" = kthreadd ] || skip "no thread of the kernel can be seen here"
	ps --json --all 2
	matches out "$out" '"call": "\(kernel\)"'
	matches out "$out" '"fd": null'
	matches out "$out" '"free": "no"'
}

point "-w TIME is a PID and -w1 an interval" interval
point "what is meant twice is listed once" once
point "threads of the kernel are in no call" kernel_threads
finish
