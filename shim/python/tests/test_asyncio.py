"""Coroutines wait on the descriptor: no thread, no interval, and nothing lost."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from typing import Any

import pytest
from conftest import Data, Host

import trainhost
from trainhost import EventKind, Phase

SHORT = {"hidden": [8], "epochs": 5, "validation_split": 0.2, "seed": 3}
ENDLESS = {"hidden": [8], "epochs": 1_000_000_000}


def run(coroutine: Any, seconds: float = 60) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(coroutine, seconds)

    return asyncio.run(bounded())


def test_a_coroutine_hears_what_a_thread_hears(adapter: trainhost.Adapter, data: Data) -> None:
    async def listen() -> list[trainhost.Event]:
        return [event async for event in adapter.train(*data, SHORT).events()]

    heard = run(listen())
    assert [e.epoch for e in heard if e.kind is EventKind.EPOCH] == [1, 2, 3, 4, 5]
    assert heard[-1].phase is Phase.DONE


def test_to_await_a_job_is_to_have_its_result(adapter: trainhost.Adapter, data: Data) -> None:
    async def train() -> trainhost.Result:
        return await adapter.train(*data, SHORT)

    assert run(train()).output == adapter.train(*data, SHORT).result().output


def test_many_jobs_are_awaited_on_one_thread(adapter: trainhost.Adapter, data: Data) -> None:
    async def train_all() -> list[trainhost.Result]:
        jobs = [adapter.train(*data, SHORT, name=str(number)) for number in range(40)]
        threads = threading.active_count()

        async def hear(job: trainhost.Job) -> int:
            count = sum([event.kind is EventKind.EPOCH async for event in job.events()])
            assert threading.active_count() == threads
            return count

        assert await asyncio.gather(*map(hear, jobs)) == [5] * 40
        return [job.result() for job in jobs]

    assert [result.card["spec"]["name"] for result in run(train_all())] == [*map(str, range(40))]


def test_others_have_their_turn_while_a_job_tells_fast(
    adapter: trainhost.Adapter, data: Data
) -> None:
    async def main() -> int:
        turns = 0
        job = adapter.train(*data, ENDLESS)

        async def listen() -> None:
            async for _ in job.events():
                pass

        listener = asyncio.create_task(listen())
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            await asyncio.sleep(0)
            turns += 1
        job.cancel()
        await listener
        return turns

    assert run(main()) > 100


def test_a_canceled_wait_leaves_the_job_and_the_loop_as_they_were(
    adapter: trainhost.Adapter, data: Data
) -> None:
    async def main() -> None:
        job = adapter.train(*data, ENDLESS)
        other = adapter.train(*data, SHORT)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(job, 0.005)
        waiter = asyncio.ensure_future(job._finish())
        await asyncio.sleep(0.02)
        waiter.cancel()
        assert (await other).card["best_epoch"] > 0
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert not job.progress().phase.is_last
        job.cancel()
        with pytest.raises(trainhost.CanceledError):
            await job

    run(main())


def test_a_job_that_nobody_reads_costs_no_turns(adapter: trainhost.Adapter, data: Data) -> None:
    """Its events wait, and the loop sleeps until one comes for who listens."""

    async def main() -> int:
        unread = [adapter.train(*data, SHORT) for _ in range(3)]
        while not all(job.progress().phase.is_last for job in unread):
            await asyncio.sleep(0.01)
        # What came before is told once; then there is nothing to wake up for.
        for turns in range(1000):
            try:
                await asyncio.wait_for(adapter.wait(), 0.2)
            except TimeoutError:
                return turns
        return 1000

    assert run(main()) < 20


def test_the_daemons_death_ends_every_wait_at_once(host: Host, data: Data) -> None:
    async def main() -> float:
        with host.open() as adapter:
            jobs = [adapter.train(*data, ENDLESS) for _ in range(5)]
            waiters = [asyncio.ensure_future(job._finish()) for job in jobs]
            while jobs[0].progress().phase is not Phase.TRAINING:
                await asyncio.sleep(0.01)
            begin = time.monotonic()
            host.kill()
            ended = await asyncio.gather(*waiters, return_exceptions=True)
            seconds = time.monotonic() - begin
            assert all(isinstance(error, trainhost.HostLostError) for error in ended), ended
            assert not jobs[0].progress().phase.is_last
            with pytest.raises(ConnectionError):
                adapter.health()
        return seconds

    assert run(main()) < 2


def test_a_daemon_that_hangs_is_noticed_and_may_go_on(host: Host, data: Data) -> None:
    async def main() -> None:
        with host.open(stall_timeout=1, call_timeout=1) as adapter:
            job = adapter.train(*data, ENDLESS)
            os.kill(host.process.pid, signal.SIGSTOP)
            with pytest.raises(trainhost.HostStalledError):
                await job
            os.kill(host.process.pid, signal.SIGCONT)
            adapter.health()
            while (await asyncio.wait_for(job.hear(), 10)).epoch == 0:
                pass

    run(main())


def test_silence_is_no_failure(host: Host) -> None:
    """Where nothing happens, the host is asked, and is well."""

    async def main() -> None:
        with host.open(stall_timeout=0.05) as adapter:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(adapter.wait(), 0.5)
            assert adapter.statistics().requests > 2
            assert adapter.statistics().errors == 0

    run(main())


def test_closing_an_adapter_wakes_who_waits(host: Host, data: Data) -> None:
    async def main() -> None:
        adapter = host.open()
        waiter = asyncio.ensure_future(adapter.train(*data, ENDLESS)._finish())
        await asyncio.sleep(0.05)
        await asyncio.to_thread(adapter.close)
        with pytest.raises(trainhost.UsageError, match="was closed"):
            await waiter

    run(main())


def test_to_close_is_to_end_the_session_whoever_remembers_it(host: Host, data: Data) -> None:
    """Errors keep the frames that they passed through; those must not keep the session."""
    errors: list[BaseException] = []

    async def main() -> None:
        adapter = host.open()
        job = adapter.train(*data, ENDLESS)
        for wait in (job, asyncio.to_thread(job.wait, 0.01)):
            try:
                await asyncio.wait_for(wait, 0.05)
            except TimeoutError as error:
                errors.append(error)
        waiter = asyncio.ensure_future(adapter.wait())
        await asyncio.sleep(0.01)
        waiter.cancel()
        adapter.close()
        errors.extend(await asyncio.gather(waiter, return_exceptions=True))

    gc.disable()
    try:
        run(main())
        with host.open() as other:
            end = time.monotonic() + 5
            while len(other.sessions()) > 1:
                assert time.monotonic() < end, other.sessions()
    finally:
        gc.enable()
    assert len(errors) == 3


def test_one_loop_after_another_but_not_two_at_once(adapter: trainhost.Adapter, data: Data) -> None:
    job = adapter.train(*data, ENDLESS)

    async def wait_briefly() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(job, 0.02)

    run(wait_briefly())
    run(wait_briefly())
    is_waiting = threading.Event()

    async def wait_long() -> None:
        await adapter.wait()
        is_waiting.set()
        with pytest.raises(trainhost.CanceledError):
            await job

    thread = threading.Thread(target=run, args=(wait_long(),))
    thread.start()
    assert is_waiting.wait(20)

    async def intrude() -> None:
        with pytest.raises(trainhost.UsageError, match="another event loop waits"):
            await adapter.wait()

    run(intrude())
    job.cancel()
    thread.join(20)
    assert not thread.is_alive()


def test_a_loop_of_ones_own_polls_the_descriptor(adapter: trainhost.Adapter, data: Data) -> None:
    import selectors

    job = adapter.train(*data, SHORT)
    heard: list[trainhost.Event] = []
    with selectors.DefaultSelector() as selector:
        selector.register(adapter, selectors.EVENT_READ)
        while not heard or not heard[-1].phase.is_last:
            if adapter.arm():
                assert selector.select(20)
            while (event := job.take()) is not None:
                heard.append(event)
                if event.phase.is_last:
                    break
    assert [e.epoch for e in heard if e.kind is EventKind.EPOCH] == [1, 2, 3, 4, 5]
