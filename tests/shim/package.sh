#!/bin/sh
# What is installed can be found and linked, by pkg-config and by CMake: package.sh BUILD CC CMAKE
set -eu
build=$1 cc=$2 cmake=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$cmake" --install "$build" --component client --prefix "$scratch/usr" >/dev/null
cat >"$scratch/backend.c" <<'END'
#include <trainhost.h>
int main(void) { return th_version()[0] == '\0'; }
END

pc=$(dirname "$(find "$scratch/usr" -name trainhost.pc)")
flags=$(PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$scratch/usr" --cflags --libs \
  trainhost)
library=$(dirname "$(find "$scratch/usr" -name libtrainhost.so.0)")
# The words of the flags are arguments of their own.
# shellcheck disable=SC2086
"$cc" ${SANITIZE_FLAGS:-} -o "$scratch/backend" "$scratch/backend.c" $flags "-Wl,-rpath,$library"
"$scratch/backend"

cat >"$scratch/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(backend LANGUAGES C)
find_package(trainhost REQUIRED)
add_executable(backend backend.c)
target_link_libraries(backend PRIVATE trainhost::trainhost)
END
"$cmake" -G Ninja -S "$scratch" -B "$scratch/build" -DCMAKE_C_COMPILER="$cc" \
  -DCMAKE_C_FLAGS="${SANITIZE_FLAGS:-}" -DCMAKE_PREFIX_PATH="$scratch/usr" >/dev/null
"$cmake" --build "$scratch/build" >/dev/null
"$scratch/build/backend"
