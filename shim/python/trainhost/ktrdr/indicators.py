"""Indicators of closing prices. Numbers that have no past yet are NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def sma(prices: Values, period: int) -> Values:
    """The mean of the last `period` prices."""
    sums = np.cumsum(np.concatenate(([0.0], prices)))
    means = np.full(len(prices), np.nan)
    means[period - 1 :] = (sums[period:] - sums[:-period]) / period
    return means


def ema(prices: Values, period: int) -> Values:
    """
    The exponential mean, with a weight of 2 / (period + 1) for the newest price.

    It begins with the first price that there is, and is told from the `period`-th on.
    """
    return _smooth(prices, 2.0 / (period + 1), period)


def rsi(prices: Values, period: int) -> Values:
    """
    The relative strength index, 0 to 100 (Wilder 1978): the share of gains in all movement.

    Gains and losses are smoothed with a weight of 1 / period; without any movement it is 50.
    """
    changes = np.diff(prices, prepend=np.nan)
    gains = _smooth(np.where(np.isnan(changes), np.nan, np.maximum(changes, 0)), 1 / period, period)
    losses = _smooth(
        np.where(np.isnan(changes), np.nan, np.maximum(-changes, 0)), 1 / period, period
    )
    moved = gains + losses
    with np.errstate(invalid="ignore"):
        share = np.where(moved > 0, 100 * gains / moved, 50.0)
    return np.where(np.isnan(moved), np.nan, share)


def macd(prices: Values, fast: int, slow: int, signal: int) -> dict[str, Values]:
    """A fast less a slow exponential mean, that line's own mean, and the difference of both."""
    line = ema(prices, fast) - ema(prices, slow)
    mean = ema(line, signal)
    return {"": line, "_signal": mean, "_histogram": line - mean}


def _smooth(values: Values, weight: float, period: int) -> Values:
    smoothed = np.full(len(values), np.nan)
    begin = int(np.argmax(~np.isnan(values))) if len(values) > 0 else 0
    mean = np.nan
    for place in range(begin, len(values)):
        value = values[place]
        mean = value if place == begin else mean + weight * (value - mean)
        smoothed[place] = mean
    smoothed[begin : begin + period - 1] = np.nan
    return smoothed
