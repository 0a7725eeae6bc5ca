"""
Train neural networks through trainhostd, or in this process, by one decision made once.

    import trainhost

    with trainhost.open() as host:
        job = host.train(features, labels, hidden=[64, 32], epochs=20)
        for event in job.events():
            ...
        model = job.result().model

In a coroutine, `async for event in job.events()` and `await job`. Every failure is a
TrainhostError whose text says what was tried, with what, and what to do.
"""

from __future__ import annotations

from _trainhost import ffi, lib
from trainhost.adapter import Adapter
from trainhost.errors import (
    BusyError,
    CanceledError,
    DataError,
    DeniedError,
    DeviceError,
    DivergedError,
    FileError,
    HostAbsentError,
    HostError,
    HostLostError,
    HostStalledError,
    LimitError,
    NotFoundError,
    ProtocolError,
    ResourceError,
    TrainhostError,
    UsageError,
    VersionError,
    WaitTimeoutError,
)
from trainhost.job import Events, Job
from trainhost.manager import Manager
from trainhost.model import Model
from trainhost.result import Result
from trainhost.values import (
    Event,
    EventKind,
    Health,
    JobInfo,
    JobKind,
    Mode,
    Phase,
    Progress,
    SessionInfo,
    Statistics,
    StopReason,
)

__version__ = ffi.string(lib.th_version()).decode()


def open(  # noqa: A001
    *,
    connect_timeout: float | None = None,
    call_timeout: float | None = None,
    stall_timeout: float | None = None,
    client: str | None = None,
    io: str | None = None,
) -> Adapter:
    """Decide from the environment and open that way: Manager.from_env().open(…)."""
    return Manager.from_env().open(
        connect_timeout=connect_timeout,
        call_timeout=call_timeout,
        stall_timeout=stall_timeout,
        client=client,
        io=io,
    )


__all__ = [
    "Adapter",
    "BusyError",
    "CanceledError",
    "DataError",
    "DeniedError",
    "DeviceError",
    "DivergedError",
    "Event",
    "EventKind",
    "Events",
    "FileError",
    "Health",
    "HostAbsentError",
    "HostError",
    "HostLostError",
    "HostStalledError",
    "Job",
    "JobInfo",
    "JobKind",
    "LimitError",
    "Manager",
    "Mode",
    "Model",
    "NotFoundError",
    "Phase",
    "Progress",
    "ProtocolError",
    "ResourceError",
    "Result",
    "SessionInfo",
    "Statistics",
    "StopReason",
    "TrainhostError",
    "UsageError",
    "VersionError",
    "WaitTimeoutError",
    "open",
]
