"""A trained model: named tensors in a safetensors file."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainhost.errors import DataError

if TYPE_CHECKING:
    import torch

_HEADER_SIZE_BYTES = 8
_DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64, "U8": np.uint8}


class Model:
    """
    The bytes of a safetensors file, and views into them.

    The format is described at github.com/huggingface/safetensors: an 8-byte little-endian header
    size, a JSON header, then the tensors' bytes.
    """

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        """
        Look at a file's bytes, which are not copied.

        :raises DataError: they are no such file.
        """
        self.data = memoryview(data).cast("B")
        begin = _HEADER_SIZE_BYTES
        end = begin + int.from_bytes(self.data[:begin], "little")
        if len(self.data) < begin or end > len(self.data):
            raise DataError(
                f"{len(self.data)} bytes are no safetensors file: its header is cut off"
            )
        try:
            header = json.loads(bytes(self.data[begin:end]))
            self.metadata: dict[str, str] = header.pop("__metadata__", {})
            self.tensors: dict[str, NDArray[Any]] = {
                name: _tensor(self.data[end:], entry) for name, entry in header.items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"no safetensors file: its header says {error!r}") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read a file, written by trainhost, PyTorch or others."""
        return cls(Path(path).read_bytes())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all."""
        target = Path(path)
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            aside.write_bytes(self.data)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The specification that it was trained by; empty if the file has none."""
        return dict(json.loads(self.metadata.get("spec", "{}")))

    def to_torch(self) -> torch.nn.Module:
        """
        The net as a module of PyTorch, in evaluation mode, with parameters of its own.

        Its state_dict has the names of this file. Given float32 [rows, width], and int64 [rows] of
        groups that have an embedding, it returns what predict does; of a net with one output, the
        logit of class 1 against class 0, that one alone.

        :raises ImportError: PyTorch is not installed.
        :raises DataError: the file names no architecture.
        """
        from trainhost.pytorch import module_of

        return module_of(self)


def _tensor(data: memoryview, entry: dict[str, Any]) -> NDArray[Any]:
    begin, end = entry["data_offsets"]
    if not 0 <= begin <= end <= len(data):
        raise ValueError(f"bytes {begin} to {end} of {len(data)}")
    return np.frombuffer(data[begin:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
