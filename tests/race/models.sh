#!/usr/bin/env bash
# The spin model of the wake protocol: searched in full, and each of its mutants seen to fail. TAP.
# usage: models.sh DIRECTORY_OF_protocol.pml
set -u
model=$(cd "$1" && pwd)/protocol.pml
if ! command -v spin >/dev/null || ! command -v gcc >/dev/null; then
	echo "1..0 # SKIP spin is not installed"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
number=0
failed=0

# check EXPECTED NAME [-D...]: EXPECTED is "holds" or "fails"
check() {
	local expected=$1 name=$2 found states
	shift 2
	rm -f pan pan.* ./*.trail
	# "errors: 0" also stands for an invalid end state searched for: a thread that is blocked for ever.
	if ! spin "$@" -a "$model" >spin.log 2>&1 || ! gcc -O1 -w -DSAFETY -o pan pan.c 2>>spin.log || ! ./pan -m100000 >pan.log 2>&1; then
		cat spin.log
		found="could not be run"
	elif grep -q 'errors: 0' pan.log; then
		found=holds
	else
		found=fails
	fi
	states=$(sed -n 's/^ *\([0-9][0-9.e+]*\) states, stored.*/\1/p' pan.log 2>/dev/null)
	number=$((number + 1))
	if [ "$found" = "$expected" ]; then
		echo "ok $number - model: $name: $found, $states states"
	else
		failed=$((failed + 1))
		echo "not ok $number - model: $name: $found, expected: $expected"
	fi
}

check holds "the protocol"
check holds "the protocol without second looks" -DNOLOOK
check fails "mutant: inflight before the signal" -DEARLY
check fails "mutant: no drain at scope end" -DNODRAIN
check fails "mutant: no generation" -DNOGEN
check fails "mutant: token not loaded after arming" -DNOLOAD
check fails "mutant: flag stored after the signal" -DLATEFLAG -DNOLOOK
check fails "mutant: no pc check and no second look" -DNOPC -DNOLOOK
echo "1..$number"
exit $((failed > 0))
