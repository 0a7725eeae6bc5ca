"""The way to train, decided from the environment when the backend starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trainhost
from trainhost.ktrdr.adapter import TrainingAdapter
from trainhost.ktrdr.errors import TrainingProviderDataError, translated
from trainhost.ktrdr.features import FeatureProvider
from trainhost.ktrdr.session import ProgressCallback

# The three parts of a request, and what each may say.
_PARTS = {
    "model_configuration": ("strategy_config", "symbols", "timeframes", "model_type",
                            "multi_symbol"),
    "training_configuration": ("validation_split", "start_date", "end_date", "data_mode",
                               "epochs", "batch_size", "learning_rate"),
    "data_configuration": ("symbols", "timeframes", "data_source"),
}  # fmt: skip


class TrainingManager:
    """
    Has one TrainingAdapter, and hands calls on to it.

    USE_TRAINING_HOST_SERVICE and TRAINING_HOST_SERVICE_URL decide, as for trainhost.open. A
    configuration that is wrong raises; there is no falling back to the other way.
    """

    def __init__(self, features: FeatureProvider | None = None, **limits: Any) -> None:
        """
        Read the environment, once.

        :param features: as of TrainingAdapter.
        :param limits: max_concurrent_sessions and others of TrainingAdapter.
        """
        with translated():
            decided = trainhost.Manager.from_env()
        is_host = decided.mode is trainhost.Mode.HOST
        self.adapter = TrainingAdapter(
            is_host,
            decided.url if is_host else None,
            features=features,
            **limits,
        )

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
    ) -> dict[str, Any]:
        """As TrainingAdapter.train_multi_symbol_strategy."""
        return await self.adapter.train_multi_symbol_strategy(
            strategy_config_path,
            symbols,
            timeframes,
            start_date,
            end_date,
            validation_split,
            data_mode,
            progress_callback,
        )

    async def train_model(self, config: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """
        Train by a request in the three parts that the HTTP service took.

        :raises TrainingProviderDataError: a part or field is missing, or has no meaning here.
        """
        fields = _flatten(config)
        for name, only in (("model_type", "mlp"), ("data_source", "local")):
            if fields.pop(name, only) != only:
                raise TrainingProviderDataError(f"{name} must be {only}")
        fields.pop("multi_symbol", None)  # The symbols say so.
        try:
            path = fields.pop("strategy_config")
            return await self.adapter.train_multi_symbol_strategy(path, **fields)
        except (KeyError, TypeError) as error:
            raise TrainingProviderDataError(f"the configuration is not whole: {error}") from error

    async def get_training_status(self, session_id: str) -> dict[str, Any]:
        """As TrainingAdapter.get_training_status."""
        return await self.adapter.get_training_status(session_id)

    async def get_training_result(self, session_id: str) -> dict[str, Any]:
        """As TrainingAdapter.get_training_result."""
        return await self.adapter.get_training_result(session_id)

    async def stop_training(self, session_id: str, save_checkpoint: bool = True) -> dict[str, Any]:
        """As TrainingAdapter.stop_training."""
        return await self.adapter.stop_training(session_id, save_checkpoint)

    def get_adapter_statistics(self) -> dict[str, Any]:
        """As TrainingAdapter.get_statistics."""
        return self.adapter.get_statistics()

    def is_using_host_service(self) -> bool:
        """Whether the training host trains."""
        return self.adapter.use_host_service

    def get_host_service_url(self) -> str | None:
        """The socket's URL; None in local mode."""
        return self.adapter.host_service_url if self.adapter.use_host_service else None


def _flatten(config: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """
    All fields in one mapping.

    A field that has no meaning here, as those of gpu_configuration, is refused and not ignored: the
    host decides about its device.
    """
    fields: dict[str, Any] = {}
    for part, given in config.items():
        if part not in _PARTS:
            raise TrainingProviderDataError(f"{part} is none of {', '.join(_PARTS)}: leave it out")
        for name, value in given.items():
            if name not in _PARTS[part]:
                raise TrainingProviderDataError(
                    f"{part}.{name} is none of {', '.join(_PARTS[part])}: leave it out"
                )
            if fields.setdefault(name, value) != value:
                raise TrainingProviderDataError(f"{name} is said twice, and not the same")
    return fields
