"""One training as a backend sees it: a session id, and a status that never grows."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trainhost
from trainhost import EventKind, Phase
from trainhost.ktrdr.errors import TrainingProviderError, TrainingSessionNotFoundError, translate
from trainhost.ktrdr.features import FeatureSet

_PREFIX = "trainhost-"

_STATUS = {
    Phase.RECEIVING: "initializing",
    Phase.QUEUED: "initializing",
    Phase.PREPARING: "initializing",
    Phase.TRAINING: "running",
    Phase.VALIDATING: "running",
    Phase.SAVING: "running",
    Phase.DONE: "completed",
    Phase.FAILED: "failed",
    Phase.CANCELED: "stopped",
}

ProgressCallback = Callable[[dict[str, Any]], Awaitable[None] | None]


def id_of(job: int) -> str:
    """The session's id, by which any process finds the job again, after restarts too."""
    return f"{_PREFIX}{job}"


def job_of(session_id: str) -> int:
    """
    The job's number.

    :raises TrainingSessionNotFoundError: no id that id_of makes.
    """
    number = session_id.removeprefix(_PREFIX)
    if session_id == number or not number.isascii() or not number.isdigit() or len(number) > 18:
        raise TrainingSessionNotFoundError(f"no session {session_id!r}: ids are like {_PREFIX}7")
    return int(number)


@dataclass
class Session:
    """A job that is followed to its end."""

    job: trainhost.Job
    device: str
    """Where it is trained, as the host names it."""
    test: FeatureSet | None = None
    """Rows kept back, on which the model is measured when it is done."""
    callback: ProgressCallback | None = None
    test_metrics: dict[str, Any] | None = None
    best: dict[str, Any] = field(default_factory=dict)
    result: trainhost.Result | None = None
    error: TrainingProviderError | None = None
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    _following: asyncio.Task[None] = field(init=False)

    @property
    def id(self) -> str:
        """As id_of."""
        return id_of(self.job.number)

    def begin(self, timeout_s: float) -> None:
        """Follow the job from now on, and cancel it if it is not over in that time."""
        self._following = asyncio.create_task(self._follow(timeout_s))

    async def over(self) -> trainhost.Result:
        """
        What the job ended with, when it is over.

        :raises TrainingProviderError: what it failed with.
        """
        # Who stops waiting does not stop the following.
        await asyncio.shield(self._following)
        if self.result is None:
            raise self.error or TrainingProviderError(f"{self.id} has no result")
        return self.result

    async def is_over_within(self, timeout_s: float | None) -> bool:
        """Wait for the end, for so long at most; None: however long."""
        await asyncio.wait((self._following,), timeout=timeout_s)
        return self._following.done()

    async def _follow(self, timeout_s: float) -> None:
        # What it fails with is kept for who asks. Who stops it and the time-out cannot race: both
        # ask the host to end the job, and it ends once.
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._listen()
            except TimeoutError:
                await asyncio.to_thread(self.job.cancel)
                await self._listen()
        except trainhost.TrainhostError as error:
            self.error = translate(error)

    async def _listen(self) -> None:
        async for event in self.job.events():
            await self._hear(event)
        self.result = await self.job

    async def _hear(self, event: trainhost.Event) -> None:
        if event.kind is EventKind.EPOCH and self.job.progress().best_epoch == event.epoch:
            self.best = {"epoch": event.epoch, **_metrics(event)}
        if self.callback is not None:
            answer = self.callback(self.status())
            if inspect.isawaitable(answer):
                await answer

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, however."""
        return self.job.progress().phase.is_last

    def status(self) -> dict[str, Any]:
        """What it is about now, read from shared memory: of one size, however long it trains."""
        now = self.job.progress()
        return {
            "session_id": self.id,
            "status": _STATUS[now.phase],
            "progress": {
                "epoch": now.epoch,
                "total_epochs": now.epochs,
                "batch": now.step,
                "total_batches": now.steps,
                "progress_percent": 100.0 * now.fraction,
            },
            "metrics": {"current": _metrics(now), "best": self.best or None},
            "resource_usage": self._resources(),
            "start_time": self.begun.isoformat(),
            "last_updated": datetime.now(UTC).isoformat(),
            "error": self._error_text(now),
        }

    def _error_text(self, now: trainhost.Progress) -> str | None:
        if now.phase is not Phase.FAILED:
            return None
        if self.error is not None:
            return self.error.message
        return "failed" if now.error is None else str(now.error.__doc__)

    def _resources(self) -> dict[str, Any]:
        is_gpu = not self.device.startswith("cpu")
        unknown = None if is_gpu else 0
        return {
            "gpu_allocated": is_gpu,
            "gpu_memory": {
                "allocated_mb": unknown,
                "total_mb": unknown,
                "utilization_percent": unknown,
            },
            "system_memory": _system_memory(),
        }


def _system_memory() -> dict[str, float]:
    """Of this process and of its machine (proc(5))."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    total, available = kib["MemTotal"], kib["MemAvailable"]
    return {
        "process_mb": resident / 2**20,
        "system_percent": 100.0 * (total - available) / total,
        "system_total_mb": total / 2**10,
    }


def _metrics(numbers: trainhost.Event | trainhost.Progress) -> dict[str, float | None]:
    return {
        "loss": numbers.loss,
        "accuracy": numbers.accuracy,
        "val_loss": numbers.validation_loss,
        "val_accuracy": numbers.validation_accuracy,
    }
