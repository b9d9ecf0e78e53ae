#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: live.sh SILENT-SERVER
#
# `unstick wake` on real programs that wait for a server which says nothing, or for a person: each ends by itself, with its own message,
# by no signal. And on programs that no errno can help: each is refused with the reason, lives on, and does not spin.
# The command is $UNSTICK_COMMAND. A program that is not installed is skipped by name. Prints TAP.
# shellcheck disable=SC2016,SC2317 # programs in other languages, in single quotes; functions called through frees, trap, wait_until
set -u
scratch=$(mktemp -d)
number=0 failed=0 children=()
clean_up() {
	local pid
	for pid in "${children[@]}"; do kill -9 "$pid" 2>/dev/null; done
	rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

point() { # ok-or-not, name, file with what to say if not
	number=$((number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		failed=1
	fi
	sed 's/^/# /' "$3"
}

skip() { # name, why
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# Up to 20 s, for what only looks at a state.
wait_until() {
	local rounds=0
	until "$@"; do
		rounds=$((rounds + 1))
		[ $rounds -lt 400 ] || return 1
		sleep 0.05
	done
}

is_over() {
	! kill -0 "$1" 2>/dev/null || grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null
}

can_be_freed() {
	"$UNSTICK_COMMAND" wake --dry-run "$@" >/dev/null 2>&1
}

is_in() { # pid, call: any thread of it
	"$UNSTICK_COMMAND" wake --dry-run "$1" 2>&1 | grep -Eq " in $2"
}

end() { # pid
	kill -9 "$1"
	wait "$1"
} 2>/dev/null

# 128 + a signal is what a shell makes of one; some programs end with 254 or 255 by themselves.
by_no_signal() { # exit status
	[ "$1" -le 128 ] || [ "$1" -gt 192 ]
}

ticks() {
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

# stdin of what is started: a FIFO that nobody writes to, and that this shell keeps open.
mkfifo "$scratch/silence"
exec 9<>"$scratch/silence"

start() { # command...
	"$@" <"$scratch/silence" >"$scratch/output" 2>&1 9>&- &
	pid=$!
	children+=("$pid")
}

frees() { # name, message that the program must give, command...
	local name=$1 message=$2 verdict=1 status
	shift 2
	: >"$scratch/told"
	start "$@"
	if wait_until can_be_freed "$pid"; then
		"$UNSTICK_COMMAND" wake "$pid" >"$scratch/told" 2>&1
		if wait_until is_over "$pid"; then
			wait "$pid"
			status=$?
			echo "exit status $status" >>"$scratch/told"
			if by_no_signal $status && grep -Eq "$message" "$scratch/output"; then verdict=0; fi
		fi
	else
		echo "it never came to a call that can be freed" >"$scratch/told"
	fi
	end "$pid"
	tail -n 3 "$scratch/output" >>"$scratch/told"
	point $verdict "$name" "$scratch/told"
}

refuses() { # name, reason, call that it is blocked in, command...
	local name=$1 reason=$2 call=$3 verdict=1 status before
	shift 3
	start "$@"
	if wait_until is_in "$pid" "$call"; then
		sleep 0.5 # an interpreter's other threads have things to do at first
		before=$(ticks "$pid")
		"$UNSTICK_COMMAND" wake "$pid" >"$scratch/told" 2>&1
		status=$?
		sleep 0.3
		echo "exit status $status, $(($(ticks "$pid") - before)) ticks of CPU in 30" >>"$scratch/told"
		if [ $status = 1 ] && [ $(($(ticks "$pid") - before)) -lt 10 ] && grep -Eq "in $call.*: $reason" "$scratch/told"; then
			verdict=0
		fi
	else
		echo "it was never seen in $call" >"$scratch/told"
	fi
	end "$pid"
	point $verdict "$name" "$scratch/told"
}

has() { # program, name of the point
	command -v "$1" >/dev/null && return 0
	skip "$2" "$1 is not installed"
	return 1
}

coproc SERVER { "$1"; }
children+=("$SERVER_PID")
read -r port <&"${SERVER[0]}"

python_points() { # interpreter, version
	frees "CPython $2, socket recv" 'OSError.*125' "$1" -c \
		"import socket; socket.create_connection(('127.0.0.1', $port)).recv(1)"
	frees "CPython $2, os.read" 'OSError.*125' "$1" -c 'import os; os.read(0, 1)'
	frees "CPython $2, time.sleep" 'OSError.*125' "$1" -c 'import time; time.sleep(1e6)'
	frees "CPython $2, urlopen" 'Errno 125' "$1" -c \
		"import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/')"
	refuses "CPython $2, Lock.acquire" 'only its owner can free it' futex "$1" -c \
		'import threading; l = threading.Lock(); l.acquire(); l.acquire()'
	refuses "CPython $2, Thread.join" 'only its owner can free it' futex "$1" -c '
import threading
def wait(): l = threading.Lock(); l.acquire(); l.acquire()
t = threading.Thread(target=wait); t.start(); t.join()'
}

seen=' '
for python in /usr/bin/python3 /usr/bin/python3.[0-9]* /usr/local/bin/python3.[0-9]* "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
	version=$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null) || continue
	case $seen in *" $version "*) continue ;; esac
	seen+="$version "
	python_points "$python" "$version"
done
for minor in 8 11 12 13; do
	case $seen in *" 3.$minor."*) ;; *) skip "CPython 3.$minor" 'it is not installed' ;; esac
done

has psql psql && frees psql 'Operation cancell?ed' psql -h 127.0.0.1 -p "$port" -U nobody -c 'select 1' postgres
has mysql mysql && frees mysql 'ERROR 20[0-9][0-9]' mysql -h 127.0.0.1 -P "$port" -u nobody -e 'select 1'
has curl curl && frees curl 'curl: \([0-9]+\)' curl -sS "http://127.0.0.1:$port/"
has ssh ssh && frees ssh 'Operation cancell?ed|Connection' ssh -F none -o BatchMode=yes -p "$port" 127.0.0.1
has ldapsearch ldapsearch && frees ldapsearch "Can't contact LDAP server|Operation" ldapsearch -x -H "ldap://127.0.0.1:$port" -b ''
has redis-cli redis-cli && frees redis-cli 'Operation cancell?ed' redis-cli -h 127.0.0.1 -p "$port" PING
frees 'bash, read' 'read error.*Operation cancell?ed' bash -c 'read -r line || exit 3'

if has java 'Java, Socket.read'; then
	cat >"$scratch/Wait.java" <<'JAVA'
class Wait {
	public static void main(String[] a) throws Exception {
		if (a[0].equals("read"))
			new java.net.Socket("127.0.0.1", Integer.parseInt(a[1])).getInputStream().read();
		else
			Thread.currentThread().join();
	}
}
JAVA
	if command -v javac >/dev/null && javac -d "$scratch" "$scratch/Wait.java" 2>/dev/null; then
		frees 'Java, Socket.read' 'SocketException' java -cp "$scratch" Wait read "$port"
		refuses 'Java, Thread.join' 'only its owner can free it' futex java -cp "$scratch" Wait join
	else
		skip 'Java, Socket.read and Thread.join' 'javac is not installed'
	fi
fi
has node Node && refuses Node 'an event loop' 'epoll_p?wait' node -e 'setInterval(() => {}, 1e6)'

echo "1..$number"
exit $failed
