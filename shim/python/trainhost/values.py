"""
What the C library tells, as immutable Python values.

Fields have the names of the C library's, which documents them. A number that there is not yet is
None, where C has NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, TypeVar

from _trainhost import ffi, lib
from trainhost.errors import TrainhostError, error_class


class Mode(IntEnum):
    """Where training happens."""

    LOCAL = lib.TH_MODE_LOCAL
    HOST = lib.TH_MODE_HOST


class JobKind(IntEnum):
    """What a job does."""

    TRAIN = lib.TH_JOB_TRAIN
    EVALUATE = lib.TH_JOB_EVALUATE
    PREDICT = lib.TH_JOB_PREDICT


class Phase(IntEnum):
    """Where a job is, in the order in which it passes through them."""

    RECEIVING = lib.TH_PHASE_RECEIVING
    QUEUED = lib.TH_PHASE_QUEUED
    PREPARING = lib.TH_PHASE_PREPARING
    TRAINING = lib.TH_PHASE_TRAINING
    VALIDATING = lib.TH_PHASE_VALIDATING
    SAVING = lib.TH_PHASE_SAVING
    DONE = lib.TH_PHASE_DONE
    FAILED = lib.TH_PHASE_FAILED
    CANCELED = lib.TH_PHASE_CANCELED

    @property
    def is_last(self) -> bool:
        """Whether a job in this phase is over."""
        return self >= Phase.DONE


class StopReason(IntEnum):
    """Why a training ended."""

    NONE = lib.TH_STOP_NONE
    EPOCHS = lib.TH_STOP_EPOCHS
    EARLY = lib.TH_STOP_EARLY


class EventKind(IntEnum):
    """What an event tells."""

    PHASE = lib.TH_EVENT_PHASE
    EPOCH = lib.TH_EVENT_EPOCH
    STEP = lib.TH_EVENT_STEP


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job: th_event. Accuracies lie in [0, 1]."""

    kind: EventKind
    phase: Phase
    error: type[TrainhostError] | None
    epoch: int
    step: int
    coalesced: int
    loss: float | None
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """The newest state of a job, one consistent snapshot: th_progress."""

    job: int
    phase: Phase
    error: type[TrainhostError] | None
    queue_position: int
    stop_reason: StopReason
    epoch: int
    epochs: int
    step: int
    steps: int
    best_epoch: int
    history_stride: int
    received_bytes: int
    expected_bytes: int
    fraction: float
    loss: float | None
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    samples_per_second: float | None
    elapsed_seconds: float
    eta_seconds: float | None


@dataclass(frozen=True, slots=True)
class Health:
    """How the host is: th_health."""

    daemon: str
    device: str
    round_trip_ns: int
    uptime_ms: int
    sessions: int
    sessions_max: int
    jobs_running: int
    jobs_queued: int
    jobs_kept: int
    threads: int
    data_bytes: int
    data_bytes_max: int
    io: str


@dataclass(frozen=True, slots=True)
class JobInfo:
    """One job in a list, anyone's session's: th_job_info."""

    progress: Progress
    kind: JobKind
    session: int
    uid: int
    is_checkpoint: bool
    name: str


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session in a list: th_session_info."""

    session: int
    uid: int
    gid: int
    pid: int
    jobs: int
    connected_ms: int
    received_bytes: int
    client: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """What an adapter has done so far: th_statistics."""

    mode: Mode
    requests: int
    errors: int
    jobs_started: int
    bytes_sent: int
    events: int
    doorbells: int


_ENUMS: dict[str, type[IntEnum]] = {"phase": Phase, "stop_reason": StopReason, "mode": Mode}
_ValueT = TypeVar("_ValueT")


def _convert(name: str, value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if name == "error":
        return None if value == lib.TH_OK else error_class(value)
    if name == "progress":
        return read(Progress, value)
    if name in _ENUMS:
        return _ENUMS[name](value)
    if isinstance(value, ffi.CData):
        return ffi.string(value).decode("utf-8", "replace")
    return value


def read(kind: type[_ValueT], struct: Any) -> _ValueT:
    """The value of that class that a struct of C with the same fields stands for."""
    values = {f.name: _convert(f.name, getattr(struct, f.name)) for f in fields(kind)}  # type: ignore[arg-type]
    if "kind" in values:
        values["kind"] = (EventKind if kind is Event else JobKind)(values["kind"])
    return kind(**values)
