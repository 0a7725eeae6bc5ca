"""What a backend calls, in the shape of the HTTP adapter that it called before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trainhost
from trainhost.ktrdr.csv_features import CsvFeatureProvider
from trainhost.ktrdr.errors import (
    TrainingHostBusyError,
    TrainingProviderConnectionError,
    TrainingProviderDataError,
    TrainingProviderError,
    TrainingSessionStateError,
    translated,
)
from trainhost.ktrdr.features import FeatureProvider, FeatureSet
from trainhost.ktrdr.session import ProgressCallback, Session, job_of
from trainhost.ktrdr.strategy import Strategy

# What is learnt for each symbol, where there are several.
_EMBEDDING = 16
_SERVICE = "training-host"


class TrainingAdapter:
    """
    Trains strategies, on the training host or in this process, by one trainer.

    All calls belong to one event loop. Each fails with a TrainingProviderError; what was asked for
    and could not be started raises, and nothing is trained elsewhere instead.
    """

    def __init__(
        self,
        use_host_service: bool = False,
        host_service_url: str | None = None,
        *,
        features: FeatureProvider | None = None,
        max_concurrent_sessions: int = 3,
        session_timeout_minutes: float = 60.0,
        stop_timeout_s: float = 10.0,
    ) -> None:
        """
        Decide the way; connect when it is needed.

        :param host_service_url: unix:///PATH of the daemon's socket; None: its default.
        :param features: makes the rows of a strategy; None: a CsvFeatureProvider.
        :param max_concurrent_sessions: how many of this adapter's may run at once.
        :param session_timeout_minutes: how long one may train before it is canceled, and how long a
            result is kept after that.
        :param stop_timeout_s: how long stop_training waits for the end.
        :raises TrainingProviderDataError: the URL is malformed.
        """
        mode = trainhost.Mode.HOST if use_host_service else trainhost.Mode.LOCAL
        with translated():
            self._manager = trainhost.Manager(mode, host_service_url)
        self._provider = features or CsvFeatureProvider()
        self._sessions_max = max_concurrent_sessions
        self._timeout_s = session_timeout_minutes * 60
        self._stop_timeout_s = stop_timeout_s
        self._adapter: trainhost.Adapter | None = None
        self._device = ""
        self._sessions: dict[str, Session] = {}
        # One coroutine at a time opens the connection, and one attaches to what is not known.
        self._connecting, self._finding = asyncio.Lock(), asyncio.Lock()
        self._keepers: set[asyncio.Task[None]] = set()
        self._starting = self._requests = self._errors = 0

    @property
    def use_host_service(self) -> bool:
        """Whether the training host trains."""
        return self._manager.mode is trainhost.Mode.HOST

    @property
    def host_service_url(self) -> str:
        """The socket's URL, or "local"."""
        return self._manager.url

    async def close(self) -> None:
        """End the connection. Trainings go on at the host, and are found again by their ids."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._disconnect()

    # ---- trainings ----

    async def train_multi_symbol_strategy(
        self,
        strategy_config_path: str | Path,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start_date: str,
        end_date: str,
        validation_split: float = 0.2,
        data_mode: str = "local",
        progress_callback: ProgressCallback | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """
        Train a strategy on the rows of all symbols, the newest of which validate.

        In host mode returns as soon as the host has accepted the training; in local mode when it is
        done, with its result.

        :param validation_split: the share that validates, unless the strategy says data_split.
        :param data_mode: "local", the only one: data come from the provider.
        :param progress_callback: called with the status at each event; may be a coroutine function.
        :param fields: of the specification of trainhost; they take precedence over the strategy's.
        :return: {success, session_id, training_started, host_service_used, message}, in local mode
            also what get_training_result returns.
        """
        if data_mode != "local":
            raise TrainingProviderDataError(f"data_mode is {data_mode!r}: it must be local")
        path = Path(strategy_config_path)
        with self._counted(), self._admitted():
            strategy, rows = await asyncio.to_thread(
                self._load, path, symbols, timeframes, start_date, end_date
            )
            split = strategy.split or (validation_split, 0.0)
            spec = {**strategy.spec, **_split_fields(split, len(symbols)), **fields}
            session = await self._start(strategy.name, rows, split[1], spec, progress_callback)
        started = {
            "success": True,
            "session_id": session.id,
            "training_started": True,
            "host_service_used": self.use_host_service,
            "message": f"{len(rows.features)} rows of {len(rows.names)} features: started",
        }
        if self.use_host_service:
            return started
        await session.over()
        return started | await self.get_training_result(session.id)

    async def get_training_status(self, session_id: str) -> dict[str, Any]:
        """
        The state of a training, of one size however long it trains.

        :raises TrainingSessionNotFoundError: there is no such session.
        """
        with self._counted():
            return (await self._find(session_id)).status()

    async def get_training_result(self, session_id: str) -> dict[str, Any]:
        """
        The model, and how it did.

        :return: {session_id, status, model: trainhost.Model, training_metrics, test_metrics, card}.
        :raises TrainingSessionStateError: it is not over, or was stopped without a checkpoint.
        :raises TrainingProviderError: what it failed with.
        """
        with self._counted(), translated():
            session = await self._find(session_id)
            if not session.is_over:
                raise TrainingSessionStateError(f"{session_id} is not over: see its status")
            result = await session.over()
            return {
                "session_id": session_id,
                "status": session.status()["status"],
                "model": result.model,
                "training_metrics": result.card.get("metrics", {}),
                "test_metrics": await self._measure(session, result),
                "card": result.card,
            }

    async def stop_training(self, session_id: str, save_checkpoint: bool = True) -> dict[str, Any]:
        """
        End a training; the answer says what has come of it.

        :param save_checkpoint: leave one, which get_training_result returns as the model.
        :return: {session_id, status, message, checkpoint_saved}; status is "stopping" if it has not
            ended in stop_timeout_s.
        """
        with self._counted():
            session = await self._find(session_id)
            with translated():
                stop = session.job.stop if save_checkpoint else session.job.cancel
                await asyncio.to_thread(stop)
            has_ended = await session.is_over_within(self._stop_timeout_s)
            is_saved = session.result is not None and session.result.is_checkpoint
            status = session.status()["status"] if has_ended else "stopping"
            return {
                "session_id": session_id,
                "status": status,
                "message": f"{session_id} is {status}",
                "checkpoint_saved": is_saved,
            }

    async def delete_session(self, session_id: str) -> dict[str, Any]:
        """
        Let the host delete the result of a session that is over.

        :raises TrainingSessionStateError: it is not over.
        """
        with self._counted():
            session = await self._find(session_id)
            if not session.is_over:
                raise TrainingSessionStateError(f"{session_id} is not over: stop it first")
            await self._forget(session)
            return {"session_id": session_id, "status": "cleaned_up", "message": "deleted"}

    async def evaluate(self, model: trainhost.Model, rows: FeatureSet) -> dict[str, Any]:
        """
        Measure a model on rows.

        :return: {results: {loss, accuracy}, card}.
        """
        with self._counted(), translated():
            adapter = await self._connect()
            job = await asyncio.to_thread(_evaluation, adapter, model, rows)
            try:
                card = (await job).card
            finally:
                await asyncio.to_thread(job.forget)
            return {"results": {name: card[name] for name in ("loss", "accuracy")}, "card": card}

    # ---- the host ----

    async def health(self) -> dict[str, Any]:
        """How the host is, now: it is asked. Never raises; `error` says what it would."""
        answer: dict[str, Any] = {
            "service": _SERVICE,
            "timestamp": datetime.now(UTC).isoformat(),
            "healthy": False,
            "error": None,
        }
        try:
            with translated():
                health = await asyncio.to_thread((await self._connect()).health)
        except TrainingProviderConnectionError as error:
            return answer | {"status": "unreachable", "error": error.message}
        return answer | {
            "healthy": True,
            "status": "operational",
            "gpu_status": {
                "available": not health.device.startswith("cpu"),
                "device_name": health.device,
            },
            "active_training_sessions": health.jobs_running + health.jobs_queued,
            "uptime_seconds": health.uptime_ms / 1000,
            "round_trip_us": health.round_trip_ns / 1000,
        }

    async def list_sessions(self) -> dict[str, Any]:
        """The status of every session of this adapter."""
        sessions = [session.status() for session in self._sessions.values()]
        return {
            "total_sessions": len(sessions),
            "sessions": sessions,
            "timestamp": datetime.now(UTC).isoformat(),
        }

    def get_statistics(self) -> dict[str, Any]:
        """What this adapter has done so far."""
        return {
            "mode": "host_service" if self.use_host_service else "local",
            "host_service_url": self.host_service_url,
            "requests": self._requests,
            "errors": self._errors,
            "error_rate": self._errors / max(1, self._requests),
            "active_sessions": self._active(),
        }

    # ---- inside ----

    def _load(
        self,
        path: Path,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start_date: str,
        end_date: str,
    ) -> tuple[Strategy, FeatureSet]:
        strategy = Strategy.load(path)
        rows = self._provider.load(path, symbols, timeframes, start_date, end_date)
        rows.check()
        return strategy, rows.in_time_order()

    async def _start(
        self,
        name: str,
        rows: FeatureSet,
        test_share: float,
        spec: dict[str, Any],
        callback: ProgressCallback | None,
    ) -> Session:
        kept_back = round(test_share * len(rows.features))
        trained, test = _cut(rows, len(rows.features) - kept_back)
        groups = trained.groups if "embedding" in spec else None
        with translated():
            adapter = await self._connect()
            job = await asyncio.to_thread(
                lambda: adapter.train(
                    trained.features,
                    trained.labels,
                    spec,
                    groups=groups,
                    name=name,
                    # A backend that restarts finds it again.
                    detach=self.use_host_service,
                )
            )
        session = Session(job, self._device, test if kept_back > 0 else None, callback)
        self._follow(session)
        return session

    def _follow(self, session: Session) -> None:
        self._sessions[session.id] = session
        session.begin(self._timeout_s)
        keeper = asyncio.create_task(self._keep(session))
        self._keepers.add(keeper)
        keeper.add_done_callback(self._keepers.discard)

    async def _keep(self, session: Session) -> None:
        """Delete a session that has been over for so long that nobody will ask for it."""
        await session.is_over_within(None)
        await asyncio.sleep(self._timeout_s)
        if self._sessions.get(session.id) is session:
            # A host that is gone has nothing to delete.
            with suppress(TrainingProviderError):
                await self._forget(session)

    async def _find(self, session_id: str) -> Session:
        """The session, also one of an earlier process, which is followed from then on."""
        session = self._known(session_id)
        if session is None:
            # Who asks for one that is known does not wait for this.
            async with self._finding:
                session = self._known(session_id) or await self._attach(session_id)
        return session

    def _known(self, session_id: str) -> Session | None:
        """None also if the host was lost since: what it said last may be long ago."""
        session = self._sessions.get(session_id)
        was_lost = session is not None and isinstance(
            session.error, TrainingProviderConnectionError
        )
        return None if was_lost else session

    async def _attach(self, session_id: str) -> Session:
        if session_id in self._sessions:
            self._disconnect()
        number = job_of(session_id)
        with translated():
            adapter = await self._connect()
            session = Session(await asyncio.to_thread(adapter.attach, number), self._device)
        self._follow(session)
        return session

    async def _measure(self, session: Session, result: trainhost.Result) -> dict[str, Any] | None:
        if session.test is not None and not result.is_checkpoint:
            session.test_metrics = (await self.evaluate(result.model, session.test))["results"]
            session.test = None
        return session.test_metrics

    async def _forget(self, session: Session) -> None:
        with translated():
            await asyncio.to_thread(session.job.forget)
        session.job.close()
        self._sessions.pop(session.id, None)

    async def _connect(self) -> trainhost.Adapter:
        """The connection, a new one if the host went away since."""
        async with self._connecting:
            if self._adapter is not None:
                try:
                    await asyncio.to_thread(self._adapter.health)
                except trainhost.HostLostError:
                    self._disconnect()
            if self._adapter is None:
                self._adapter = await asyncio.to_thread(self._manager.open, client="ktrdr")
                self._device = (await asyncio.to_thread(self._adapter.health)).device
            return self._adapter

    def _disconnect(self) -> None:
        if self._adapter is not None:
            self._adapter.close()
        self._adapter = None
        # The host has them still, if they were detached, and finds them by their ids.
        self._sessions.clear()

    def _active(self) -> int:
        return self._starting + sum(not s.is_over for s in self._sessions.values())

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        active = self._active()
        if active >= self._sessions_max:
            raise TrainingHostBusyError(
                f"{active} trainings run, the limit of this adapter (max_concurrent_sessions): "
                "wait for one, or stop it"
            )
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._requests += 1
        try:
            yield
        except TrainingProviderError:
            self._errors += 1
            raise


def _split_fields(split: tuple[float, float], symbols: int) -> dict[str, Any]:
    """How the rows that are not kept back to test are trained and validated on, in time order."""
    validation, test = split
    if not 0 <= validation < 1 or not 0 <= test < 1 - validation:
        raise TrainingProviderDataError(
            f"shares of {validation} to validate and {test} to test leave nothing to train on"
        )
    fields: dict[str, Any] = {"split": "last", "validation_split": validation / (1 - test)}
    return fields | ({"embedding": _EMBEDDING} if symbols > 1 else {})


def _cut(rows: FeatureSet, place: int) -> tuple[FeatureSet, FeatureSet]:
    return rows.rows(slice(None, place)), rows.rows(slice(place, None))


def _evaluation(
    adapter: trainhost.Adapter, model: trainhost.Model, rows: FeatureSet
) -> trainhost.Job:
    groups = rows.groups if model.spec.get("embedding", 0) > 0 else None
    return adapter.evaluate(model, rows.features, rows.labels, groups=groups)
