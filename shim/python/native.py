"""
Makes the extension module `_trainhost` from trainhost.h, with cffi.

The declarations are those of the header itself, so that nothing is written twice, and the C
compiler checks every one of them against it. As a program, `native.py INCLUDE_DIR FILE.c` writes
the module's C source for a build system; setup.py uses `ffi`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from cffi import FFI

HEADERS = ("trainhost_types.h", "trainhost.h")

# What of a header is no declaration: C++ linkage, other preprocessor lines, and visibility.
CPLUSPLUS = re.compile(r"^#ifdef __cplusplus$.*?^#endif$", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"^#.*$", re.MULTILINE)
ATTRIBUTE = re.compile(r"\bTH_(API|USE)\b")


def installed(variable: str) -> list[Path]:
    """What pkg-config says of an installed libtrainhost."""
    command = ["pkg-config", f"--variable={variable}", "trainhost"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [Path(done.stdout.strip())]


def places() -> tuple[list[Path], list[Path]]:
    """
    Where the headers are, and the library.

    With TRAINHOST_BUILD, a build directory: of this source tree. Else: where they were installed.
    """
    build = os.environ.get("TRAINHOST_BUILD")
    if build is None:
        return installed("includedir"), installed("libdir")
    root = Path(__file__).resolve().parents[2]
    return [root / "shim", root / "base"], [Path(build) / "lib"]


def find_header(directories: list[Path], name: str) -> Path:
    """The header in the first of the directories that has it."""
    for directory in directories:
        if (directory / name).exists():
            return directory / name
    raise FileNotFoundError(f"no {name} in {', '.join(map(str, directories))}")


def declarations(directories: list[Path]) -> str:
    """Both headers as cffi wants them."""
    text = "".join(find_header(directories, name).read_text() for name in HEADERS)
    for pattern in (CPLUSPLUS, DIRECTIVE, ATTRIBUTE):
        text = pattern.sub("", text)
    return text + "void free(void *memory);\n"


def make(headers: list[Path], libraries: list[Path]) -> FFI:
    """A builder of the extension module, from the directories of both."""
    ffi = FFI()
    ffi.cdef(declarations(headers))
    ffi.set_source(
        "_trainhost",
        "#include <stdlib.h>\n#include <trainhost.h>\n",
        include_dirs=[str(directory) for directory in headers],
        library_dirs=[str(directory) for directory in libraries],
        libraries=["trainhost"],
        # A wheel may carry the libraries; else the loader looks where they were installed.
        extra_link_args=["-Wl,-rpath,$ORIGIN/trainhost/lib"],
    )
    return ffi


if __name__ == "__main__":
    make([Path(directory) for directory in sys.argv[1:-1]], []).emit_c_code(sys.argv[-1])
else:
    ffi = make(*places())
