"""One connection to the daemon, or one trainer in this process."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from _trainhost import ffi, lib
from trainhost.bell import Bell
from trainhost.errors import UsageError, check
from trainhost.job import Job
from trainhost.request import ModelLike, Request, spec_text
from trainhost.values import (
    Health,
    JobInfo,
    JobKind,
    Mode,
    SessionInfo,
    Statistics,
    read,
)


class Adapter:
    """
    What starts jobs. Manager.open makes one.

    Threads: any. Event loops: one at a time may wait for its jobs.
    Fork: a child must open its own; calls on an inherited one raise UsageError.
    """

    def __init__(self, pointer: Any, silence_s: float) -> None:
        self._handle = ffi.gc(pointer, lib.th_adapter_close)
        self._mode = Mode(lib.th_adapter_mode(pointer))
        # In this process there is no host that could stall.
        self._bell: Bell | None = Bell(self._handle, silence_s if self._mode is Mode.HOST else 0)
        self._jobs: weakref.WeakSet[Job] = weakref.WeakSet()

    def __repr__(self) -> str:
        state = "closed" if self._handle is None else self._mode.name.lower()
        return f"<trainhost.Adapter {state}>"

    def __enter__(self) -> Adapter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def mode(self) -> Mode:
        """The way that this adapter goes."""
        return self._mode

    def close(self) -> None:
        """End the session, and the handles of its jobs; jobs not detached are canceled."""
        for job in list(self._jobs):
            job.close()
        self._handle = None
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    # ---- jobs ----

    def train(
        self,
        features: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        spec: Mapping[str, Any] | None = None,
        *,
        targets: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        model: ModelLike | None = None,
        data_of: Job | None = None,
        keep_data: bool = False,
        detach: bool = False,
        **fields: Any,
    ) -> Job:
        """
        Start a training and send its data; all arrays may be changed on return.

        Arrays of the right type in C order are read where they lie, whatever they belong to:
        NumPy, a tensor, a buffer. Others are converted once. In a coroutine, sending much may take
        long: `await asyncio.to_thread(adapter.train, …)`.

        :param features: float32 [rows, width].
        :param labels: int32 [rows], classes counted from 0; or None, with targets.
        :param spec: fields of the specification (docs/training.md); `fields` take precedence.
        :param targets: float32 [rows] or [rows, width], numbers to come near to.
        :param weights: float32 [rows], what each row counts.
        :param groups: int32 [rows], what each row belongs to, as the symbol that it is of.
        :param model: one to begin with, or a checkpoint to go on from.
        :param data_of: a job of this adapter whose data are shared, instead of own ones.
        :param keep_data: leave the data for other jobs when this one is over.
        :param detach: let the job go on when the session ends.
        :raises UsageError, DataError, LimitError, BusyError, HostError: nothing was started.
        """
        rows = _rows(features, labels, targets, weights, groups)
        request = Request(JobKind.TRAIN, {**(spec or {}), **fields}, rows, model)
        return self._start(request, data_of, keep_data, detach)

    def train_many(
        self,
        specs: Sequence[Mapping[str, Any]],
        features: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        *,
        targets: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        model: ModelLike | None = None,
        data_of: Job | None = None,
        detach: bool = False,
    ) -> list[Job]:
        """
        Start a training for each specification, all or none; the data are sent and held once.

        The first job keeps them, so that they are there for the last: forget it when all are over.

        :return: the jobs in the order of specs; else as train.
        """
        if not specs:
            raise UsageError("specs is empty: there is nothing to train")
        rows = _rows(features, labels, targets, weights, groups)
        request = Request(JobKind.TRAIN, None, rows, model)
        _settle(request, data_of, keep_data=False, detach=detach)
        texts = [spec_text(spec) for spec in specs]
        jobs = ffi.new("th_job *[]", len(texts))
        code = lib.th_jobs_start(
            self.handle(), request.struct, ffi.new("char *[]", texts), len(texts), jobs
        )
        check(code)
        return [self._hand_over(job) for job in jobs]

    def evaluate(
        self,
        model: ModelLike,
        features: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        *,
        targets: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        data_of: Job | None = None,
        keep_data: bool = False,
        detach: bool = False,
    ) -> Job:
        """Start to measure a model on rows of which the truth is known; as train."""
        rows = _rows(features, labels, targets, weights, groups)
        request = Request(JobKind.EVALUATE, {}, rows, model)
        return self._start(request, data_of, keep_data, detach)

    def predict(
        self,
        model: ModelLike,
        features: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        detach: bool = False,
    ) -> Job:
        """Start to compute the logits of rows; as train."""
        rows = _rows(features, None, None, None, groups)
        request = Request(JobKind.PREDICT, {}, rows, model)
        return self._start(request, None, keep_data=False, detach=detach)

    def attach(self, number: int) -> Job:
        """
        Find a job of this user again.

        :raises NotFoundError: there is none of that number.
        :raises BusyError: another session follows it, or this adapter has a handle of it.
        """
        job = ffi.new("th_job **")
        check(lib.th_job_attach(self.handle(), number, job))
        return self._hand_over(job[0])

    def cancel(self, number: int) -> None:
        """Ask any job of this user to end, also one that another program follows."""
        check(lib.th_adapter_cancel(self.handle(), number))

    def _start(self, request: Request, data_of: Job | None, keep_data: bool, detach: bool) -> Job:
        _settle(request, data_of, keep_data, detach)
        job = ffi.new("th_job **")
        check(lib.th_job_start(self.handle(), request.struct, job))
        return self._hand_over(job[0])

    def _hand_over(self, pointer: Any) -> Job:
        job = Job(self, pointer)
        self._jobs.add(job)
        return job

    # ---- the host ----

    def health(self) -> Health:
        """Ask how the host is: one round trip."""
        health = ffi.new("th_health *")
        check(lib.th_adapter_health(self.handle(), health))
        return read(Health, health)

    def jobs(self) -> list[JobInfo]:
        """All jobs of this user, by number."""
        return self._list(lib.th_adapter_jobs, "th_job_info **", JobInfo)

    def sessions(self) -> list[SessionInfo]:
        """All sessions of this user; in local mode this process."""
        return self._list(lib.th_adapter_sessions, "th_session_info **", SessionInfo)

    def _list(self, call: Any, ctype: str, kind: Any) -> list[Any]:
        rows, count = ffi.new(ctype), ffi.new("size_t *")
        check(call(self.handle(), rows, count))
        array = ffi.gc(rows[0], lib.free)
        return [read(kind, array[i]) for i in range(count[0])]

    def statistics(self) -> Statistics:
        """What this adapter has done so far."""
        statistics = ffi.new("th_statistics *")
        lib.th_adapter_statistics(self.handle(), statistics)
        return read(Statistics, statistics)

    # ---- event loops ----

    def fileno(self) -> int:
        """A descriptor for an event loop of one's own: readable when a job may have an event."""
        return int(lib.th_adapter_fd(self.handle()))

    def arm(self) -> bool:
        """
        Ask that the descriptor become readable; before each wait on it.

        :return: False if events have come already: call Job.take of each job until None, and do
            not wait.
        """
        code = lib.th_adapter_arm(self.handle())
        if code == lib.TH_ERR_AGAIN:
            return False
        check(code)
        return True

    async def wait(self) -> None:
        """Return when a job that had no event may have one, on asyncio's loop."""
        if self._bell is None:
            raise _closed()
        await self._bell.wait()

    def handle(self) -> Any:
        """The adapter in C; a UsageError if it was closed."""
        if self._handle is None:
            raise _closed()
        return self._handle


def _closed() -> UsageError:
    return UsageError("this adapter was closed: open another one")


def _rows(
    features: ArrayLike | None,
    labels: ArrayLike | None,
    targets: ArrayLike | None,
    weights: ArrayLike | None,
    groups: ArrayLike | None,
) -> dict[str, ArrayLike | None]:
    return {
        "features": features,
        "labels": labels,
        "targets": targets,
        "weights": weights,
        "groups": groups,
    }


def _settle(request: Request, data_of: Job | None, keep_data: bool, detach: bool) -> None:
    if data_of is not None:
        request.share(data_of.handle())
    request.struct.keep_data = keep_data
    request.struct.detach = detach
