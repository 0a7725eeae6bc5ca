#!/bin/sh
# Every interleaving of the wake-up protocol, and that the check finds each seeded bug: check.sh MODEL
set -eu
command -v spin >/dev/null || { echo "SKIPPED: spin is not installed"; exit 77; }
model=$(readlink -f "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# @return 0 if the model, with these macros, has no error.
holds() {
  # shellcheck disable=SC2086
  spin -a ${1:+-D$1} "$model" >spin.log 2>&1 || { cat spin.log >&2; exit 1; }
  cc -O2 -DSAFETY -o pan pan.c
  ./pan -m100000 >pan.log
  grep -q 'max search depth too small' pan.log && { echo "the search was cut short" >&2; exit 1; }
  grep -q 'errors: 0' pan.log
}

holds "" || { cat pan.log >&2; echo "the protocol is broken" >&2; exit 1; }
sed -n 's/^ *\([0-9]*\) states, stored.*/the protocol holds in all \1 states/p' pan.log
for bug in $(sed -n 's/^ \*   \([A-Z_]*\)  .*/\1/p' "$model"); do
  if holds "$bug"; then echo "$bug was not found: the check is blind" >&2; exit 1; fi
  echo "found: $bug"
done
