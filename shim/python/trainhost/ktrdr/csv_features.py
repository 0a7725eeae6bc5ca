"""The reference provider: market data from CSV files, indicators, memberships and labels."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainhost.ktrdr import indicators, zigzag
from trainhost.ktrdr.errors import TrainingProviderDataError
from trainhost.ktrdr.features import FeatureSet
from trainhost.ktrdr.strategy import Indicator, Strategy

Values = NDArray[np.float64]
Times = NDArray[np.int64]

_DIRECTORY_VARIABLE = "KTRDR_DATA_DIR"

_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Bars:
    """The bars of one symbol in one timeframe, oldest first."""

    times: Times
    """When each begins, in seconds since 1970."""
    close: Values
    seconds: int
    """How long each lasts."""


class CsvFeatureProvider:
    """
    Reads DIRECTORY/SYMBOL_TIMEFRAME.csv with the columns timestamp, open, high, low, close, volume.

    Features are the fuzzy memberships of the strategy's indicators, of every timeframe, at each bar
    of the fastest one and at as many before it as lookback_periods says. A slower bar counts from
    its end on, when it is known. Rows whose indicators have no past or whose label has no future
    are left out. Thread-safe.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        """Read from there; None: from KTRDR_DATA_DIR, or data."""
        self._directory = Path(directory or os.environ.get(_DIRECTORY_VARIABLE, "data"))

    def load(
        self,
        strategy_config_path: Path,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start_date: str,
        end_date: str,
    ) -> FeatureSet:
        """As FeatureProvider.load."""
        strategy = Strategy.load(strategy_config_path)
        begin, end = _date_seconds(start_date, 0), _date_seconds(end_date, 1)
        parts = [
            self._rows_of(strategy, symbol, number, timeframes, begin, end)
            for number, symbol in enumerate(symbols)
        ]
        if not parts or not timeframes:
            raise TrainingProviderDataError("name at least one symbol and one timeframe")
        return FeatureSet(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.groups for part in parts]),
            np.concatenate([part.times for part in parts]),
            parts[0].names,
        )

    def _rows_of(
        self,
        strategy: Strategy,
        symbol: str,
        group: int,
        timeframes: Sequence[str],
        begin: int,
        end: int,
    ) -> FeatureSet:
        frames = {t: self._bars(symbol, t, begin, end) for t in timeframes}
        base = min(frames.values(), key=lambda bars: bars.seconds)
        columns: dict[str, Values] = {}
        for timeframe, bars in frames.items():
            for name, values in memberships(strategy, bars.close).items():
                columns[f"{timeframe}_{name}"] = known_at(base, bars, values)
        columns = _with_lookback(columns, strategy.lookback)
        features = np.column_stack(list(columns.values()))
        labels, known = zigzag.labels(base.close, strategy.threshold, strategy.lookahead)
        usable = np.flatnonzero(~np.isnan(features).any(axis=1) & (np.arange(len(labels)) < known))
        if len(usable) == 0:
            raise TrainingProviderDataError(
                f"{symbol} has {len(base.times)} bars in that time, and none with "
                "indicators before it and a turn after it: ask for more time, or for a lower "
                "zigzag_threshold"
            )
        groups = np.full(len(usable), group, np.int32)
        rows = features[usable].astype(np.float32)
        return FeatureSet(rows, labels[usable], groups, base.times[usable], tuple(columns))

    def _bars(self, symbol: str, timeframe: str, begin: int, end: int) -> Bars:
        seconds = _timeframe_seconds(timeframe)
        path = self._directory / f"{symbol}_{timeframe}.csv"
        if path.parent != self._directory:
            raise TrainingProviderDataError(f"symbol {symbol!r} names another directory")
        try:
            with path.open(encoding="utf-8", newline="") as file:
                bars = read_bars(csv.DictReader(file), seconds)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise TrainingProviderDataError(f"market data {path}: {error}") from error
        within = (bars.times >= begin) & (bars.times < end)
        return Bars(bars.times[within], bars.close[within], bars.seconds)


def read_bars(rows: Iterable[dict[str, str]], seconds: int) -> Bars:
    """
    The bars of a table.

    :raises ValueError: naming the line whose time or price is wrong.
    """
    times: list[int] = []
    close: list[float] = []
    for line, row in enumerate(rows, 2):
        try:
            time, price = _seconds(row["timestamp"]), float(row["close"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"line {line}: {error}") from error
        if times and time <= times[-1]:
            raise ValueError(f"line {line}: {row['timestamp']} is not after the line before")
        if not 0 < price < float("inf"):
            raise ValueError(f"line {line}: close is {row['close']}, which is no price")
        times.append(time)
        close.append(price)
    return Bars(np.array(times, np.int64), np.array(close, np.float64), seconds)


def memberships(strategy: Strategy, close: Values) -> dict[str, Values]:
    """By name of indicator and set; NaN where the indicator has no past."""
    lines: dict[str, Values] = {}
    for indicator in strategy.indicators:
        lines.update(_lines(indicator, close))
    found = {}
    for fuzzy_set in strategy.fuzzy_sets:
        line = lines[fuzzy_set.indicator]
        values = close / line if fuzzy_set.is_price_ratio else line
        found[f"{fuzzy_set.indicator}_{fuzzy_set.name}"] = fuzzy_set.function(values)
    return found


def known_at(base: Bars, other: Bars, values: Values) -> Values:
    """What was known of slower bars when each bar of the base ended; NaN before the first."""
    last = np.searchsorted(other.times + other.seconds, base.times + base.seconds, "right") - 1
    known = np.full(len(base.times), np.nan)
    known[last >= 0] = values[last[last >= 0]]
    return known


def _lines(indicator: Indicator, close: Values) -> dict[str, Values]:
    if indicator.name == "macd":
        lines = indicators.macd(close, **indicator.parameters)
        return {indicator.identifier + part: line for part, line in lines.items()}
    compute = {"rsi": indicators.rsi, "sma": indicators.sma, "ema": indicators.ema}
    return {indicator.identifier: compute[indicator.name](close, indicator.parameters["period"])}


def _with_lookback(columns: dict[str, Values], lookback: int) -> dict[str, Values]:
    found: dict[str, Values] = {}
    for back in range(lookback + 1):
        for name, values in columns.items():
            before = np.full(len(values), np.nan)
            before[back:] = values[: len(values) - back]
            found[name if back == 0 else f"{name}_lag_{back}"] = before
    return found


def _timeframe_seconds(timeframe: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]*)([mhdw])", timeframe)
    if not found:
        raise TrainingProviderDataError(f"timeframe {timeframe!r} is not like 15m, 1h, 1d or 1w")
    return int(found[1]) * _UNIT_SECONDS[found[2]]


def _seconds(text: str) -> int:
    """Without a zone, times are UTC."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _date_seconds(text: str, days: int) -> int:
    try:
        return _seconds(text) + (days * 86400 if len(text) == len("2024-01-31") else 0)
    except ValueError as error:
        raise TrainingProviderDataError(f"the date {text!r} is not like 2024-01-31") from error
