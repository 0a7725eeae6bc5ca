"""Fuzzy memberships: how much a number is low, middle or high, from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def triangular(values: Values, a: float, b: float, c: float) -> Values:
    """0 up to a, 1 at b, 0 from c on."""
    return trapezoidal(values, a, b, b, c)


def trapezoidal(values: Values, a: float, b: float, c: float, d: float) -> Values:
    """0 up to a, 1 from b to c, 0 from d on. Where two corners are one, the side is a step."""
    rising = np.where(values >= b, 1.0, (values - a) / (b - a) if b > a else 0.0)
    falling = np.where(values <= c, 1.0, (d - values) / (d - c) if d > c else 0.0)
    within = np.clip(np.minimum(rising, falling), 0.0, 1.0)
    return np.where(np.isnan(values), np.nan, within)


def gaussian(values: Values, mean: float, sigma: float) -> Values:
    """1 at the mean, e^-1/2 one sigma beside it."""
    return np.exp(-0.5 * ((values - mean) / sigma) ** 2)


_SHAPES: dict[str, tuple[Callable[..., Values], int]] = {
    "triangular": (triangular, 3),
    "trapezoidal": (trapezoidal, 4),
    "gaussian": (gaussian, 2),
}


def membership(kind: str, parameters: Sequence[float]) -> Callable[[Values], Values]:
    """
    The membership function of that kind.

    :raises ValueError: there is none, or its parameters are out of order.
    """
    if kind not in _SHAPES:
        raise ValueError(f"type {kind!r} is none of {', '.join(_SHAPES)}")
    shape, count = _SHAPES[kind]
    numbers = [float(parameter) for parameter in parameters]
    if len(numbers) != count:
        raise ValueError(f"{kind} has {count} parameters, and here {len(numbers)}")
    if kind == "gaussian" and not numbers[1] > 0:
        raise ValueError(f"the sigma of gaussian is {numbers[1]}: it must be above 0")
    if kind != "gaussian" and numbers != sorted(numbers):
        raise ValueError(f"the parameters of {kind} must ascend, and here they are {numbers}")
    return lambda values: shape(values, *numbers)
