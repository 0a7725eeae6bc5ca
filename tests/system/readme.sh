#!/bin/sh
# The backend that the README shows builds and trains: readme.sh README CC SOURCE_DIR LIBRARY_DIR
# SANITIZE_FLAGS, from the environment, are those that the libraries were built with.
set -eu
readme=$1 cc=$2 source=$3 library=$4
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sed -n '/^```c$/,/^```$/p' "$readme" | grep -v '^```' >"$scratch/backend.c"
lines=$(grep -c . "$scratch/backend.c")
[ "$lines" -ge 10 ] || { echo "$readme shows no backend in C" >&2; exit 1; }
# The words of the flags are arguments of their own.
# shellcheck disable=SC2086
"$cc" ${SANITIZE_FLAGS:-} -Wall -Werror -I"$source/shim" -I"$source/base" -o "$scratch/backend" \
  "$scratch/backend.c" -L"$library" -ltrainhost -Wl,-rpath,"$library"

# The example ends at its first error, and leaves the rest to the system.
export ASAN_OPTIONS=detect_leaks=0
output=$(USE_TRAINING_HOST_SERVICE=false "$scratch/backend")
printf '%s\n' "$output"
printf '%s\n' "$output" | grep -q '^epoch 5: loss 0\.'
printf '%s\n' "$output" | grep -q 'bytes of safetensors$'

status=0
USE_TRAINING_HOST_SERVICE=true TRAINING_HOST_SERVICE_URL=unix:///nowhere/trainhost.sock \
  "$scratch/backend" 2>"$scratch/error" || status=$?
[ "$status" = 1 ] && grep -q /nowhere/trainhost.sock "$scratch/error"
