# SPDX-License-Identifier: MIT
#
# For the scripts of this directory, which source it: a TAP point is a function that is called through point(); it fails by its status,
# and says why on its output. Waits are for states that can be seen, with a limit that only turns a hang into a failure.
# shellcheck shell=bash
number=0 failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

point() { # name, function
	local verdict=ok
	number=$((number + 1))
	(set -e; "$2") >"$scratch/point" 2>&1 # not in a condition: there set -e would mean nothing
	# shellcheck disable=SC2181
	[ $? -eq 0 ] || verdict='not ok' failed=1
	if [ "$verdict" = ok ] && grep -q '^SKIP ' "$scratch/point"; then
		echo "ok $number - $1 # $(grep '^SKIP ' "$scratch/point")"
	else
		echo "$verdict $number - $1"
	fi
	[ "$verdict" = ok ] || sed 's/^/# /' "$scratch/point"
}

finish() {
	echo "1..$number"
	exit $failed
}

skip() { # reason
	echo "SKIP $1"
	exit 0
}

need() { # program
	[ -x "$(command -v "$1")" ] || skip "$1 is not installed"
}

equal() { # what, found, expected
	[ "$2" = "$3" ] || { echo "$1 is '$2', not '$3'"; return 1; }
}

matches() { # what, text, extended regular expression that a line of it is to match
	grep -qE -- "$3" <<<"$2" || { echo "$1 has no line like '$3':"; echo "$2"; return 1; }
}

lacks() { # what, text, extended regular expression
	! grep -E -- "$3" <<<"$2" || { echo "$1 has such a line"; return 1; }
}

await() { # command...: until it succeeds
	local i
	for ((i = 0; i < 2000; i++)); do
		"$@" && return 0
		sleep 0.01
	done
	echo "never came true: $*"
	return 1
}

state_of() { # pid: state letter; nothing if there is no such process
	[ -r "/proc/$1/stat" ] && sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null
}

is_gone() { # pid
	local state
	state=$(state_of "$1") || return 0
	[ -z "$state" ] || [ "$state" = Z ]
}

has_state() { # pid, letter
	[ "$(state_of "$1")" = "$2" ]
}
