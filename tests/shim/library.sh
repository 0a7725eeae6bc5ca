#!/bin/sh
# What libtrainhost promises as a file: library.sh LIBRARY BUILD_TYPE SANITIZERS
# It exports what trainhost.h declares and nothing else, but under TRAINHOST_PRIVATE; needs only libc,
# and is at most 64 KiB when stripped.
set -eu
library=$1 build_type=$2 sanitizers=$3
header=$(dirname "$0")/../../shim/trainhost.h
bytes_max=65536
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() { printf '%s: %s\n' "$library" "$*" >&2; exit 1; }

# A function is declared by its name and an opening bracket after TH_API or TH_USE; a declaration may
# be broken over lines.
tr '\n' ' ' <"$header" | grep -oE 'TH_(API|USE) [^;(]*\(' | grep -oE 'th_[a-z_]+ ?\(' |
  tr -d ' (' | sort >"$scratch/declared"
nm -D --defined-only "$library" | awk '$2 != "A" && !/@TRAINHOST_PRIVATE/ { sub(/@.*/, "", $3); print $3 }' |
  sort >"$scratch/exported"
[ -s "$scratch/declared" ] || fail "no declaration was found in $header"
diff "$scratch/declared" "$scratch/exported" >&2 ||
  fail "exports (>) are not what trainhost.h declares (<)"

readelf -d "$library" | grep -q 'SONAME.*\[libtrainhost\.so\.0\]' || fail "has another soname"

[ -z "$sanitizers" ] || { echo "skipped: sanitizers add libraries and size"; exit 77; }
needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
  grep -vE '^(libc|ld-linux[a-z0-9-]*)\.so\.' || true)
[ -z "$needed" ] || fail "needs more than libc:" $needed

[ "$build_type" = Release ] || { echo "skipped: size is judged in a release build"; exit 77; }
strip -o "$scratch/stripped" "$library"
bytes=$(wc -c <"$scratch/stripped")
echo "$bytes bytes stripped"
[ "$bytes" -le "$bytes_max" ] || fail "$bytes bytes stripped are more than $bytes_max"
