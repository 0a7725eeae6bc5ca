"""The adapter of ktrdr's backend; what was wrong with the service that it replaces stays away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Host
from test_ktrdr_features import TIME, strategy, waves, write_bars, write_strategy

from trainhost.ktrdr import (
    CsvFeatureProvider,
    FeatureSet,
    TrainingAdapter,
    TrainingHostBusyError,
    TrainingManager,
    TrainingProviderConnectionError,
    TrainingProviderDataError,
    TrainingProviderError,
    TrainingSessionNotFoundError,
    TrainingSessionStateError,
)

SYMBOLS = ["EUR", "GBP"]
WHAT = (SYMBOLS, ["1h"], *TIME)
STATUS_BYTES_MAX = 1500


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """A directory with two symbols and a strategy."""
    for number, symbol in enumerate(SYMBOLS):
        write_bars(tmp_path, symbol, "1h", waves(1000, number))
    write_strategy(tmp_path / "strategy.yaml", strategy())
    return tmp_path


@pytest.fixture(params=[True, False], ids=["host", "local"])
def make(request: pytest.FixtureRequest, market: Path) -> Callable[..., TrainingAdapter]:
    """An adapter of each way."""

    def make_adapter(**options: Any) -> TrainingAdapter:
        url = request.getfixturevalue("host").url if request.param else None
        provider = options.pop("features", CsvFeatureProvider(market))
        return TrainingAdapter(request.param, url, features=provider, **options)

    return make_adapter


def by_host(host: Host, market: Path, **options: Any) -> TrainingAdapter:
    return TrainingAdapter(True, host.url, features=CsvFeatureProvider(market), **options)


def run(
    adapter: TrainingAdapter, use: Callable[[TrainingAdapter], Coroutine[Any, Any, Any]]
) -> Any:
    async def bounded() -> Any:
        try:
            return await asyncio.wait_for(use(adapter), 60)
        finally:
            await adapter.close()

    return asyncio.run(bounded())


async def ended(adapter: TrainingAdapter, session: str) -> dict[str, Any]:
    while (status := await adapter.get_training_status(session))["status"] in (
        "initializing",
        "running",
    ):
        await asyncio.sleep(0.005)
    return status


async def running(adapter: TrainingAdapter, session: str) -> dict[str, Any]:
    while (status := await adapter.get_training_status(session))["progress"]["epoch"] < 2:
        await asyncio.sleep(0.005)
    return status


class Rows:
    """A provider of rows made here."""

    def __init__(self, rows: FeatureSet) -> None:
        self.rows = rows

    def load(self, *_: object) -> FeatureSet:
        return self.rows


# ---- the way through ----


def test_a_strategy_is_trained_and_its_model_comes_back(
    make: Callable[..., TrainingAdapter], market: Path
) -> None:
    async def use(adapter: TrainingAdapter) -> None:
        started = await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT)
        assert started["success"]
        assert started["training_started"]
        assert started["host_service_used"] is adapter.use_host_service
        session = started["session_id"]
        status = await ended(adapter, session)
        assert status["status"] == "completed"
        assert status["error"] is None
        assert status["metrics"]["best"]["val_loss"] is not None
        assert set(status["resource_usage"]) == {"gpu_allocated", "gpu_memory", "system_memory"}
        result = await adapter.get_training_result(session)
        assert result["status"] == "completed"
        assert result["training_metrics"]["validation_accuracy"] is not None
        assert result["model"].spec["hidden"] == [8]
        assert result["test_metrics"] is None
        listed = await adapter.list_sessions()
        assert [s["session_id"] for s in listed["sessions"]] == [session]
        assert (await adapter.delete_session(session))["status"] == "cleaned_up"
        with pytest.raises(TrainingSessionNotFoundError):
            await adapter.get_training_status(session)
        assert (await adapter.list_sessions())["total_sessions"] == 0
        statistics = adapter.get_statistics()
        assert statistics["errors"] == 1
        assert statistics["active_sessions"] == 0

    run(make(), use)


def test_rows_kept_back_measure_the_model(
    make: Callable[..., TrainingAdapter], market: Path
) -> None:
    document = strategy()
    document["training"]["data_split"] = {"train": 0.7, "validation": 0.15, "test": 0.15}
    path = write_strategy(market / "split.yaml", document)

    async def use(adapter: TrainingAdapter) -> None:
        session = (await adapter.train_multi_symbol_strategy(path, *WHAT))["session_id"]
        await ended(adapter, session)
        result = await adapter.get_training_result(session)
        assert 0 <= result["test_metrics"]["accuracy"] <= 1
        data = result["card"]["data"]
        assert data["validation_rows"] == pytest.approx(0.15 / 0.85 * data["rows"], abs=1)

    run(make(), use)


def test_progress_is_called_back_by_functions_and_coroutines(
    make: Callable[..., TrainingAdapter], market: Path
) -> None:
    async def use(adapter: TrainingAdapter) -> None:
        heard: list[dict[str, Any]] = []

        async def hear(status: dict[str, Any]) -> None:
            await asyncio.sleep(0)
            heard.append(status)

        for callback in (heard.append, hear):
            heard.clear()
            started = await adapter.train_multi_symbol_strategy(
                market / "strategy.yaml", *WHAT, progress_callback=callback
            )
            await adapter.get_training_status(started["session_id"])
            await ended(adapter, started["session_id"])
            await adapter.get_training_result(started["session_id"])
            assert heard[-1]["status"] == "completed"
            assert heard[-1]["progress"]["epoch"] == 4

    run(make(), use)


def test_a_restarted_backend_finds_its_training(host: Host, market: Path) -> None:
    async def start(adapter: TrainingAdapter) -> str:
        started = await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT)
        return str(started["session_id"])

    session = run(by_host(host, market), start)

    async def find(adapter: TrainingAdapter) -> None:
        # The host may not have noticed yet that the process before is gone.
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(TrainingHostBusyError):
                await adapter.get_training_status(session)
                break
            await asyncio.sleep(0.005)
        await ended(adapter, session)
        assert (await adapter.get_training_result(session))["model"].tensors
        # However many ask at once.
        await adapter.close()
        asked = [adapter.get_training_status(session) for _ in range(10)]
        assert {status["status"] for status in await asyncio.gather(*asked)} == {"completed"}

    run(by_host(host, market), find)


def test_a_restarted_host_finds_its_training(host: Host, market: Path) -> None:
    """Within one adapter: no restart of the backend either."""

    async def use(adapter: TrainingAdapter) -> None:
        session = (await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT))[
            "session_id"
        ]
        await ended(adapter, session)
        model = (await adapter.get_training_result(session))["model"].data.tobytes()
        await asyncio.to_thread(host.kill)
        with pytest.raises(TrainingProviderConnectionError):
            await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT)
        await asyncio.to_thread(host.start)
        assert (await adapter.get_training_result(session))["model"].data.tobytes() == model

    run(by_host(host, market), use)


def test_a_model_is_evaluated_on_rows(make: Callable[..., TrainingAdapter], market: Path) -> None:
    rows = CsvFeatureProvider(market).load(market / "strategy.yaml", *WHAT)

    async def use(adapter: TrainingAdapter) -> None:
        session = (await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT))[
            "session_id"
        ]
        await ended(adapter, session)
        model = (await adapter.get_training_result(session))["model"]
        answer = await adapter.evaluate(model, rows)
        assert answer["card"]["rows"] == len(rows.features)
        assert answer["results"]["accuracy"] > 0.3

    run(make(), use)


def test_health_is_asked_and_not_assumed(host: Host, market: Path) -> None:
    async def use(adapter: TrainingAdapter) -> None:
        health = await adapter.health()
        assert health["healthy"]
        assert health["gpu_status"]["device_name"].startswith("cpu")
        await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT, epochs=1_000_000)
        assert (await adapter.health())["active_training_sessions"] == 1
        await asyncio.to_thread(host.kill)
        health = await adapter.health()
        assert not health["healthy"]
        assert health["status"] == "unreachable"
        assert "trainhost.sock" in health["error"]

    run(by_host(host, market), use)


# ---- what was wrong ----


def test_a_start_that_fails_raises(make: Callable[..., TrainingAdapter], market: Path) -> None:
    """It was swallowed, and the operation stayed "running" for ever."""

    async def use(adapter: TrainingAdapter) -> None:
        with pytest.raises(TrainingProviderDataError, match=r"none\.yaml") as caught:
            await adapter.train_multi_symbol_strategy(market / "none.yaml", *WHAT)
        assert caught.value.provider == "training"
        assert caught.value.message == str(caught.value)
        with pytest.raises(TrainingProviderDataError, match="epohcs"):
            await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT, epohcs=3)
        assert (await adapter.list_sessions())["total_sessions"] == 0

    run(make(), use)


def test_a_training_that_fails_says_so(make: Callable[..., TrainingAdapter], market: Path) -> None:
    rows = CsvFeatureProvider(market).load(market / "strategy.yaml", *WHAT)
    rows.features[5, 1] = np.nan

    async def use(adapter: TrainingAdapter) -> None:
        if not adapter.use_host_service:
            with pytest.raises(TrainingProviderDataError, match=r"NaN|nan|finite"):
                await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT)
            return
        session = (await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT))[
            "session_id"
        ]
        await ended(adapter, session)
        with pytest.raises(TrainingProviderDataError, match=r"NaN|nan|finite") as caught:
            await adapter.get_training_result(session)
        status = await adapter.get_training_status(session)
        assert status["status"] == "failed"
        assert status["error"] == caught.value.message

    run(make(features=Rows(rows)), use)


def test_an_unknown_session_a_busy_host_and_a_lost_one_are_told_apart(
    host: Host, market: Path
) -> None:
    """All three were a 500."""

    async def use(adapter: TrainingAdapter) -> None:
        statuses = []
        for session in ("trainhost-999", "nonsense", "trainhost-", "trainhost-" + 30 * "9"):
            with pytest.raises(TrainingSessionNotFoundError) as unknown:
                await adapter.get_training_status(session)
            statuses.append(unknown.value.http_status)
        started = await adapter.train_multi_symbol_strategy(
            market / "strategy.yaml", *WHAT, epochs=1_000_000
        )
        with pytest.raises(TrainingHostBusyError, match="1 trainings run"):
            await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT)
        with pytest.raises(TrainingSessionStateError) as early:
            await adapter.get_training_result(started["session_id"])
        with pytest.raises(TrainingSessionStateError):
            await adapter.delete_session(started["session_id"])
        host.kill()
        with pytest.raises(TrainingProviderConnectionError) as lost:
            while True:
                await adapter.get_training_status(started["session_id"])
                await asyncio.sleep(0)
        statuses += [early.value.http_status, lost.value.http_status]
        assert statuses == [404, 404, 404, 404, 409, 503]

    run(by_host(host, market, max_concurrent_sessions=1), use)


def test_a_status_does_not_grow_and_does_not_wait(host: Host, market: Path) -> None:
    """It grew from 526 B to 16.8 KB, and took 80 ms while training."""

    async def use(adapter: TrainingAdapter) -> None:
        session = (
            await adapter.train_multi_symbol_strategy(
                market / "strategy.yaml", *WHAT, epochs=1_000_000
            )
        )["session_id"]
        early = await running(adapter, session)
        while (late := await adapter.get_training_status(session))["progress"]["epoch"] < 200:
            await asyncio.sleep(0.01)
        sizes = [len(json.dumps(status)) for status in (early, late)]
        # Digits, and the best epoch once there is one.
        assert abs(sizes[1] - sizes[0]) < 200
        assert max(sizes) < STATUS_BYTES_MAX
        took = []
        for _ in range(50):
            begin = time.perf_counter()
            await adapter.get_training_status(session)
            took.append(time.perf_counter() - begin)
        assert sorted(took)[len(took) // 2] < 0.04

    run(by_host(host, market), use)


def test_a_finished_run_is_at_its_last_epoch(
    make: Callable[..., TrainingAdapter], market: Path
) -> None:
    """It was shown as "epoch 10 of 100"."""
    document = strategy()
    document["model"]["training"].update(
        epochs=1000, learning_rate=0.1, early_stopping={"patience": 2}
    )
    path = write_strategy(market / "early.yaml", document)

    async def use(adapter: TrainingAdapter) -> None:
        session = (await adapter.train_multi_symbol_strategy(path, *WHAT))["session_id"]
        progress = (await ended(adapter, session))["progress"]
        assert progress["epoch"] == progress["total_epochs"] < 1000
        assert progress["batch"] == progress["total_batches"]
        assert progress["progress_percent"] == 100.0

    run(make(), use)


def test_host_and_local_train_the_same_net(host: Host, market: Path) -> None:
    """There were two trainers, with different nets, features and labels."""

    async def use(adapter: TrainingAdapter) -> bytes:
        session = (await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT))[
            "session_id"
        ]
        await ended(adapter, session)
        return bytes((await adapter.get_training_result(session))["model"].data)

    local = TrainingAdapter(features=CsvFeatureProvider(market))
    assert run(by_host(host, market), use) == run(local, use)


def test_the_future_is_not_learnt_from(make: Callable[..., TrainingAdapter], market: Path) -> None:
    """Rows were shuffled before the split, and the newest were trained on."""
    rows = CsvFeatureProvider(market).load(market / "strategy.yaml", *WHAT)
    newest = np.quantile(rows.times, 0.8, method="higher")
    labels = np.where(rows.times > newest, 2, rows.labels % 2).astype(np.int32)
    shuffled = np.random.default_rng(1).permutation(len(labels))
    told = FeatureSet(rows.features, labels, rows.groups, rows.times, rows.names).rows(shuffled)

    async def use(adapter: TrainingAdapter) -> None:
        session = (
            await adapter.train_multi_symbol_strategy(
                market / "strategy.yaml", *WHAT, validation_split=0.15
            )
        )["session_id"]
        await ended(adapter, session)
        validation = (await adapter.get_training_result(session))["card"]["validation"]
        # Class 2 is in the newest rows alone, and those alone validate.
        assert [row["support"] for row in validation["by_class"]][:2] == [0, 0]
        assert validation["by_class"][2]["support"] == validation["rows"]

    run(make(features=Rows(told)), use)


def test_every_symbol_is_told_apart_when_it_is_measured(
    make: Callable[..., TrainingAdapter], market: Path
) -> None:
    """Every row was scored as one of the first symbol."""
    rows = CsvFeatureProvider(market).load(market / "strategy.yaml", *WHAT)
    features = np.zeros_like(rows.features)
    told = FeatureSet(features, rows.groups * 2, rows.groups, rows.times, rows.names)

    async def use(adapter: TrainingAdapter) -> None:
        session = (
            await adapter.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT, epochs=30)
        )["session_id"]
        await ended(adapter, session)
        model = (await adapter.get_training_result(session))["model"]
        assert (await adapter.evaluate(model, told))["results"]["accuracy"] == 1.0

    run(make(features=Rows(told)), use)


@pytest.mark.parametrize("save_checkpoint", [True, False])
def test_a_stop_ends_the_training_and_says_what_was_saved(
    host: Host, market: Path, save_checkpoint: bool
) -> None:
    """It raced its own time-out of 30 s, and said that a checkpoint was saved, which was not."""

    async def use(adapter: TrainingAdapter) -> None:
        session = (
            await adapter.train_multi_symbol_strategy(
                market / "strategy.yaml", *WHAT, epochs=1_000_000
            )
        )["session_id"]
        await running(adapter, session)
        begin = time.monotonic()
        stopped = await adapter.stop_training(session, save_checkpoint)
        assert time.monotonic() - begin < 5
        assert stopped["status"] == "stopped"
        assert stopped["checkpoint_saved"] is save_checkpoint
        assert (await adapter.get_training_status(session))["status"] == "stopped"
        again = await adapter.stop_training(session, save_checkpoint)
        assert again == stopped
        if save_checkpoint:
            assert (await adapter.get_training_result(session))["model"].tensors
        else:
            with pytest.raises(TrainingProviderError, match="canceled"):
                await adapter.get_training_result(session)

    run(by_host(host, market), use)


def test_a_session_that_takes_too_long_ends_and_is_forgotten(host: Host, market: Path) -> None:
    async def use(adapter: TrainingAdapter) -> None:
        session = (
            await adapter.train_multi_symbol_strategy(
                market / "strategy.yaml", *WHAT, epochs=1_000_000
            )
        )["session_id"]
        assert (await ended(adapter, session))["status"] == "stopped"
        with pytest.raises(TrainingSessionNotFoundError):
            while True:
                await adapter.get_training_status(session)
                await asyncio.sleep(0.01)

    run(by_host(host, market, session_timeout_minutes=1 / 120), use)


def test_a_configuration_that_is_wrong_raises_and_falls_back_on_nothing(
    monkeypatch: pytest.MonkeyPatch, market: Path
) -> None:
    monkeypatch.setenv("USE_TRAINING_HOST_SERVICE", "true")
    monkeypatch.setenv("TRAINING_HOST_SERVICE_URL", "http://localhost:5002")
    with pytest.raises(TrainingProviderDataError, match="TRAINING_HOST_SERVICE_URL"):
        TrainingManager()
    monkeypatch.setenv("TRAINING_HOST_SERVICE_URL", f"unix://{market}/none.sock")
    manager = TrainingManager(CsvFeatureProvider(market))
    assert manager.is_using_host_service()
    assert manager.get_host_service_url() == f"unix://{market}/none.sock"

    async def use(_: TrainingAdapter) -> None:
        with pytest.raises(TrainingProviderConnectionError, match=r"none\.sock"):
            await manager.train_multi_symbol_strategy(market / "strategy.yaml", *WHAT)

    run(manager.adapter, use)
    assert manager.get_adapter_statistics()["errors"] == 1


def test_a_request_in_three_parts_is_trained_and_none_of_it_ignored(
    monkeypatch: pytest.MonkeyPatch, market: Path
) -> None:
    monkeypatch.setenv("USE_TRAINING_HOST_SERVICE", "no")
    monkeypatch.setenv("KTRDR_DATA_DIR", str(market))
    manager = TrainingManager()
    assert manager.get_host_service_url() is None
    config: dict[str, dict[str, Any]] = {
        "model_configuration": {
            "strategy_config": str(market / "strategy.yaml"),
            "symbols": SYMBOLS,
            "timeframes": ["1h"],
            "model_type": "mlp",
            "multi_symbol": True,
        },
        "training_configuration": {
            "validation_split": 0.3,
            "start_date": TIME[0],
            "end_date": TIME[1],
            "data_mode": "local",
            "epochs": 2,
        },
        "data_configuration": {"symbols": SYMBOLS, "timeframes": ["1h"], "data_source": "local"},
    }

    async def use(_: TrainingAdapter) -> None:
        result = await manager.train_model(config)
        assert result["card"]["spec"]["epochs"] == 2
        data = result["card"]["data"]
        assert data["validation_rows"] == pytest.approx(0.3 * data["rows"], abs=1)
        for part, name, value, text in _BROKEN:
            broken = json.loads(json.dumps(config))
            broken.setdefault(part, {})[name] = value
            with pytest.raises(TrainingProviderDataError, match=text):
                await manager.train_model(broken)
        del config["model_configuration"]["strategy_config"]
        with pytest.raises(TrainingProviderDataError, match=r"not whole.*strategy_config"):
            await manager.train_model(config)

    run(manager.adapter, use)


_BROKEN: Sequence[tuple[str, str, Any, str]] = [
    ("gpu_configuration", "enable_gpu", True, "gpu_configuration is none of"),
    ("training_configuration", "epcohs", 3, "training_configuration.epcohs is none of"),
    ("data_configuration", "symbols", ["JPY"], "symbols is said twice"),
    ("model_configuration", "model_type", "lstm", "model_type must be mlp"),
    ("training_configuration", "data_mode", "remote", "data_mode is 'remote'"),
    ("training_configuration", "validation_split", 1.5, "leave nothing to train on"),
]
