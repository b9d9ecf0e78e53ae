#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage: static.sh BUILD-DIRECTORY PROGRAM.c
#
# A program linked statically with what pkg-config says, and nothing else, works. Prints TAP.
set -eu
build=$1 source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if ! command -v pkg-config >/dev/null; then
	echo "1..0 # SKIP there is no pkg-config"
	exit 0
fi
libs=$(PKG_CONFIG_PATH=$build/meson-private pkg-config --static --libs unstick)
echo "# $libs"
echo 1..1
# shellcheck disable=SC2086 # words
if "${CC:-cc}" -std=c11 -I"$(dirname "$0")/../include" "$source" -L"$build/lib" -static $libs -o "$scratch/program" >"$scratch/said" 2>&1 &&
	"$scratch/program" >>"$scratch/said" 2>&1; then
	echo "ok 1 - linked statically"
else
	sed 's/^/# /' "$scratch/said"
	echo "not ok 1 - linked statically"
	exit 1
fi
