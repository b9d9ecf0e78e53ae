#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: run.sh UNSTICK SILENT ON_TERMINAL
#
# `unstick run` from end to end, on real programs. Prints TAP.
# shellcheck disable=SC2317,SC2016 # the functions are called through point(); what is quoted is for the shell of the command
set -u
unstick=$1 silent=$2 on_terminal=$3
# shellcheck source=tests/command/tap.sh
. "$(dirname "$(readlink -f "$0")")/tap.sh"

# Runs it; its output in $out, what it says in $err, its status in $status.
run() {
	status=0
	"$unstick" run "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
	out=$(cat "$scratch/out") err=$(cat "$scratch/err")
}

# Python itself: a shim before it, such as pyenv's, makes calls of its own that may take long.
python=$(python3 -c 'import sys; print(sys.executable)' 2>/dev/null) || python=/no/python3

# Before a command: its own stderr goes to a file, $scratch/theirs. In one file lines of both could be mixed.
apart=(sh -c 'exec "$@" 2>"$0"' "$scratch/theirs")

# In the background: the script below, a file whose lines it may fill, for sh as $1. Its number in $runner.
start() { # options... -- script
	local script=${*: -1}
	set -- "${@:1:$#-1}"
	rm -f "$scratch/said"
	"$unstick" run "$@" sh -c "$script" sh "$scratch/said" >"$scratch/out" 2>"$scratch/err" &
	runner=$!
}

said() { # a line
	grep -qxs -- "$1" "$scratch/said"
}

end_of_runner() {
	status=0
	wait "$runner" 2>/dev/null || status=$?
	err=$(cat "$scratch/err")
}

need_python() {
	[ -x "$python" ] || skip "python3 is not installed"
}

# ---- the exit status

passes_the_status() {
	run -d 1h true
	equal status "$status" 0
	run -d 1h -- sh -c 'exit 7'
	equal status "$status" 7
	equal stderr "$err" ""
}

passes_a_death() {
	run -d 1h sh -c 'kill -TERM $$'
	equal status "$status" 143
}

tells_what_cannot_be_run() {
	run -d 1h /no/such/program
	equal status "$status" 127
	matches stderr "$err" '^unstick run: /no/such/program: cannot be run: No such file'
	run -d 1h no-such-program-anywhere
	equal status "$status" 127
	run -d 1h /
	equal status "$status" 126
	matches stderr "$err" '^unstick run: /: cannot be run: '
}

refuses_nonsense() {
	run 2 true
	equal status "$status" 125
	matches stderr "$err" '^unstick run: no limit given: did you mean --deadline 2\?$'
	local arguments
	for arguments in '' 'true' '-d 1h' '-d soon true' '-c 1y true' '-d 1 -s NOSUCH true' '-d 1 -s STOP true' '-d 1 -e EWHAT true' \
		'-d 1 --no-such true' '-d 0 true'; do
		# shellcheck disable=SC2086 # words
		run $arguments
		equal "status of '$arguments'" "$status" 125
		matches stderr "$err" "^Try 'unstick run --help'"
	done
}

help_fits() {
	run --help
	equal status "$status" 0
	[ "$(wc -l <<<"$out")" -le 24 ] || { echo "$out"; return 1; }
	lacks help "$out" '.{81}'
}

# ---- the deadline

python_cleans_up() {
	need_python
	run --deadline 3s -- "${apart[@]}" "$python" -c 'import time
try: time.sleep(1e6)
finally: print("finally")'
	equal status "$status" 124
	equal stdout "$out" finally
	matches stderr "$err" '^unstick run: [0-9]+/[0-9]+: in clock_nanosleep \(until its clock shows [0-9.]+s\), for [0-9.]+s: gave it ETIMEDOUT$'
	matches "its stderr" "$(cat "$scratch/theirs")" '^TimeoutError: \[Errno 110\]'
	lacks stderr "$err" 'sending'
}

all_threads_and_processes() {
	need_python
	run --deadline 3s -- "$python" -c 'import os, threading
def stay():
    try: os.read(os.pipe()[0], 1)
    except TimeoutError: os.write(1, b"freed\n")
child = os.fork()
threads = [threading.Thread(target=stay) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
if child: os.waitpid(child, 0)'
	equal status "$status" 124
	equal "count of freed" "$(grep -c freed <<<"$out")" 8
	lacks stderr "$err" 'sending'
}

# By the time that there is a line to write, the fd is another file.
tells_of_the_fd_before() {
	need_python
	run --deadline 1s -- "$python" -c 'import os
r, w = os.pipe()
try: os.read(r, 1)
except TimeoutError: os.dup2(os.open("/dev/null", os.O_RDONLY), r)'
	matches stderr "$err" 'in read on fd [0-9]+ \(pipe:.*gave it ETIMEDOUT'
	run --deadline 1s -- "$python" -c 'import os, select
poll = select.poll()
poll.register(os.pipe()[0])
try: poll.poll()
except TimeoutError: pass'
	matches stderr "$err" 'in poll \(fd [0-9]+ pipe:[^)]*\), for [0-9.]+s: gave it ETIMEDOUT'
}

other_error() {
	need_python
	run --deadline 3s --error ECANCELED -- "${apart[@]}" "$python" -c 'import time; time.sleep(1e6)'
	matches "its stderr" "$(cat "$scratch/theirs")" '^OSError: \[Errno 125\]'
}

nothing_to_end() {
	run -d 0.3 -g 0.2 sh -c 'trap "exit 3" TERM; while :; do :; done'
	equal status "$status" 124
	matches stderr "$err" 'no call could be ended: sending TERM$'
	run -d 0.3 -g 0.2 -p sh -c 'trap "exit 3" TERM; while :; do :; done'
	equal status "$status" 3
	run -d 0.3 -g 0.2 -s USR2 -p sh -c 'trap "exit 4" USR2; while :; do :; done'
	equal status "$status" 4
}

# With the grace of an hour only what is sent at once ends the test.
only_locks() {
	need_python
	run -d 1s -g 1h -- "$python" -c 'import threading
lock = threading.Lock()
lock.acquire()
lock.acquire()'
	equal status "$status" 124
	matches stderr "$err" 'no call could be ended: sending TERM$'
}

# It computes when the deadline comes, and is blocked only after that.
busy_at_the_deadline() {
	need_python
	run -d 0.2 -g 1h -- "$python" -c 'import os, time
r, w = os.pipe()
end = time.monotonic() + 1.5
while time.monotonic() < end: pass
try: os.read(r, 1)
except TimeoutError: print("cleans up")'
	equal status "$status" 124
	equal stdout "$out" "cleans up"
	lacks stderr "$err" 'sending'
}

term_then_kill() {
	run -d 0.3 -g 0.2 sh -c 'trap "" TERM; sleep 1h 2>/dev/null; while :; do :; done'
	equal status "$status" 137
	equal steps "$(grep -oE 'gave it|TERM|KILL' <<<"$err" | paste -sd' ')" "gave it TERM KILL"
}

covers_the_group() {
	start -d 0.3 -g 0.2 -- '(trap "" TERM; while :; do :; done) & echo $! >"$1"; wait'
	end_of_runner
	equal status "$status" 124
	matches stderr "$err" 'sending KILL'
	await is_gone "$(cat "$scratch/said")"
}

leaves_the_background() {
	start -d 1h -- 'sleep 1h >/dev/null 2>&1 & echo $! >"$1"'
	end_of_runner
	equal status "$status" 0
	has_state "$(cat "$scratch/said")" S
	kill "$(cat "$scratch/said")"
}

# With job control a pipeline is one process group, which its first command leads.
leaves_the_pipeline() {
	rm -f "$scratch/said"
	"$on_terminal" -- bash -c 'set -m; "$1" run -d 0.3 -g 0.2 sh -c "trap \"\" TERM; while :; do :; done" |
		sh -c "echo \$\$ >$2; exec sleep 1h"' bash "$unstick" "$scratch/said" >"$scratch/err" &
	await grep -q 'sending KILL' "$scratch/err"
	has_state "$(cat "$scratch/said")" S
	kill "$(cat "$scratch/said")"
	wait
}

foreground_is_the_command_alone() {
	start -d 0.3 -g 0.2 -f -- '(trap "" TERM; exec sleep 1h >/dev/null 2>&1) & echo $! >"$1"; while :; do :; done'
	end_of_runner
	equal status "$status" 124
	has_state "$(cat "$scratch/said")" S
	kill -KILL "$(cat "$scratch/said")"
}

ends_what_is_stopped() {
	start -d 0.3 -g 1h -- 'echo $$ >"$1"; kill -STOP $$'
	end_of_runner
	equal status "$status" 124
	await is_gone "$(cat "$scratch/said")"
}

quiet() {
	run -d 0.3 -g 0.2 -q sh -c 'trap "" TERM; while :; do :; done'
	equal status "$status" 137
	equal stderr "$err" ""
}

# ---- the call timeout

psql_says_it_itself() {
	need psql
	local port
	exec {hold}> >(exec "$silent" >"$scratch/port")
	await test -s "$scratch/port"
	port=$(cat "$scratch/port")
	run --call-timeout 2s -- "${apart[@]}" psql -h 127.0.0.1 -p "$port" -U nobody postgres -c 'select 1'
	exec {hold}>&-
	equal status "$status" 2
	matches "its stderr" "$(cat "$scratch/theirs")" '^psql: error: .*Connection timed out'
	matches stderr "$err" '^unstick run: [0-9]+/[0-9]+: in (poll|select|pselect6|recvfrom).*, for [0-9.]+s: gave it ETIMEDOUT$'
}

again_and_again() {
	need_python
	run -c 0.3 -- "$python" -c 'import os
r, w = os.pipe()
for i in range(3):
    try: os.read(r, 1)
    except TimeoutError: print("freed")'
	equal status "$status" 0
	equal "count of freed" "$(grep -c freed <<<"$out")" 3
	equal "count of lines" "$(grep -c 'in read on fd . (pipe:.*gave it ETIMEDOUT' <<<"$err")" 3
}

leaves_locks_and_loops() {
	need_python
	run -c 0.5 -- "$python" -c 'import os, select, threading
lock = threading.Lock()
lock.acquire()
loop = select.epoll()
threading.Thread(target=lock.acquire, daemon=True).start()
threading.Thread(target=loop.poll, daemon=True).start()
for i in range(3):
    try: os.read(os.pipe()[0], 1)
    except TimeoutError: pass
os._exit(5)'
	equal status "$status" 5
	equal "count of lines" "$(grep -c 'gave it' <<<"$err")" 3
	lacks stderr "$err" 'futex|epoll'
}

leaves_what_moves() {
	need_python
	run -c 0.5 -- "$python" -c 'import time
for i in range(100): time.sleep(0.01)'
	equal status "$status" 0
	equal stderr "$err" ""
}

leaves_who_waits_for_children() {
	run -c 0.3 -- sh -c 'sleep 1h 2>/dev/null; echo after $?'
	equal stdout "$out" 'after 1'
	equal "count of lines" "$(grep -c 'gave it' <<<"$err")" 1
	matches stderr "$err" 'in clock_nanosleep \(a sleep of 3600s\), for '
}

# ---- signals, and what is inherited

passes_signals_on() {
	start -d 1h -- 'trap "exit 9" USR1; echo ready >"$1"; while :; do sleep 0.01; done'
	await said ready
	kill -USR1 "$runner"
	end_of_runner
	equal "status after USR1" "$status" 9
	start -d 1h -- 'echo ready >"$1"; exec sleep 1h'
	await said ready
	kill -TERM "$runner"
	end_of_runner
	equal "status after TERM" "$status" 143
}

dies_without_harm() {
	start -d 1h -c 0.05 -- 'echo $$ >"$1"; while :; do sleep 0.01; done'
	await test -s "$scratch/said"
	kill -KILL "$runner"
	end_of_runner
	local pid
	pid=$(cat "$scratch/said")
	matches state "$(state_of "$pid")" '[RSD]'
	grep -q '^TracerPid:.0$' "/proc/$pid/status"
	kill -KILL "$pid"
}

inherits() {
	local look='grep -E "^(Sig(Ign|Blk|Cgt)|PPid):" /proc/self/status | grep -v PPid; readlink /proc/self/fd/5'
	exec 5</dev/zero
	trap '' HUP PIPE
	run -d 1h sh -c "$look"
	equal "the command's signals and fd 5" "$out" "$(sh -c "$look")"
	trap - HUP PIPE
	run -d 1h sh -c "$look"
	equal "the command's signals and fd 5" "$out" "$(sh -c "$look")"
}

closed_fds() {
	run -d 1h sh -c 'exec <&- ; exit 4'
	equal status "$status" 4
	run -d 1h sh -c 'exit 4' <&-
	equal status "$status" 4
	status=0
	"$unstick" run -d 1h sh -c 'exit 4' <&- >&- 2>&- || status=$?
	equal status "$status" 4
}

message_to_a_closed_pipe() {
	status=0
	{ "$unstick" run -c 0.2 sh -c 'sleep 1h 2>/dev/null; exit 6' 2>&1 >/dev/null || echo $? >"$scratch/status"; } | true
	equal status "$(cat "$scratch/status")" 6
}

# ---- at a terminal

interrupt_comes_once() {
	status=0
	out=$("$on_terminal" ready '^C' caught 'bye^J' -- "$unstick" run -d 1h \
		bash -c 'n=0; trap "n=\$((n+1)); echo caught" INT; echo ready; until read -r word; do :; done; echo "$word $n"; exit 8') || status=$?
	equal status "$status" 8
	matches "the terminal" "$out" '^bye 1'
}

interrupt_ends_both() {
	status=0
	out=$("$on_terminal" ready '^C' -- "$unstick" run -d 1h sh -c 'echo ready; exec sleep 1h') || status=$?
	equal status "$status" 130
}

# A shell without job control starts it in its own group; so it makes one, which is not that of the foreground.
reads_only_in_the_foreground() {
	status=0
	out=$("$on_terminal" -- sh -c "$unstick run -d 0.5 -g 1h cat; exit \$?") || status=$?
	equal status "$status" 124
	out=$("$on_terminal" ready 'word^J^D' -- sh -c "echo ready; $unstick run -d 1h -f cat; exit \$?") || status=$?
	matches "the terminal" "$out" '^word'
}

point "the command's exit status is passed on" passes_the_status
point "a command that dies by a signal: so does run" passes_a_death
point "126 and 127, with the reason" tells_what_cannot_be_run
point "125 for mistakes in the arguments" refuses_nonsense
point "--help fits 24 lines of 80" help_fits
point "deadline: CPython shows its traceback, runs finally blocks: 124" python_cleans_up
point "deadline: all threads of all processes of the group" all_threads_and_processes
point "the line has what the call was about: the fd as it was before, the fds of a poll, for how long" tells_of_the_fd_before
point "deadline: --error" other_error
point "deadline with nothing to end for half of the grace: the signal; --signal, --preserve-status" nothing_to_end
point "deadline with locks only: the signal at once" only_locks
point "deadline of a program that computes: its first call is ended" busy_at_the_deadline
point "deadline: calls, then TERM, then KILL: 137" term_then_kill
point "deadline: KILL for what the command leaves in the group" covers_the_group
point "before the deadline what is left behind is left alone" leaves_the_background
point "deadline: the other commands of a pipeline are left alone" leaves_the_pipeline
point "--foreground: the command alone" foreground_is_the_command_alone
point "deadline: a stopped command is ended" ends_what_is_stopped
point "--quiet says nothing" quiet
point "call timeout: psql on a silent server ends with its own message" psql_says_it_itself
point "call timeout: as often as needed" again_and_again
point "call timeout: locks and event loops are left alone" leaves_locks_and_loops
point "call timeout: who moves is left alone" leaves_what_moves
point "call timeout: not who waits for a child, but the child" leaves_who_waits_for_children
point "signals are passed on" passes_signals_on
point "killed, it leaves the command running and untraced" dies_without_harm
point "signals and fds are inherited as they were" inherits
point "closed standard fds" closed_fds
point "a message to a closed pipe ends nothing" message_to_a_closed_pipe
point "at a terminal: ^C comes to the command once" interrupt_comes_once
point "at a terminal: ^C ends both" interrupt_ends_both
point "at a terminal: reads in the foreground, and with --foreground" reads_only_in_the_foreground
finish
