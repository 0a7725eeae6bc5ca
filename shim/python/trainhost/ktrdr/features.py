"""What a backend hands over: rows of features, made by whoever knows the market data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainhost.ktrdr.errors import TrainingProviderDataError

# The classes, in the order of the logits.
BUY, HOLD, SELL = 0, 1, 2


@dataclass(frozen=True)
class FeatureSet:
    """Rows of all symbols."""

    features: NDArray[np.float32]
    """[rows, width]."""
    labels: NDArray[np.int32]
    """[rows], BUY, HOLD or SELL."""
    groups: NDArray[np.int32]
    """[rows], the place of each row's symbol in the list asked for."""
    times: NDArray[np.int64]
    """[rows], any clock that all symbols share: it decides which rows train and which validate."""
    names: tuple[str, ...]
    """[width], of the features."""

    def in_time_order(self) -> FeatureSet:
        """The same rows, oldest first, so that the future is never learnt from."""
        order = np.argsort(self.times, kind="stable")
        return self.rows(order)

    def rows(self, which: NDArray[np.intp] | slice) -> FeatureSet:
        """Some of the rows."""
        return FeatureSet(
            np.ascontiguousarray(self.features[which]),
            np.ascontiguousarray(self.labels[which]),
            np.ascontiguousarray(self.groups[which]),
            self.times[which],
            self.names,
        )

    def check(self) -> None:
        """
        See that the arrays fit each other.

        :raises TrainingProviderDataError: they do not, or there is no row.
        """
        rows = len(self.features)
        if rows == 0:
            raise TrainingProviderDataError("there is no row of features in that time")
        for name in ("labels", "groups", "times"):
            if len(getattr(self, name)) != rows:
                raise TrainingProviderDataError(
                    f"there are {rows} rows of features and {len(getattr(self, name))} {name}"
                )
        if self.features.ndim != 2 or len(self.names) != self.features.shape[1]:
            raise TrainingProviderDataError(
                f"features of the shape {list(self.features.shape)} have {len(self.names)} names"
            )


class FeatureProvider(Protocol):
    """Makes the features of a strategy. May block: it is called on a thread of its own."""

    def load(
        self,
        strategy_config_path: Path,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start_date: str,
        end_date: str,
    ) -> FeatureSet:
        """
        The rows between two dates, both included.

        :raises TrainingProviderDataError: what is missing or wrong, and where.
        """
        ...
