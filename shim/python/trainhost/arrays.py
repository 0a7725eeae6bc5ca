"""Arrays on their way into C: checked, and not copied if they already have the right type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from _trainhost import ffi
from trainhost.errors import DataError, UsageError

_INT32 = np.iinfo(np.int32)


def _array(name: str, value: object) -> NDArray[Any]:
    """Anything with the buffer protocol, NumPy's or DLPack, as an array over the same memory."""
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(
            f"{name} cannot be read as an array in this process's memory: {error}; "
            "of a tensor pass tensor.detach().cpu()"
        ) from error


def _refuse_type(name: str, array: NDArray[Any], wanted: str) -> DataError:
    return DataError(f"{name} are of type {array.dtype}: they must be {wanted}")


def numbers(name: str, value: ArrayLike, ranks: tuple[int, ...]) -> NDArray[np.float32]:
    """
    Rows of numbers as C takes them: float32 [rows] or [rows, width], one row after the other.

    An array that is so already is returned as it is; others of numbers are converted once.

    :param ranks: how many dimensions there may be.
    """
    array = _array(name, value)
    if array.dtype.kind not in "fiub":
        raise _refuse_type(name, array, "numbers")
    if array.ndim not in ranks:
        wanted = " or ".join("[rows]" if rank == 1 else "[rows, width]" for rank in ranks)
        raise DataError(
            f"{name} have the shape {list(array.shape)}: it must be {wanted}; "
            f"{name}.reshape(-1, 1) makes one column of a row of numbers"
        )
    return np.require(array, np.float32, ["C", "A"])


def integers(name: str, value: ArrayLike) -> NDArray[np.int32]:
    """One whole number a row as C takes them: int32 [rows]; converted once if of another width."""
    array = _array(name, value)
    if array.dtype.kind not in "iub":
        raise _refuse_type(name, array, "whole numbers")
    if array.ndim != 1:
        raise DataError(f"{name} have the shape {list(array.shape)}: it must be [rows]")
    if array.dtype != np.int32 and array.size > 0:
        for extreme in (array.min(), array.max()):
            if not _INT32.min <= int(extreme) <= _INT32.max:
                raise DataError(f"{name} hold {extreme}, which does not fit 32 bits")
    return np.require(array, np.int32, ["C", "A"])


def model_bytes(value: object) -> memoryview:
    """The bytes of a model: anything with the buffer protocol."""
    try:
        return memoryview(value).cast("B")  # type: ignore[arg-type]
    except TypeError as error:
        raise UsageError(
            f"model is a {type(value).__name__}: pass a trainhost.Model, or the bytes of a "
            "safetensors file"
        ) from error


def pointer(ctype: str, buffer: object) -> Any:
    """Where the buffer's memory begins. The buffer lives as long as what is returned."""
    return ffi.from_buffer(f"{ctype}[]", buffer)
