"""What a job ended with."""

from __future__ import annotations

import io
import json
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _trainhost import ffi, lib
from trainhost.errors import ProtocolError, UsageError
from trainhost.model import Model
from trainhost.values import JobKind

# A header of .npy is padded to a multiple of 64 bytes; that of two dimensions needs 128.
NPY_HEADER_BYTES_MAX = 256


class Result:
    """
    The output of a job and its card.

    The output stays where the C library has put it, for as long as anything looks at it.
    """

    def __init__(self, result: Any) -> None:
        """Take over what a th_result owns."""
        self.kind = JobKind(result.kind)
        self.is_checkpoint = bool(result.is_checkpoint)
        # A checkpoint of a job that goes on has none.
        self.card: dict[str, Any] = (
            json.loads(ffi.string(result.card)) if result.card_bytes > 0 else {}
        )
        output, size = result.output, result.output_bytes
        result.output = ffi.NULL
        # The buffer keeps the memory, and whoever looks into it keeps the buffer.
        self._output = memoryview(ffi.buffer(ffi.gc(output, lib.free), size)) if size > 0 else None

    def __repr__(self) -> str:
        return f"<trainhost.Result of {self.kind.name.lower()}>"

    @property
    def output(self) -> memoryview:
        """The bytes: of a training a safetensors file, of a prediction a .npy file."""
        if self._output is None:
            raise UsageError(f"to {self.kind.name.lower()} has no output: see the card")
        return self._output

    @cached_property
    def model(self) -> Model:
        """The model that was trained; also a checkpoint to go on from."""
        if self.kind is not JobKind.TRAIN:
            raise UsageError(f"to {self.kind.name.lower()} makes no model: train does")
        return Model(self.output)

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """What was predicted, [rows, classes], over the memory of output."""
        if self.kind is not JobKind.PREDICT:
            raise UsageError(f"to {self.kind.name.lower()} makes no logits: predict does")
        return _npy_view(self.output)


def _npy_view(data: memoryview) -> NDArray[np.float32]:
    """The array of a .npy file (numpy.lib.format), not copied."""
    header = io.BytesIO(data[:NPY_HEADER_BYTES_MAX])
    if np.lib.format.read_magic(header) != (1, 0):
        raise ProtocolError("the logits are of a version of .npy that trainhostd does not write")
    shape, _, dtype = np.lib.format.read_array_header_1_0(header)
    return np.frombuffer(data, dtype, offset=header.tell()).reshape(shape)
