"""Labels from the legs of a zig-zag: the moves that are worth a trade."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainhost.ktrdr.features import BUY, HOLD, SELL


def pivots(prices: NDArray[np.float64], threshold: float) -> list[int]:
    """
    Where the price turned by at least that share: alternately highs and lows.

    A turn counts once the price has come back from it by the threshold, so that the last leg,
    which nothing has confirmed, has no end here.
    """
    found: list[int] = []
    high = low = 0
    direction = 0
    for place, price in enumerate(prices):
        if direction >= 0 and price > prices[high]:
            high = place
        if direction <= 0 and price < prices[low]:
            low = place
        if direction >= 0 and price <= prices[high] * (1 - threshold):
            found.append(high)
            direction, low = -1, place
        elif direction <= 0 and price >= prices[low] * (1 + threshold):
            found.append(low)
            direction, high = 1, place
    return found


def labels(
    prices: NDArray[np.float64], threshold: float, lookahead: int
) -> tuple[NDArray[np.int32], int]:
    """
    BUY before a rise of at least the threshold, SELL before a fall, else HOLD.

    The rise or fall is that to the end of the leg, which lies at most `lookahead` bars ahead.

    :return: the labels, and how many bars have one: what comes after the last turn is not known.
    """
    ends = pivots(prices, threshold)
    known = ends[-1] if ends else 0
    told = np.full(len(prices), HOLD, np.int32)
    begin = 0
    for end in ends:
        near = np.arange(max(begin, end - lookahead), end)
        change = prices[end] / prices[near] - 1
        told[near[change >= threshold]] = BUY
        told[near[change <= -threshold]] = SELL
        begin = end
    return told, known
