"""
How coroutines wait: on the adapter's descriptor, without a thread and without an interval.

One bell serves all jobs of an adapter. Coroutines that found nothing wait here; when the
descriptor becomes readable, all of them look again. None misses an event: whoever waits has seen
its job empty, and the adapter was armed after that, or is armed still.
"""

from __future__ import annotations

import asyncio
from typing import Any

from _trainhost import ffi, lib
from trainhost.errors import TrainhostError, UsageError, check


class Bell:
    """Wakes the coroutines of one event loop."""

    def __init__(self, adapter: Any, silence_s: float) -> None:
        """
        Serve the adapter of C that is given.

        After silence_s without a ring the host is asked whether it is well: a daemon that hangs
        rings no bell. 0: never ask.
        """
        self._adapter = adapter
        self._silence_s = silence_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._question: asyncio.Task[None] | None = None
        self._is_watched = False

    async def wait(self) -> None:
        """Return when there may be an event; raise a HostError if the host has stalled."""
        loop = asyncio.get_running_loop()
        self._serve(loop)
        waiter = loop.create_future()
        self._waiters.add(waiter)
        try:
            if not self._is_watched:
                self._watch(loop)
            await waiter
        finally:
            self._waiters.discard(waiter)
            if not self._waiters:
                self._unwatch()

    def close(self) -> None:
        """Wake whoever waits, to find the adapter closed. May be called on any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)
        else:
            self._adapter = None

    def _end(self) -> None:
        self._ring()
        self._adapter = None

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is self._loop:
            return
        if self._loop is not None and self._loop.is_running():
            raise UsageError(
                "another event loop waits for jobs of this adapter: open an adapter for each loop"
            )
        self._loop = loop

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        code = lib.th_adapter_arm(self._adapter)
        if code == lib.TH_ERR_AGAIN:
            # In a turn of the loop's own: others have theirs, however fast a job tells.
            loop.call_soon(self._ring)
            return
        check(code)
        loop.add_reader(lib.th_adapter_fd(self._adapter), self._ring)
        self._is_watched = True
        self._set_timer(loop)

    def _unwatch(self) -> None:
        if not self._is_watched or self._loop is None:
            return
        self._is_watched = False
        self._loop.remove_reader(lib.th_adapter_fd(self._adapter))
        if self._timer is not None:
            self._timer.cancel()
        if self._question is not None:
            self._question.cancel()

    def _ring(self, error: TrainhostError | None = None) -> None:
        self._unwatch()
        for waiter in self._waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                # Each raises its own: a traceback belongs to one.
                waiter.set_exception(type(error)(*error.args))

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._silence_s > 0:
            self._timer = loop.call_later(self._silence_s, self._ask, loop)

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        self._question = loop.create_task(self._question_host(loop))

    async def _question_host(self, loop: asyncio.AbstractEventLoop) -> None:
        # On a thread, since the answer may take as long as the adapter's time-out allows.
        adapter, health = self._adapter, ffi.new("th_health *")
        try:
            await asyncio.to_thread(lambda: check(lib.th_adapter_health(adapter, health)))
        except TrainhostError as error:
            self._question = None
            self._ring(error)
        else:
            self._set_timer(loop)
