#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: doctor.sh UNSTICK REFUSED ON_TERMINAL HELPER
#
# `unstick doctor` where things are in order, and where they are refused in the ways in which they are refused out there. A claim of it
# is held against the environment that was made, not against another look of its own. Prints TAP.
# shellcheck disable=SC2317,SC2016 # the functions are called through point(); what is quoted is for another shell
set -u
unstick=$(readlink -f "$1") refused=$2 on_terminal=$3 helper=$(readlink -f "$4")
# shellcheck source=tests/command/tap.sh
. "$(dirname "$(readlink -f "$0")")/tap.sh"
export UNSTICK_HELPER=$helper
unset UNSTICK_SIGNAL UNSTICK_ENGINE

# Runs the command, which ends in a doctor: its output in $out, its status in $status.
examine() {
	status=0
	out=$("$@" 2>&1) || status=$?
}

doctor() {
	examine "$@" "$unstick" doctor
}

row() { # check, what the rest of its line is to match
	matches "the output" "$out" "^$1 +$2"
}

in_order() {
	doctor
	row signal 'ok +library SIGURG'
	row wake 'ok +library a poll'
	row proc-syscall 'ok '
	row proc-wchan 'ok '
	row helper 'ok +library started'
	local expected=0
	! grep -qE '(limited|missing) +library ' <<<"$out" || expected=1
	equal status "$status" "$expected"
}

usage() {
	local arguments
	for arguments in --no-such 1234 --color=pink; do
		examine "$unstick" doctor "$arguments"
		equal "status of $arguments" "$status" 2
		matches "the output" "$out" "^Try 'unstick doctor --help'"
	done
	examine "$unstick" doctor --help
	equal status "$status" 0
	[ "$(wc -l <<<"$out")" -le 24 ] || return 1
	lacks help "$out" '.{81}'
}

uring_refused() {
	local mode
	for mode in eperm enosys enter; do
		doctor "$refused" "$mode"
		row io_uring 'limited +library refused by a seccomp filter of this process$'
		matches "the output" "$out" '^  The engine uses poll'
		equal status "$status" 1
	done
}

uring_kills() {
	doctor "$refused" kill
	row io_uring 'missing +library a seccomp filter kills who tries it$'
	row memlock 'ok '
	equal status "$status" 1
}

uring_not_wanted() {
	doctor env UNSTICK_ENGINE=poll
	row io_uring 'limited +library not tried: UNSTICK_ENGINE is poll$'
	equal status "$status" 1
}

# With another value in a file of /proc/sys, seen by nobody else.
with_setting() { # file, value, command...
	[ "$(id -u)" -eq 0 ] || skip "needs root, to mount a value over $1"
	[ -e "$1" ] || skip "this kernel has no $1"
	echo "$2" >"$scratch/setting"
	examine unshare --mount sh -c 'mount --bind "$1" "$2" && shift 2 && exec "$@"' sh "$scratch/setting" "$1" "${@:3}"
}

uring_disabled() {
	local setting=/proc/sys/kernel/io_uring_disabled
	with_setting "$setting" 2 "$refused" eperm "$unstick" doctor
	row io_uring 'limited +library refused to everybody: kernel.io_uring_disabled is 2$'
	with_setting "$setting" 1 setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$refused" eperm "$unstick" doctor
	row io_uring 'limited +library refused to ordinary users: kernel.io_uring_disabled is 1$'
	with_setting "$setting" 1 "$unstick" doctor
	row io_uring 'ok '
}

little_memlock() {
	doctor "$refused" memlock
	lacks "the output" "$out" '^1..0 # SKIP' || skip "the mode memlock cannot be had here"
	row memlock 'limited +library 64 KiB a user: about 2 rings'
	equal status "$status" 1
}

signals() {
	doctor env UNSTICK_SIGNAL=USR1
	row signal 'ok +library SIGUSR1, by UNSTICK_SIGNAL$'
	doctor env UNSTICK_SIGNAL=KILL
	row signal 'limited +library SIGURG: UNSTICK_SIGNAL=KILL cannot be used$'
	equal status "$status" 1
	trap '' URG
	doctor
	row signal 'limited +library SIGRTMIN\+[0-9]+: SIGURG is ignored'
	row wake 'ok '
}

no_signal() {
	local number
	trap '' URG
	for number in {34..64}; do trap '' "$number"; done
	doctor
	row signal 'missing '
	row wake 'missing '
	equal status "$status" 3
}

no_helper() {
	doctor env UNSTICK_HELPER=/no/such/helper
	row helper 'limited +library helper: /no/such/helper was not started'
	equal status "$status" 1
}

no_proc() {
	[ "$(id -u)" -eq 0 ] || skip "needs root, to unmount /proc for itself"
	examine unshare --mount sh -c 'umount -l /proc && exec "$1" doctor' sh "$unstick"
	row proc-syscall 'limited '
	row proc-sched 'limited +command'
	row wake 'limited .*EINTR$'
	equal status "$status" 1
}

hidden() {
	[ "$(id -u)" -eq 0 ] || skip "needs root, to mount /proc for itself"
	cp "$unstick" "$scratch/unstick"
	chmod 755 "$scratch" "$scratch/unstick"
	examine unshare --mount sh -c 'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$1" doctor' \
		sh "$scratch/unstick"
	row processes 'limited +command only your own: /proc is mounted with hidepid$'
}

ordinary_user() {
	[ "$(id -u)" -eq 0 ] || skip "needs root, to be somebody else"
	cp "$unstick" "$scratch/unstick"
	chmod 755 "$scratch" "$scratch/unstick"
	examine setpriv --reuid=65534 --regid=65534 --clear-groups "$scratch/unstick" doctor
	row processes 'limited +command your own, in full$'
	row ptrace '(limited|missing) +command (your own processes|only children|root only|nobody)'
	lacks "the output" "$out" '^(signal|wake|proc-syscall) +missing'
}

yama() {
	local setting=/proc/sys/kernel/yama/ptrace_scope
	with_setting "$setting" 3 "$unstick" doctor
	row ptrace 'missing +command nobody may trace'
	with_setting "$setting" 2 setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace "$unstick" doctor
	row ptrace 'missing +command root only'
	with_setting "$setting" 1 setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace "$unstick" doctor
	row ptrace 'limited +command only children'
}

json() {
	need python3
	examine "$unstick" doctor --json
	python3 -c 'import json, sys
checks = json.load(sys.stdin)["checks"]
assert len(checks) >= 15
for check in checks:
    assert set(check) == {"check", "state", "for", "found", "consequence", "remedy"}, check
    assert (check["state"] == "ok") == (check["consequence"] is None) == (check["remedy"] is None), check' <<<"$out"
}

on_80_columns() {
	examine "$on_terminal" -- sh -c 'stty cols 80; UNSTICK_HELPER=/no/such/helper UNSTICK_SIGNAL=KILL exec "$1" doctor --color=never' sh "$unstick"
	lacks "the terminal" "$(tr -d '\r' <<<"$out")" '.{81}'
	matches "the terminal" "$out" '^helper \(limited\)'
}

point "where all is in order" in_order
point "its arguments" usage
point "io_uring refused by a filter" uring_refused
point "io_uring, and a filter that kills who tries" uring_kills
point "io_uring not wanted" uring_not_wanted
point "io_uring disabled by a setting" uring_disabled
point "little memory may be locked" little_memlock
point "the signal: another one, one that cannot be used, SIGURG ignored" signals
point "no signal: 3" no_signal
point "no helper" no_helper
point "no /proc" no_proc
point "/proc with hidepid" hidden
point "an ordinary user" ordinary_user
point "the settings of Yama" yama
point "--json" json
point "80 columns of a terminal" on_80_columns
finish
