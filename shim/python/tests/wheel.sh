#!/bin/sh
# One wheel serves every Python from 3.11 on, carries what it needs, and trains where it is
# installed: wheel.sh SOURCE_DIR BUILD_DIR PYTHON
set -eu
source=$1 build=$2 python=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# From a copy: setuptools leaves traces in the directory that it builds.
mkdir "$scratch/source"
cp -r "$source/shim" "$source/base" "$scratch/source"
cd "$scratch/source/shim/python"
TRAINHOST_BUILD=$build "$python" setup.py --quiet bdist_wheel --dist-dir "$scratch" \
  >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }

wheel=$(echo "$scratch"/trainhost-*.whl)
case $wheel in
  *-cp311-abi3-linux_*.whl) ;;
  *) echo "$wheel is for one version of Python alone" >&2; exit 1 ;;
esac
"$python" -m zipfile -e "$wheel" "$scratch/installed"
# Imports nothing of the build, and finds both libraries beside itself.
cd "$scratch"
PYTHONPATH=$scratch/installed "$python" - <<'END'
import numpy, trainhost, trainhost.ktrdr
with trainhost.Manager(trainhost.Mode.LOCAL).open() as adapter:
    rows = numpy.eye(4, dtype=numpy.float32)
    result = adapter.train(rows, numpy.arange(4, dtype=numpy.int32), epochs=2).result()
assert result.card["best_epoch"] > 0, result.card
libraries = {line.split()[-1] for line in open("/proc/self/maps") if "libtrainhost" in line}
assert len(libraries) == 2, libraries
assert all(path.startswith(trainhost.__path__[0]) for path in libraries), libraries
print(*sorted(libraries))
END
