"""What is accepted as data, and that it is not copied on its way into C."""

from __future__ import annotations

import array
import resource
from typing import Any

import numpy as np
import pytest
from conftest import Data

import trainhost
from trainhost import arrays


class OnlyDLPack:
    """An array of another library, which knows DLPack and nothing else."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __dlpack__(self, **options: object) -> Any:
        return self._wrapped.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._wrapped.__dlpack_device__()


class OnDevice(OnlyDLPack):
    """One whose memory is a GPU's."""

    def __dlpack__(self, **options: object) -> Any:
        raise BufferError("memory of a device cannot be exported")


def address(value: Any) -> int:
    return int(trainhost.arrays.ffi.cast("uintptr_t", arrays.pointer("float", value)))


def test_float32_rows_are_read_where_they_lie() -> None:
    rows = np.ones((4, 3), np.float32)
    assert address(arrays.numbers("features", rows, (2,))) == rows.ctypes.data
    assert address(arrays.numbers("features", memoryview(rows), (2,))) == rows.ctypes.data
    assert address(arrays.numbers("features", OnlyDLPack(rows), (2,))) == rows.ctypes.data
    rows.flags.writeable = False
    assert address(arrays.numbers("features", rows, (2,))) == rows.ctypes.data


def test_int32_labels_are_read_where_they_lie() -> None:
    numbers = array.array("i", [0, 1, 2])
    assert address(arrays.integers("labels", numbers)) == numbers.buffer_info()[0]


def test_a_pointer_keeps_the_memory_that_it_points_at() -> None:
    pointer = arrays.pointer("float", arrays.numbers("features", [[1.0, 2.0]], (2,)))
    ballast = [np.full((1, 2), 9, np.float32) for _ in range(1000)]
    assert list(pointer) == [1.0, 2.0]
    assert len(ballast) == 1000


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], np.float64),
        np.array([[1, 2], [3, 4]], np.int64),
        np.array([[1, 3], [2, 4]], np.float32).T,
        np.array([[1, 0, 2, 0], [3, 0, 4, 0]], np.float32)[:, ::2],
        np.array([[1, 2], [3, 4]], ">f4"),
    ],
)
def test_other_numbers_are_converted(value: Any) -> None:
    rows = arrays.numbers("features", value, (2,))
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.ones(3, np.float32), "it must be .rows, width.; features.reshape"),
        (np.ones((2, 2, 2), np.float32), r"shape \[2, 2, 2\]"),
        (np.array([["a", "b"]]), "type <U1: they must be numbers"),
        (np.array([[1j]]), "they must be numbers"),
        ([[1.0], [1.0, 2.0]], "cannot be read as an array"),
        (OnDevice(np.ones((2, 2))), r"tensor.detach\(\).cpu\(\)"),
    ],
)
def test_features_that_are_none_are_refused_by_name(value: Any, text: str) -> None:
    with pytest.raises(trainhost.DataError, match=text):
        arrays.numbers("features", value, (2,))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([0.0, 1.0], "labels are of type float64: they must be whole numbers"),
        ([[0], [1]], r"shape \[2, 1\]: it must be \[rows\]"),
        (np.array([0, 2**31]), "2147483648, which does not fit"),
        (np.array([-(2**31) - 1, 0]), "does not fit"),
        (np.array([2**63], np.uint64), "does not fit"),
    ],
)
def test_labels_that_are_none_are_refused_by_name(value: Any, text: str) -> None:
    with pytest.raises(trainhost.DataError, match=text):
        arrays.integers("labels", value)


def test_labels_of_any_width_and_truth_values_are_converted() -> None:
    for kind in (np.int64, np.uint8, np.bool_):
        numbers = arrays.integers("labels", np.array([0, 1], kind))
        assert numbers.dtype == np.int32
        assert list(numbers) == [0, 1]


def test_data_may_be_changed_once_a_job_was_started(adapter: trainhost.Adapter, data: Data) -> None:
    features, labels = data[0].copy(), data[1].copy()
    first = adapter.train(features, labels, epochs=2)
    features.fill(np.nan)
    labels.fill(-1)
    second = adapter.train(*data, epochs=2)
    assert first.result().output == second.result().output


def test_what_c_refuses_names_the_place(adapter: trainhost.Adapter, data: Data) -> None:
    features, labels = data
    broken = features.copy()
    broken[7, 3] = np.nan
    job = adapter.train(broken, labels)
    with pytest.raises(trainhost.DataError, match=r"row 8.*column 4|row 7.*column 3"):
        job.result()
    with pytest.raises(trainhost.DataError, match="600 rows of features and 599 labels"):
        adapter.train(features, labels[:-1])
    with pytest.raises(trainhost.UsageError, match="labels and targets are both NULL"):
        adapter.train(features)
    with pytest.raises(trainhost.UsageError, match="learning_rate"):
        adapter.train(features, labels, learnin_rate=0.1)
    with pytest.raises(trainhost.UsageError, match="cannot be written as JSON"):
        adapter.train(features, labels, learning_rate=float("nan"))
    with pytest.raises(trainhost.UsageError, match=r"model is a int: pass a trainhost\.Model"):
        adapter.train(features, labels, model=3)  # type: ignore[arg-type]


def test_starting_copies_no_array_in_this_process(shared_host: Any) -> None:
    """The daemon has a copy; here the peak of memory does not move by the size of the data."""
    rows = np.ones((1_000_000, 32), np.float32)
    labels = np.zeros(1_000_000, np.int32)
    labels[::2] = 1
    with shared_host.open(call_timeout=60) as adapter:
        adapter.health()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        job = adapter.train(rows, labels, epochs=1, hidden=[1], batch_size=100_000)
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert adapter.statistics().bytes_sent >= rows.nbytes
        job.cancel()
        job.wait()
        job.forget()
    # What is touched of the arena counts here, too: 8 MiB, and some more for whatever else.
    assert grown_kib * 1024 < rows.nbytes / 4
