#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The static library as one object whose internal (hidden) symbols are local: a program that links it may have a log_line() of its own.
# usage: single-object.sh INPUT.a OUTPUT.a
set -eu
object=$(mktemp --suffix=.o)
trap 'rm -f "$object"' EXIT
ld -r -o "$object" --whole-archive "$1"
objcopy --localize-hidden "$object"
rm -f "$2"
ar rcs "$2" "$object"
