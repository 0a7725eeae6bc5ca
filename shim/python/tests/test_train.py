"""What a program does with the package, the same through a daemon and in the process."""

from __future__ import annotations

import gc
import os
import threading
import time
import tomllib
import weakref
from pathlib import Path

import numpy as np
import pytest
from conftest import Data, Host

import trainhost
from trainhost import EventKind, JobKind, Phase

SHORT = {"hidden": [8], "epochs": 5, "validation_split": 0.2, "seed": 3}
ENDLESS = {"hidden": [8], "epochs": 1_000_000_000}


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fd_count() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_version_is_the_librarys() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert trainhost.__version__ == project["project"]["version"]


def test_a_training_tells_its_story_and_returns_the_model(
    adapter: trainhost.Adapter, data: Data
) -> None:
    job = adapter.train(*data, SHORT)
    events = list(job.events())
    epochs = [event for event in events if event.kind is EventKind.EPOCH]
    assert [event.epoch for event in epochs] == [1, 2, 3, 4, 5]
    assert all(event.validation_loss is not None for event in epochs)
    assert events[-1].phase is Phase.DONE
    assert events[-1].error is None
    result = job.result()
    assert result.kind is JobKind.TRAIN
    assert not result.is_checkpoint
    assert result.card["history"]["epochs"][4]["loss"] == pytest.approx(epochs[4].loss)
    assert list(result.model.tensors) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert result.model.spec["epochs"] == 5
    job.forget()


def test_both_ways_give_the_same_bits(shared_host: Host, data: Data) -> None:
    with shared_host.open() as host, trainhost.Manager(trainhost.Mode.LOCAL).open() as local:
        by_host = host.train(*data, SHORT).result()
        by_local = local.train(*data, SHORT).result()
    assert by_host.output == by_local.output


def test_a_model_evaluates_and_predicts_what_its_arithmetic_says(
    adapter: trainhost.Adapter, data: Data
) -> None:
    features, labels = data
    model = adapter.train(features, labels, SHORT, activation="relu").result().model
    logits = adapter.predict(model, features).result().logits
    hidden = np.maximum(features @ model.tensors["0.weight"].T + model.tensors["0.bias"], 0)
    np.testing.assert_allclose(
        logits, hidden @ model.tensors["2.weight"].T + model.tensors["2.bias"], atol=1e-5
    )
    card = adapter.evaluate(model, features, labels).result().card
    assert card["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())


def test_a_model_is_saved_whole_and_loaded_again(
    adapter: trainhost.Adapter, data: Data, tmp_path: Path
) -> None:
    model = adapter.train(*data, SHORT).result().model
    model.save(tmp_path / "model.safetensors")
    assert os.listdir(tmp_path) == ["model.safetensors"]
    loaded = trainhost.Model.load(tmp_path / "model.safetensors")
    assert loaded.data == model.data
    assert adapter.train(*data, epochs=1, hidden=[8], model=loaded).result().card["best_epoch"] == 1
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "nowhere" / "model.safetensors")


def test_jobs_share_the_data_of_one(adapter: trainhost.Adapter, data: Data) -> None:
    first = adapter.train(*data, SHORT, keep_data=True)
    first.wait()
    sent = adapter.statistics().bytes_sent
    second = adapter.train(data_of=first, spec=SHORT, seed=3)
    assert second.result().output == first.result().output
    assert adapter.statistics().bytes_sent == sent
    evaluated = adapter.evaluate(first.result().model, data_of=first).result()
    assert evaluated.kind is JobKind.EVALUATE
    for job in (second, first):
        job.forget()


def test_many_are_trained_on_data_sent_once(adapter: trainhost.Adapter, data: Data) -> None:
    specs = [{**SHORT, "seed": seed} for seed in (3, 4, 5)]
    jobs = adapter.train_many(specs, *data)
    assert [job.result().card["seed"] for job in jobs] == [3, 4, 5]
    assert adapter.statistics().bytes_sent == sum(array.nbytes for array in data)
    assert jobs[0].result().output == adapter.train(*data, SHORT).result().output
    with pytest.raises(trainhost.UsageError, match="epohcs"):
        adapter.train_many([SHORT, {"epohcs": 1}], *data)
    with pytest.raises(trainhost.UsageError, match="specs is empty"):
        adapter.train_many([], *data)
    assert len(adapter.jobs()) >= 4
    for job in jobs:
        job.forget()


def test_a_stopped_job_goes_on_to_the_same_bits(adapter: trainhost.Adapter, data: Data) -> None:
    spec = {**SHORT, "epochs": 4000, "early_stopping_patience": 0}
    whole = adapter.train(*data, spec)
    job = adapter.train(*data, spec, checkpoint_epochs=1)
    while job.next().epoch < 3:
        pass
    while (running := job.checkpoint()) is None:
        time.sleep(0.001)
    job.stop()
    stopped = job.result()
    assert stopped.is_checkpoint
    for model in (running, stopped.model):
        resumed = adapter.train(*data, spec, model=model).result()
        assert resumed.output == whole.result().output


def test_weights_and_targets_and_groups_arrive(adapter: trainhost.Adapter, data: Data) -> None:
    features, labels = data
    none_of_two = (labels != 2).astype(np.float32)
    model = adapter.train(features, labels, epochs=20, weights=none_of_two).result().model
    said = adapter.predict(model, features).result().logits.argmax(1)
    assert 2 not in said

    numbers = features[:, :2] * 2 + 1
    regression = adapter.train(
        features, targets=numbers, loss="mean_squared_error", hidden=[], epochs=60, batch_size=8,
        learning_rate=0.01,
    ).result().model  # fmt: skip
    told = adapter.predict(regression, features).result().logits
    np.testing.assert_allclose(told, numbers, atol=0.05)

    with pytest.raises(trainhost.DataError, match="600 rows of features and 599 weights"):
        adapter.train(features, labels, weights=none_of_two[1:])
    with pytest.raises(trainhost.DataError, match="targets have the shape"):
        adapter.train(features, targets=np.ones((2, 2, 2)))


def test_progress_is_at_hand_while_another_thread_waits(
    adapter: trainhost.Adapter, data: Data
) -> None:
    job = adapter.train(*data, ENDLESS)
    waiter = threading.Thread(target=job.wait)
    waiter.start()
    end = time.monotonic() + 20
    while (progress := job.progress()).phase is not Phase.TRAINING or progress.loss is None:
        assert time.monotonic() < end
    assert progress.epochs == 1_000_000_000
    assert progress.job == job.number
    job.cancel()
    waiter.join(20)
    assert not waiter.is_alive()
    with pytest.raises(trainhost.CanceledError, match=f"job {job.number} was canceled"):
        job.result()
    job.forget()


def test_events_are_for_one_reader_at_a_time(adapter: trainhost.Adapter, data: Data) -> None:
    job = adapter.train(*data, ENDLESS)
    waiter = threading.Thread(target=job.wait)
    waiter.start()
    end = time.monotonic() + 20
    with pytest.raises(trainhost.UsageError, match="another thread reads"):
        while time.monotonic() < end:
            job.take()
    job.cancel()
    waiter.join(20)
    job.forget()


def test_a_wait_ends_when_its_time_is_over(adapter: trainhost.Adapter, data: Data) -> None:
    job = adapter.train(*data, ENDLESS)
    begin = time.monotonic()
    with pytest.raises(
        trainhost.WaitTimeoutError, match=r"told nothing new within|is not over after"
    ):
        job.wait(0.3)
    assert 0.29 < time.monotonic() - begin < 10
    with pytest.raises(TimeoutError):
        job.result(timeout=0)
    job.cancel()
    job.wait()
    job.forget()


def test_other_threads_run_during_a_wait(adapter: trainhost.Adapter, data: Data) -> None:
    """The lock of the interpreter is free: another thread counts on while one waits in C."""
    blocker = [adapter.train(*data, ENDLESS) for _ in range(2)]
    counted = 0
    is_over = threading.Event()

    def count() -> None:
        nonlocal counted
        while not is_over.is_set():
            counted += 1

    counter = threading.Thread(target=count)
    counter.start()
    begin = counted
    with pytest.raises(trainhost.WaitTimeoutError):
        blocker[0].wait(0.5)
    during = counted - begin
    is_over.set()
    counter.join()
    assert during > 10_000
    for job in blocker:
        job.cancel()
        job.wait()
        job.forget()


def test_a_detached_job_is_found_again_by_its_number(host: Host, data: Data) -> None:
    with host.open() as first:
        number = first.train(*data, SHORT, detach=True).number
    with host.open() as second:
        assert second.attach(number).result().card["best_epoch"] > 0
        with pytest.raises(trainhost.NotFoundError, match=str(number + 1)):
            second.attach(number + 1)


def test_lists_and_health_show_what_there_is(adapter: trainhost.Adapter, data: Data) -> None:
    job = adapter.train(*data, SHORT, name="listed")
    job.wait()
    info = next(info for info in adapter.jobs() if info.progress.job == job.number)
    assert (info.name, info.kind, info.progress.phase) == ("listed", JobKind.TRAIN, Phase.DONE)
    assert info.progress.fraction == 1.0
    assert sum(session.pid == os.getpid() for session in adapter.sessions()) >= 1
    health = adapter.health()
    assert health.jobs_kept >= 1
    assert health.daemon.endswith(trainhost.__version__)
    statistics = adapter.statistics()
    assert statistics.mode is adapter.mode
    assert statistics.jobs_started == 1
    job.forget()


def test_what_is_closed_says_so(adapter: trainhost.Adapter, data: Data) -> None:
    job = adapter.train(*data, SHORT)
    job.close()
    with pytest.raises(trainhost.UsageError, match="attach to it again"):
        job.progress()
    with adapter.attach(job.number) as again:
        again.wait()
        again.forget()
    adapter.close()
    adapter.close()
    with pytest.raises(trainhost.UsageError, match="adapter was closed"):
        adapter.health()


def test_closing_an_adapter_lets_a_waiting_thread_end(host: Host, data: Data) -> None:
    """Who is inside a call keeps what it works on; nothing is freed under it."""
    adapter = host.open()
    job = adapter.train(*data, ENDLESS)
    seen: list[BaseException] = []

    def wait() -> None:
        try:
            job.wait()
        except trainhost.TrainhostError as error:
            seen.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.05)
    adapter.close()
    waiter.join(20)
    assert not waiter.is_alive()
    assert [type(error) for error in seen] == [trainhost.UsageError]


def test_nothing_is_left_behind_whatever_goes_first(host: Host, data: Data) -> None:
    """Also not by cycles, which the collector takes apart in an order of its own."""
    features, labels = data
    before = fd_count()
    alive: list[weakref.ref[object]] = []
    for _ in range(20):
        adapter = host.open()
        job = adapter.train(features, labels, SHORT)
        cycle: list[object] = [adapter, job]
        cycle.append(cycle)
        alive += [weakref.ref(adapter), weakref.ref(job)]
        del adapter, job, cycle
    gc.collect()
    assert [reference() for reference in alive if reference() is not None] == []
    assert fd_count() == before


def test_a_result_outlives_all_that_it_came_from(adapter: trainhost.Adapter, data: Data) -> None:
    job = adapter.train(*data, SHORT)
    weight = job.result().model.tensors["0.weight"]
    expected = weight.copy()
    job.forget()
    adapter.close()
    gc.collect()
    ballast = [bytes(weight.nbytes) for _ in range(1000)]
    np.testing.assert_array_equal(weight, expected)
    assert len(ballast) == 1000


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer holds back what was freed"
)
def test_results_are_freed_with_what_looks_at_them(adapter: trainhost.Adapter, data: Data) -> None:
    """A megabyte each; what the process has in memory stays far below their sum."""
    rows = np.zeros((100_000, 5), np.float32)
    model = adapter.train(*data, epochs=1).result().model

    def predict() -> int:
        job = adapter.predict(model, rows)
        size = job.result().logits.nbytes
        job.forget()
        return size

    for _ in range(5):
        predict()
    before = resident_bytes()
    sizes = [predict() for _ in range(40)]
    assert resident_bytes() - before < sum(sizes) / 4


def test_a_thousand_jobs(host: Host, data: Data) -> None:
    """As many at a time as a session may follow; what was told of one leaves room for the next."""
    features, labels = data[0][:32], data[1][:32]
    at_once = 50
    with host.open(call_timeout=60) as adapter:
        for begin in range(0, 1000, at_once):
            seeds = range(begin, begin + at_once)
            jobs = [adapter.train(features, labels, hidden=[2], epochs=1, seed=s) for s in seeds]
            for job in jobs:
                assert job.result().card["best_epoch"] == 1
                job.forget()
        assert adapter.jobs() == []
        assert adapter.statistics().jobs_started == 1000
