#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: watch.sh UNSTICK STUCK
#
# unstick watch, on threads that are really stuck: each is told of once, freed when asked to; it ends with the process. Prints TAP.
# shellcheck disable=SC2317 # the functions are called through point()
set -u
unstick=$1 stuck=$2
# shellcheck source=tests/command/tap.sh
. "$(dirname "$(readlink -f "$0")")/tap.sh"

# start NAME: $pid and $tid; it ends when fd $hold is closed.
start() {
	: >"$scratch/said"
	exec {hold}> >(exec "$stuck" "$1" >"$scratch/said")
	await grep -q "^$1 " "$scratch/said"
	read -r _ pid tid _ <"$scratch/said"
}

# In the background; its output in a file, its number in $watcher.
watch() {
	: >"$scratch/out" # before the shell does it, in a process of its own
	"$unstick" watch "$@" >"$scratch/out" 2>"$scratch/err" {hold}>&- &
	watcher=$!
}

# What is watched ends, and so does the watch.
end() {
	exec {hold}>&-
	status=0
	wait "$watcher" || status=$?
	out=$(cat "$scratch/out")
}

told_once() {
	start flock
	watch --blocked-longer 50ms --interval 5ms --call flock "$pid"
	await test -s "$scratch/out"
	sleep 0.3 # sixty more looks
	end
	equal status "$status" 0
	equal lines "$(wc -l <<<"$out")" 1
	matches out "$out" "^[0-9-]+T[0-9:]+[+-][0-9]+ $pid/$tid: in flock on fd [0-9]+ \(.*locked-0\), for [0-9.]+s; held by [0-9]+ \(stuck\): 'unstick wake $pid/$tid' can free it$"
}

who_ends_the_wait() {
	start mutex
	watch -b 50ms -i 5ms -c futex "$pid"
	await test -s "$scratch/out"
	end
	matches out "$out" "$pid/$tid: in futex \\(a lock\\), for [0-9.]+s: cannot be freed: only its owner can free it; a condition: who signals it$"
	start unix-recv
	watch -b 50ms -i 5ms -c recvfrom "$pid"
	await test -s "$scratch/out"
	end
	matches out "$out" "; other end: [0-9]+ \\(stuck\\): 'unstick wake"
	start wait4
	watch -b 50ms -i 5ms -c wait4 "$pid"
	await test -s "$scratch/out"
	end
	matches out "$out" "; child [0-9]+ \\(stuck\\)"
}

as_json() {
	start mutex
	watch -b 50ms -i 5ms -c futex --json "$pid"
	await test -s "$scratch/out"
	end
	matches out "$out" '^\{"time":"[^"]+","pid":[0-9]+,"tid":[0-9]+,"blocked":[0-9.]+,"at_least":(true|false),"name":"stuck",.*"call":"futex".*"free":"no","why":"a lock.*","became":null\}$'
}

frees() {
	start tcp-recv
	watch -b 50ms -i 5ms -c recvfrom --wake --error ETIMEDOUT "$pid"
	await grep -q '^ended -110$' "$scratch/said"
	await test -s "$scratch/out"
	end
	matches out "$out" ': freed, ETIMEDOUT'
}

# The thread goes on at once, and its fd becomes another file.
tells_of_the_fd_before() {
	need python3
	exec {hold}> >(exec python3 -c 'import os, sys
r, w = os.pipe()
print("python", os.getpid(), os.getpid(), r, file=open(sys.argv[1], "w"), flush=True)
try: os.read(r, 1)
except OSError: os.dup2(os.open("/dev/null", os.O_RDONLY), r)
sys.stdin.read()' "$scratch/said")
	await grep -qs '^python ' "$scratch/said"
	read -r _ pid tid _ <"$scratch/said"
	watch -b 50ms -i 5ms -c read --wake "$pid"
	await test -s "$scratch/out"
	end
	matches out "$out" 'in read on fd [0-9]+ \(pipe:.*: freed, ECANCELED'
}

fails() { # status, message, arguments
	local expected=$1 message=$2 status=0
	shift 2
	"$unstick" watch "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
	equal status "$status" "$expected"
	matches stderr "$(cat "$scratch/err")" "$message"
}

waits_for_a_name() {
	exec {hold}</dev/null # as start() has it
	watch -b 1h -i 5ms no-such-name
	await grep -q '^unstick watch: no-such-name: none yet: waiting$' "$scratch/err"
	kill "$watcher"
	wait "$watcher" || true
}

tells_mistakes() {
	fails 2 'what is too long' 1
	fails 2 'which process' -b 1s
	fails 2 'soon: not a time' -b soon 1
	fails 2 'nothing is freed' -b 1s -e EIO 1
	fails 1 '2147483646: no such process' -b 1s 2147483646
}

point "a stuck thread is told of once: who, in what, on what, for how long, who holds it, what to do" told_once
point "who can end the wait: the owner of a lock, the other end, a child" who_ends_the_wait
point "--json: an object a line; a lock cannot be freed, and why" as_json
point "--wake frees it with the error that was asked for, and says so" frees
point "--wake: the line has the fd as it was before" tells_of_the_fd_before
point "a name that nobody has yet is waited for" waits_for_a_name
point "mistakes are told" tells_mistakes
finish
