"""
Builds the wheel; pyproject.toml says the rest.

The extension uses the limited API of Python 3.11, so that one wheel serves that and all later
versions. With TRAINHOST_BUILD, a build directory of this source tree, the wheel carries the
libraries; without, it wants them installed.
"""

import os
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

LIBRARIES = ("libtrainhost.so.0", "libtrainhost-local.so.0")


class BuildWithLibraries(build_py):
    """Puts the libraries where the extension looks for them first."""

    def run(self) -> None:
        """As build_py."""
        super().run()
        build = os.environ.get("TRAINHOST_BUILD")
        if build is None:
            return
        target = Path(self.build_lib) / "trainhost" / "lib"
        target.mkdir(parents=True, exist_ok=True)
        for name in LIBRARIES:
            self.copy_file(str(Path(build) / "lib" / name), str(target / name))


setup(
    cffi_modules=["native.py:ffi"],
    cmdclass={"build_py": BuildWithLibraries},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
