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

# The table on a terminal of so many columns, without colours.
on_columns() {
	"$on_terminal" -- sh -c 'stty cols "$1"; shift; exec "$@"' sh "$1" "$unstick" ps --color=never "${@:2}" | tr -d '\r'
}

# Nothing is wider than the terminal, and what a person cannot do without is whole.
tables() {
	local columns long waiter
	long=$(printf 'x%.0s' {1..120})
	touch "$scratch/$long"
	exec {lock}>"$scratch/$long"
	flock "$lock"
	flock "$scratch/$long" true {lock}>&- &
	waiter=$!
	await grep -qs '^73 ' /proc/$waiter/syscall
	start mutex
	for columns in 80 132 200; do
		out=$(on_columns "$columns" "$pid" $waiter)
		lacks "$columns columns" "$out" ".{$((columns + 1))}"
		matches "$columns columns" "$out" "^ *$waiter +$waiter +flock .*flock +(fd|[0-9]+) .*\\.\\.x+ +$BASHPID .*yes *$"
		matches "$columns columns" "$out" "^ *$pid +$tid +stuck .*futex .*no.* lock|no +a lock"
	done
	matches narrow "$(on_columns 80 "$pid" $waiter)" '^ *PID +TID +NAME +BLOCKED +CALL +OBJECT +HOLDER +FREE *$'
	matches wide "$(on_columns 200 "$pid" $waiter)" 'no +a lock'
	ps -c object $waiter
	matches "asked for" "$out" "$long$"
	flock -u "$lock"
	wait $waiter
}

of_the_process() {
	need python3
	printf 'import sys\nprint("ready", flush=True)\nsys.stdin.read()\n' >"$scratch/a-service.py"
	mkfifo "$scratch/in"
	(cd "$scratch" && exec python3 -u ./a-service.py $'tab\there' <"$scratch/in" >"$scratch/said") &
	local service=$!
	exec {hold}>"$scratch/in"
	await grep -qs ready "$scratch/said"
	await has_state "$service" S
	ps -n -c pid,user,command a-service.py
	matches out "$out" "^ *$service +$(id -un) +[^ ]*python[^ ]* -u ./a-service.py tab\?here$"
	ps -J "$service"
	matches JSON "$out" '"command": ".*a-service.py tab\?here"'
	matches JSON "$out" "\"user\": \"$(id -un)\""
	exec {hold}>&-
	wait "$service"
}

filters() {
	start mutex
	ps -n -c call --call futex "$pid"
	equal calls "$(sort -u <<<"$out" | tr -d ' ')" futex
	ps -n -c call,fd --fd 0 "$pid"
	lacks calls "$out" futex
	ps -f 4711 "$pid"
	matches stderr "$err" '^unstick ps: none of the [0-9]+ threads is blocked in such a call$'
	local other
	other=$(basename "$(printf '%s\n' /proc/"$pid"/task/* | grep -v "/$pid$" | head -1)")
	ps "$other"
	equal status "$status" 1
	equal stderr "$err" "unstick ps: $other: a thread of process $pid: say $pid"
	ps -c all "$pid"
	matches columns "$out" '^ *PID +TID +USER .*COMMAND +AT_LEAST *$'
}

point "-w TIME is a PID and -w1 an interval" interval
point "what is meant twice is listed once" once
point "threads of the kernel are in no call" kernel_threads
point "80, 132 and 200 columns: names, holders and verdicts whole, objects cut" tables
point "the columns user and command; a script is found by its name" of_the_process
point "--call, --fd; all columns; the number of a thread" filters
finish
