"""A strategy's YAML file: what to compute, and how to train on it. No field is ignored silently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from trainhost.ktrdr.errors import TrainingProviderDataError
from trainhost.ktrdr.fuzzy import membership

Values = NDArray[np.float64]

# About trading, describing or deploying: they do not concern the training.
_SECTIONS_OF_OTHERS = (
    "backtesting",
    "decisions",
    "description",
    "hypothesis",
    "orchestrator",
    "risk_management",
    "scope",
    "version",
)

_MONITORS = {"val_loss": "validation_loss", "val_accuracy": "validation_accuracy"}


@dataclass(frozen=True)
class Indicator:
    """One of rsi, sma, ema and macd."""

    name: str
    identifier: str
    parameters: dict[str, int]


@dataclass(frozen=True)
class FuzzySet:
    """One membership of one indicator."""

    indicator: str
    name: str
    is_price_ratio: bool
    function: Callable[[Values], Values]


@dataclass(frozen=True)
class Strategy:
    """What a file says."""

    name: str
    indicators: tuple[Indicator, ...]
    fuzzy_sets: tuple[FuzzySet, ...]
    lookback: int
    threshold: float
    lookahead: int
    spec: dict[str, Any]
    """Fields of the specification of trainhost."""
    split: tuple[float, float] | None
    """Shares of the rows that validate and that test; None: the caller says."""

    @classmethod
    def load(cls, path: Path) -> Strategy:
        """
        Read a file.

        :raises TrainingProviderDataError: naming the file, the field and what it may be.
        """
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
            return _strategy(_Section("", document))
        except OSError as error:
            raise TrainingProviderDataError(f"the strategy cannot be read: {error}") from error
        except (ValueError, TypeError, yaml.YAMLError) as error:
            raise TrainingProviderDataError(f"strategy {path}: {error}") from error


class _Section:
    """A mapping of which every field must be asked for."""

    def __init__(self, place: str, fields: Any) -> None:
        if not isinstance(fields, Mapping):
            raise TypeError(f"{place or 'the file'} must be a mapping")
        self._place = place
        self._fields = dict(fields)
        self._known: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return not self._fields

    def take(self, name: str, default: Any = ...) -> Any:
        self._known.append(name)
        value = self._fields.pop(name, default)
        if value is ...:
            raise ValueError(f"{self._place}{name} is missing")
        return value

    def number(self, name: str, default: Any, kind: type[int] | type[float]) -> Any:
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            raise TypeError(f"{self._place}{name} is {value!r}: it must be a number")
        return kind(value)

    def section(self, name: str) -> _Section:
        return _Section(f"{self._place}{name}.", self.take(name, {}))

    def rest(self) -> dict[str, Any]:
        rest, self._fields = self._fields, {}
        return rest

    def end(self) -> None:
        """
        See that nothing is left.

        A field that nobody reads is a mistake of who wrote it, and would be found out late.
        """
        for name in self._fields:
            near = get_close_matches(str(name), self._known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(self._known)}"
            raise ValueError(f"{self._place}{name} is no field that training knows{hint}")


def _strategy(root: _Section) -> Strategy:
    for name in _SECTIONS_OF_OTHERS:
        root.take(name, None)
    data = root.section("data")
    for name in ("symbols", "timeframes", "history_required"):
        data.take(name, None)
    data.end()
    indicators = tuple(_indicator(fields) for fields in root.take("indicators"))
    fuzzy_sets = tuple(_fuzzy_sets(root.section("fuzzy_sets"), indicators))
    model, training = root.section("model"), root.section("training")
    lookback, spec = _model(model)
    threshold, lookahead, split = _training(training)
    strategy = Strategy(
        name=str(root.take("name")),
        indicators=indicators,
        fuzzy_sets=fuzzy_sets,
        lookback=lookback,
        threshold=threshold,
        lookahead=lookahead,
        spec=spec,
        split=split,
    )
    root.end()
    return strategy


def _indicator(fields: Any) -> Indicator:
    section = _Section("indicators.", fields)
    name = str(section.take("name")).lower()
    if section.take("source", "close") != "close":
        raise ValueError(f"indicators.{name}.source must be close")
    if name == "macd":
        parameters = {
            "fast": section.number("fast_period", 12, int),
            "slow": section.number("slow_period", 26, int),
            "signal": section.number("signal_period", 9, int),
        }
        default = "macd"
    elif name in ("rsi", "sma", "ema"):
        parameters = {"period": section.number("period", 14 if name == "rsi" else 20, int)}
        default = f"{name}_{parameters['period']}"
    else:
        raise ValueError(f"indicators.name is {name!r}: it must be rsi, sma, ema or macd")
    if min(parameters.values()) < 1:
        raise ValueError(f"a period of indicators.{name} is below 1")
    indicator = Indicator(name, str(section.take("feature_id", default)), parameters)
    section.end()
    return indicator


def _fuzzy_sets(sections: _Section, indicators: Sequence[Indicator]) -> list[FuzzySet]:
    """
    By indicator: its feature_id, or its name if it has one set of parameters.

    Of macd also `<id>_signal` and `<id>_histogram`.
    """
    known = {indicator.identifier for indicator in indicators}
    known |= {i.identifier + part for i in indicators if i.name == "macd"
              for part in ("_signal", "_histogram")}  # fmt: skip
    by_name = {indicator.name: indicator.identifier for indicator in indicators}
    found: list[FuzzySet] = []
    for given, fields in sections.rest().items():
        identifier = given if given in known else by_name.get(given, given)
        if identifier not in known:
            raise ValueError(f"fuzzy_sets.{given} names no indicator; there are {sorted(known)}")
        found += _sets_of(identifier, _Section(f"fuzzy_sets.{given}.", fields))
    if not found:
        raise ValueError("fuzzy_sets is empty: there would be no features")
    return found


def _sets_of(identifier: str, section: _Section) -> list[FuzzySet]:
    transform = section.section("input_transform")
    kind = transform.take("type", "identity")
    if kind not in ("identity", "price_ratio"):
        raise ValueError(f"input_transform.type is {kind!r}: it must be identity or price_ratio")
    if transform.take("reference", "close") != "close":
        raise ValueError("input_transform.reference must be close")
    transform.end()
    found = []
    for name, fields in section.rest().items():
        one = _Section(f"fuzzy_sets.{identifier}.{name}.", fields)
        try:
            function = membership(str(one.take("type", "triangular")), one.take("parameters"))
        except (TypeError, ValueError) as error:
            raise ValueError(f"fuzzy_sets.{identifier}.{name}: {error}") from error
        one.end()
        found.append(FuzzySet(identifier, str(name), kind == "price_ratio", function))
    return found


def _model(section: _Section) -> tuple[int, dict[str, Any]]:
    if section.take("type", "mlp") != "mlp":
        raise ValueError("model.type must be mlp")
    architecture = section.section("architecture")
    # What training minimizes is made of logits; whoever predicts takes their softmax.
    if architecture.take("output_activation", "softmax") != "softmax":
        raise ValueError("model.architecture.output_activation must be softmax")
    spec: dict[str, Any] = {
        "profile": "ktrdr",
        "classes": 3,
        "hidden": architecture.take("hidden_layers", [64, 32, 16]),
        "activation": architecture.take("activation", "relu"),
        "dropout": architecture.number("dropout", 0.2, float),
    }
    architecture.end()
    features = section.section("features")
    lookback = features.number("lookback_periods", 0, int)
    if lookback < 0:
        raise ValueError("model.features.lookback_periods is below 0")
    spec["standardize"] = bool(features.take("scale_features", False))
    for name in ("include_price_context", "include_volume_context", "include_raw_indicators"):
        if features.take(name, False):
            raise ValueError(f"model.features.{name} is not made by this provider: set it to false")
    features.end()
    spec.update(_fields_of_training(section.section("training")))
    section.end()
    return lookback, spec


def _fields_of_training(section: _Section) -> dict[str, Any]:
    early = section.section("early_stopping")
    is_wanted = bool(early.take("enabled", not early.is_empty))
    patience = early.number("patience", 10, int)
    monitor = early.take("monitor", "val_loss")
    if monitor not in _MONITORS:
        raise ValueError(
            f"early_stopping.monitor is {monitor!r}: it must be {' or '.join(_MONITORS)}"
        )
    spec: dict[str, Any] = {
        "early_stopping_patience": patience if is_wanted else 0,
        "early_stopping_min_delta": early.number("min_delta", 1e-4, float),
        "early_stopping_monitor": _MONITORS[monitor],
    }
    early.end()
    # Whatever else has the names of trainhost, which judges it and names the nearest.
    spec.update(section.rest())
    return spec


def _training(section: _Section) -> tuple[float, int, tuple[float, float] | None]:
    if section.take("method", "supervised") != "supervised":
        raise ValueError("training.method must be supervised")
    labels = section.section("labels")
    if labels.take("source", "zigzag") != "zigzag":
        raise ValueError("training.labels.source must be zigzag")
    threshold = labels.number("zigzag_threshold", 0.03, float)
    lookahead = labels.number("label_lookahead", 20, int)
    if not 0 < threshold < 1 or lookahead < 1:
        raise ValueError("training.labels wants a threshold in (0, 1) and a lookahead of 1 or more")
    labels.end()
    section.take("date_range", None)
    shares = section.section("data_split")
    is_given = not shares.is_empty
    train = shares.number("train", 0.7, float)
    validation = shares.number("validation", 0.15, float)
    test = shares.number("test", 0.0, float)
    shares.end()
    section.end()
    if not is_given:
        return threshold, lookahead, None
    if min(train, validation, test) < 0 or abs(train + validation + test - 1) > 1e-6:
        raise ValueError(f"training.data_split adds up to {train + validation + test:g}, not to 1")
    return threshold, lookahead, (validation, test)
