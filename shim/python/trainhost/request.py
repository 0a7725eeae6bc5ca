"""What a job is asked for: a th_job_request, and the memory that it points at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from _trainhost import ffi
from trainhost import arrays
from trainhost.errors import DataError, UsageError
from trainhost.model import Model
from trainhost.values import JobKind

ModelLike = Model | bytes | bytearray | memoryview


class Request:
    """
    A request, as long as which the arrays live that it was given.

    They are those of Adapter.train, which says what they are.
    """

    def __init__(
        self,
        kind: JobKind,
        spec: Mapping[str, Any] | None,
        rows: Mapping[str, ArrayLike | None],
        model: ModelLike | None = None,
    ) -> None:
        """
        Point at the rows, by name, and at the model.

        :param spec: None: none, where many jobs have one each.
        :raises DataError, UsageError: naming the array.
        """
        self.struct = ffi.new("th_job_request *")
        self._kept: list[object] = []
        self.struct.kind = kind
        if spec is not None:
            self.struct.spec = self._keep(spec_text(spec))
        for name, value in rows.items():
            if value is not None:
                self._point(name, value)
        if model is not None:
            data = model.data if isinstance(model, Model) else arrays.model_bytes(model)
            self.struct.model = self._keep(arrays.pointer("char", data))
            self.struct.model_bytes = len(data)

    def share(self, job: Any) -> None:
        """Use the data of a job of C instead of own ones."""
        self.struct.data_of = self._keep(job)

    def _point(self, name: str, value: ArrayLike) -> None:
        array: NDArray[Any]
        if name in ("labels", "groups"):
            array = arrays.integers(name, value)
        elif name == "features":
            array = arrays.numbers(name, value, (2,))
            self.struct.width = array.shape[1]
        elif name == "targets":
            array = arrays.numbers(name, value, (1, 2))
            self.struct.target_width = 1 if array.ndim == 1 else array.shape[1]
        else:
            array = arrays.numbers(name, value, (1,))
        if self.struct.rows not in (0, len(array)):
            raise DataError(
                f"there are {self.struct.rows} rows of features and {len(array)} {name}: one a row"
            )
        self.struct.rows = len(array)
        ctype = "int32_t" if array.dtype == np.int32 else "float"
        setattr(self.struct, name, self._keep(arrays.pointer(ctype, array)))

    def _keep(self, memory: Any) -> Any:
        self._kept.append(memory)
        return memory


def spec_text(fields: Mapping[str, Any]) -> Any:
    """A specification as C reads it: JSON, in memory of C."""
    try:
        return ffi.new("char[]", json.dumps(fields, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise UsageError(f"the specification cannot be written as JSON: {error}") from error
