#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# unstick watch, on threads that are really stuck: each is told of once, frees it when asked to, ends with the process. Prints TAP.
set -u
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$scratch"' EXIT
number=0 failed=0

point() { # name, status of what was tested; what the command printed as comments
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		sed 's/^/# /' "$scratch"/out "$scratch"/err
		failed=1
	fi
}

# start NAME: pid and tid; the stuck process ends when fd `keep` is closed.
start() {
	mkfifo "$scratch/in.$1"
	: >"$scratch/said"
	"$STUCK_PROGRAM" "$1" <"$scratch/in.$1" >"$scratch/said" &
	exec {keep}>"$scratch/in.$1"
	until_true "grep -q '^$1 ' '$scratch/said'" || exit 1
	read -r _ pid tid _ <"$scratch/said"
}

stop() {
	exec {keep}>&-
	wait "$pid"
}

# until_true CONDITION: evaluated until it holds, for half a minute.
until_true() {
	for _ in {1..3000}; do
		eval "$1" && return 0
		sleep 0.01
	done
	return 1
}

watch() {
	: >"$scratch/out" # before the shell does it, in a process of its own
	"$UNSTICK_COMMAND" watch "$@" >"$scratch/out" 2>"$scratch/err" {keep}>&- &
	watcher=$!
}

# ---- told of once, then again when it is stuck anew
start flock
watch --blocked-longer 50ms --interval 5ms --call flock "$pid"
until_true '[ -s "$scratch/out" ]'
sleep 0.3 # sixty more looks
stop
wait "$watcher"
status=$?
[ $status -eq 0 ] && [ "$(wc -l <"$scratch/out")" -eq 1 ]
point "a stuck thread is told of once; the watch ends with the process" $?
grep -Eq "^[0-9-]+T[0-9:]+[+-][0-9]+ $pid/$tid: in flock on fd [0-9]+ \(.*locked-0\), for [0-9.]+s; held by [0-9]+ \(stuck\): 'unstick wake $pid/$tid' can free it$" "$scratch/out"
point "the line says who, in what, on what, for how long, who holds it, what to do" $?

start mutex
watch -b 50ms -i 5ms -c futex --json "$pid"
until_true '[ -s "$scratch/out" ]'
grep -Eq '^\{"time":"[^"]+","pid":[0-9]+,"tid":[0-9]+,"blocked":[0-9.]+,"at_least":(true|false),"name":"stuck",.*"call":"futex".*"free":"no","why":"a lock.*","became":null\}$' "$scratch/out"
point "--json: an object a line; a lock cannot be freed, and why" $?
stop
wait "$watcher"

# ---- freed
start tcp-recv
watch -b 50ms -i 5ms -c recvfrom --wake --error ETIMEDOUT "$pid"
until_true 'grep -q "^ended -110$" "$scratch/said"'
point "--wake frees it with the error that was asked for" $?
until_true '[ -s "$scratch/out" ]'
grep -q ': freed, ETIMEDOUT' "$scratch/out"
point "and says so" $?
stop
wait "$watcher"

# ---- mistakes
fails() { # name, message, arguments
	local name=$1 message=$2
	shift 2
	"$UNSTICK_COMMAND" watch "$@" >"$scratch/out" 2>"$scratch/err"
	[ $? -eq 2 ] && grep -q -- "$message" "$scratch/err"
	point "$name" $?
}
fails 'no time' 'what is too long' 1
fails 'no process' 'which process' -b 1s
fails 'a wrong time' 'soon: not a time' -b soon 1
fails '--error without --wake' 'nothing is freed' -b 1s -e EIO 1
"$UNSTICK_COMMAND" watch -b 1s 2147483646 >"$scratch/out" 2>"$scratch/err"
[ $? -eq 1 ] && grep -q '2147483646: no such process' "$scratch/err"
point 'a process that is not there' $?

echo "1..$number"
exit $failed
