"""One job: its events, its progress, its result."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from _trainhost import ffi, lib
from trainhost.errors import (
    HostStalledError,
    NotFoundError,
    UsageError,
    WaitTimeoutError,
    check,
)
from trainhost.model import Model
from trainhost.result import Result
from trainhost.values import Event, Progress, read

if TYPE_CHECKING:
    from trainhost.adapter import Adapter

# A wait in C ends at least so often, for Python to act on a signal such as Ctrl-C. Events end it at
# once.
SIGNAL_CHECK_S = 0.25

# A snapshot that was being written each time it was read will not become readable any more.
PROGRESS_READS_MAX = 1000


class Job:
    """
    A handle of a job. The job itself goes on without it, as long as its session does.

    Threads: events are for one reader at a time, be it a thread or a coroutine, and another gets a
    UsageError. All else may be called from any thread meanwhile.
    """

    def __init__(self, adapter: Adapter, pointer: Any) -> None:
        # Whoever is inside a call of C holds the handle, too: it is closed when the last has left.
        self._handle = ffi.gc(pointer, lib.th_job_close)
        self._adapter = adapter
        self._number = int(lib.th_job_number(pointer))
        self._reader = threading.Lock()
        self._progress = threading.Lock()

    def __repr__(self) -> str:
        return f"<trainhost.Job {self._number}>"

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def number(self) -> int:
        """By which Adapter.attach finds it again."""
        return self._number

    def handle(self) -> Any:
        """
        The job in C; a UsageError if it was closed.

        To be asked for within the call of C: a variable would live on in the traceback of an error,
        and with it the session.
        """
        if self._handle is None:
            raise UsageError(f"the handle of job {self._number} was closed: attach to it again")
        return self._handle

    def progress(self) -> Progress:
        """
        The newest state, without waiting. Works after the host was lost, too.

        :raises HostStalledError: the host stopped in the middle of writing it.
        """
        newest = ffi.new("th_progress *")
        with self._progress:
            for _ in range(PROGRESS_READS_MAX):
                code = lib.th_job_progress(self.handle(), newest)
                if code != lib.TH_ERR_AGAIN:
                    check(code)
                    return read(Progress, newest)
        raise HostStalledError(f"the progress of job {self._number} is written but never whole")

    def next(self, timeout: float | None = None) -> Event:
        """
        The next event.

        :param timeout: in seconds; None: no bound but the host's health.
        :raises WaitTimeoutError: none came in that time.
        :raises NotFoundError: the job is over and all were taken.
        :raises HostLostError: within milliseconds of the daemon's death.
        :raises HostStalledError: its heartbeat stood still.
        """
        event = ffi.new("th_event *")
        end = None if timeout is None else time.monotonic() + timeout
        with self._reading():
            while True:
                left = (
                    SIGNAL_CHECK_S if end is None else min(SIGNAL_CHECK_S, end - time.monotonic())
                )
                # At least a nanosecond, as 0 means not to wait, which is no error and has no text.
                code = lib.th_job_next(self.handle(), event, max(1, int(left * 1e9)))
                if code != lib.TH_ERR_TIMEOUT:
                    check(code)
                    return read(Event, event)
                if end is not None and time.monotonic() >= end:
                    raise WaitTimeoutError(
                        f"job {self._number} told nothing new within {timeout} s"
                    )

    def events(self) -> Events:
        """The events that are still to come, to be iterated over with `for` or `async for`."""
        return Events(self)

    def wait(self, timeout: float | None = None) -> None:
        """
        Take all events until the job is over, however it ends.

        :param timeout: of the whole, in seconds; raises as next.
        """
        end = None if timeout is None else time.monotonic() + timeout
        left = timeout
        try:
            while not self.next(left).phase.is_last:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeoutError(f"job {self._number} is not over after {timeout} s")
        except NotFoundError:
            return

    def result(self, timeout: float | None = None) -> Result:
        """
        Wait for the end, and return what the job ended with.

        The host keeps the result, over restarts too, until forget().

        :raises TrainhostError: the job's own error if it failed, CanceledError if it was canceled,
            and what wait raises.
        """
        self.wait(timeout)
        return self._fetch()

    def __await__(self) -> Generator[Any, None, Result]:
        """As result, in a coroutine; a canceled wait leaves the job as it is."""
        return self._finish().__await__()

    async def _finish(self) -> Result:
        async for _ in self.events():
            pass
        return await asyncio.to_thread(self._fetch)

    def cancel(self) -> None:
        """Ask the job to end; it does within a step. Nothing happens if it is over."""
        check(lib.th_job_cancel(self.handle()))

    def stop(self) -> None:
        """As cancel, but a training that has begun leaves a checkpoint as its result."""
        check(lib.th_job_stop(self.handle()))

    def checkpoint(self) -> Model | None:
        """
        The newest checkpoint, to go on from as the model of a training; None if there is none yet.

        :raises NotFoundError: the job is over and has left none.
        """
        code, result = self._receive(lib.th_job_checkpoint)
        if code == lib.TH_ERR_AGAIN:
            return None
        check(code)
        return Result(result).model

    def forget(self) -> None:
        """Let the host delete the result; a job not over is canceled first."""
        check(lib.th_job_forget(self.handle()))

    def close(self) -> None:
        """Give the handle back. The job is not touched."""
        self._handle = None

    def take(self) -> Event | None:
        """The next event, or None if there is none just now. Raises as next."""
        event = ffi.new("th_event *")
        with self._reading():
            code = lib.th_job_next(self.handle(), event, 0)
        if code == lib.TH_ERR_AGAIN:
            return None
        check(code)
        return read(Event, event)

    async def hear(self) -> Event:
        """As next without a time-out, in a coroutine."""
        while (event := self.take()) is None:
            await self._adapter.wait()
        return event

    def _fetch(self) -> Result:
        code, result = self._receive(lib.th_job_result)
        check(code)
        return Result(result)

    def _receive(self, call: Any) -> tuple[int, Any]:
        result = ffi.gc(ffi.new("th_result *"), lib.th_result_fini)
        return call(self.handle(), result), result

    @contextmanager
    def _reading(self) -> Generator[None, None, None]:
        if not self._reader.acquire(blocking=False):
            raise UsageError(f"another thread reads the events of job {self._number} already")
        try:
            yield
        finally:
            self._reader.release()


class Events(Iterator[Event], AsyncIterator[Event]):
    """
    A job's events up to the one that ends it.

    Ends however the job does; Job.result raises why it failed. A host that is lost is raised here.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def __next__(self) -> Event:
        try:
            return self._job.next()
        except NotFoundError:
            raise StopIteration from None

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        # A job may tell faster than it is listened to: other coroutines have their turn, too.
        await asyncio.sleep(0)
        try:
            return await self._job.hear()
        except NotFoundError:
            raise StopAsyncIteration from None
