#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: many.sh UNSTICK CROWD [COUNT]
#
# unstick ps on a process with very many threads: a row for each; how much processor time that took is printed. Prints TAP.
# shellcheck disable=SC2317 # the functions are called through point()
set -u
unstick=$1 crowd=$2 count=${3:-10000}
# shellcheck source=tests/command/tap.sh
. "$(dirname "$(readlink -f "$0")")/tap.sh"

a_row_for_each() {
	local hold pid rows
	exec {hold}> >(exec "$crowd" "$count" >"$scratch/pid")
	await test -s "$scratch/pid"
	pid=$(cat "$scratch/pid")
	TIMEFORMAT='%U %S'
	{ time "$unstick" ps --no-headings --columns pid,call,object "$pid" >"$scratch/rows" 2>"$scratch/err"; } 2>"$scratch/time"
	exec {hold}>&-
	rows=$(grep -cE '(pause +any signal|read +pipe:.*|recvfrom +socket unix)$' "$scratch/rows")
	[ "$rows" -eq $((count + 1)) ] || { echo "$rows rows for $count threads and one"; return 1; }
}

point "$count threads: a row for each" a_row_for_each
awk '{ printf "# %.2f s of processor time\n", $1 + $2 }' "$scratch/time"
finish
