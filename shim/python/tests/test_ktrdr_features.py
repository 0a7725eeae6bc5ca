"""Indicators, memberships, labels and rows, held against what their definitions say."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from trainhost.ktrdr import (
    CsvFeatureProvider,
    FeatureSet,
    TrainingProviderDataError,
    fuzzy,
    indicators,
    zigzag,
)
from trainhost.ktrdr.features import BUY, HOLD, SELL

# Longer than any of the data.
TIME = ("2024-01-01", "2024-03-01")
PRICES = np.array([44.34, 44.09, 44.15, 43.61, 44.33, 44.83, 45.10, 45.42, 45.84, 46.08])


def strategy() -> dict[str, Any]:
    return {
        "name": "reversal",
        "indicators": [
            {"name": "rsi", "feature_id": "rsi_5", "period": 5},
            {"name": "ema", "feature_id": "ema_4", "period": 4},
            {"name": "macd", "fast_period": 3, "slow_period": 6, "signal_period": 2},
        ],
        "fuzzy_sets": {
            "rsi_5": {
                "low": {"type": "triangular", "parameters": [0, 20, 50]},
                "high": {"type": "trapezoidal", "parameters": [50, 70, 100, 100]},
            },
            "ema_4": {
                "input_transform": {"type": "price_ratio", "reference": "close"},
                "above": {"type": "gaussian", "parameters": [1.02, 0.02]},
            },
            "macd_histogram": {"falling": {"parameters": [-5, -1, 0]}},
        },
        "model": {
            "type": "mlp",
            "architecture": {"hidden_layers": [8], "activation": "relu", "dropout": 0.1},
            "features": {"lookback_periods": 1},
            "training": {"epochs": 4, "batch_size": 64, "learning_rate": 0.01},
        },
        "training": {"labels": {"zigzag_threshold": 0.02, "label_lookahead": 20}},
    }


def write_strategy(path: Path, document: Any) -> Path:
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def write_bars(
    directory: Path, symbol: str, timeframe: str, close: np.ndarray[Any, Any], hours: int = 1
) -> None:
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    with (directory / f"{symbol}_{timeframe}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "open", "high", "low", "close", "volume"])
        for number, price in enumerate(close):
            time = begin + timedelta(hours=hours * number)
            writer.writerow([time.isoformat(), price, price, price, price, 1])


def waves(bars: int, seed: int) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(seed)
    steps = 0.004 * np.sin(np.arange(bars) / 9 + seed) + generator.normal(0, 0.001, bars)
    return 100 * np.exp(np.cumsum(steps))


def test_sma_is_the_mean_of_the_last() -> None:
    told = indicators.sma(PRICES, 3)
    assert np.isnan(told[:2]).all()
    np.testing.assert_allclose(told[2:], [PRICES[i : i + 3].mean() for i in range(8)])


def test_ema_is_the_sum_that_defines_it() -> None:
    told = indicators.ema(PRICES, 3)
    assert np.isnan(told[:2]).all()
    weights = 0.5 * 0.5 ** np.arange(9)
    last = (PRICES[::-1][:9] * weights).sum() + 0.5**9 * PRICES[0]
    assert told[-1] == pytest.approx(last)


def test_rsi_is_the_share_of_gains() -> None:
    changes = np.diff(PRICES)
    gain = loss = 0.0
    for number, change in enumerate(changes):
        weight = 1.0 if number == 0 else 1 / 4
        gain += weight * (max(change, 0) - gain)
        loss += weight * (max(-change, 0) - loss)
    told = indicators.rsi(PRICES, 4)
    assert told[-1] == pytest.approx(100 - 100 / (1 + gain / loss))
    assert np.isnan(told[:4]).all()
    assert not np.isnan(told[4:]).any()
    assert indicators.rsi(np.ones(9), 3)[-1] == 50
    assert indicators.rsi(np.arange(1.0, 9.0), 3)[-1] == 100


def test_macd_is_a_difference_and_its_mean() -> None:
    told = indicators.macd(PRICES, 2, 4, 3)
    line = indicators.ema(PRICES, 2) - indicators.ema(PRICES, 4)
    np.testing.assert_allclose(told[""], line)
    np.testing.assert_allclose(told["_signal"], indicators.ema(line, 3))
    np.testing.assert_allclose(told["_histogram"], told[""] - told["_signal"])
    assert np.isnan(told["_signal"][:5]).all()
    assert not np.isnan(told["_signal"][5:]).any()


def test_indicators_of_less_than_a_period_have_nothing_to_say() -> None:
    for line in (
        indicators.sma(PRICES, 50),
        indicators.ema(PRICES, 50),
        indicators.rsi(PRICES, 50),
    ):
        assert len(line) == len(PRICES)
        assert np.isnan(line).all()


@pytest.mark.parametrize(
    ("kind", "parameters", "values", "expected"),
    [
        ("triangular", [0, 10, 30], [-1, 0, 5, 10, 20, 30, 31], [0, 0, 0.5, 1, 0.5, 0, 0]),
        ("triangular", [0, 0, 10], [-1, 0, 5, 10], [0, 1, 0.5, 0]),
        ("trapezoidal", [0, 10, 20, 20], [0, 5, 10, 15, 20, 20.1], [0, 0.5, 1, 1, 1, 0]),
        ("gaussian", [1, 2], [1, 3, -1], [1, np.exp(-0.5), np.exp(-0.5)]),
    ],
)
def test_memberships_are_as_drawn(
    kind: str, parameters: list[float], values: list[float], expected: list[float]
) -> None:
    told = fuzzy.membership(kind, parameters)(np.array(values, np.float64))
    np.testing.assert_allclose(told, expected)
    assert np.isnan(fuzzy.membership(kind, parameters)(np.array([np.nan]))).all()


def test_labels_are_the_legs_of_a_zigzag() -> None:
    prices = np.array([100, 101, 103, 106, 105, 102, 100, 99, 101, 104, 104.5, 102.0, 101])
    assert zigzag.pivots(prices, 0.03) == [0, 3, 7, 10]
    labels, known = zigzag.labels(prices, 0.03, 20)
    assert known == 10
    # 103 rises by less than 3 % to 106, and so on.
    expected = [BUY, BUY, HOLD, SELL, SELL, HOLD, HOLD, BUY, BUY, HOLD]
    assert list(labels[:10]) == expected
    near, _ = zigzag.labels(prices, 0.03, 2)
    assert list(near[:10]) == [HOLD, BUY, HOLD, HOLD, HOLD, HOLD, HOLD, HOLD, BUY, HOLD]
    assert zigzag.labels(np.full(5, 7.0), 0.03, 20)[1] == 0


def test_rows_are_memberships_of_all_timeframes_and_lags(tmp_path: Path) -> None:
    path = write_strategy(tmp_path / "s.yaml", strategy())
    close = waves(400, 1)
    write_bars(tmp_path, "EUR", "1h", close)
    write_bars(tmp_path, "EUR", "4h", close[3::4], 4)
    made = CsvFeatureProvider(tmp_path).load(path, ["EUR"], ["1h", "4h"], *TIME)
    made.check()
    assert made.features.shape[1] == 4 * 2 * 2
    assert made.names[0] == "1h_rsi_5_low"
    assert made.names[-1] == "4h_macd_histogram_falling_lag_1"
    assert made.features.min() >= 0
    assert made.features.max() <= 1
    assert set(made.labels) == {BUY, HOLD, SELL}
    lag = made.names.index("1h_rsi_5_low_lag_1")
    steps = np.diff(made.times) == 3600
    np.testing.assert_array_equal(made.features[1:, lag][steps], made.features[:-1, 0][steps])


def test_a_slower_bar_counts_from_its_end_on(tmp_path: Path) -> None:
    """What it closes with is the future as long as it lasts."""
    path = write_strategy(tmp_path / "s.yaml", strategy())
    close = waves(400, 1)
    changed = close[3::4].copy()
    changed[50] *= 1.5
    rows = []
    for slow in (close[3::4], changed):
        write_bars(tmp_path, "EUR", "1h", close)
        write_bars(tmp_path, "EUR", "4h", slow, 4)
        rows.append(CsvFeatureProvider(tmp_path).load(path, ["EUR"], ["1h", "4h"], *TIME))
    differs = (rows[0].features != rows[1].features).any(axis=1)
    first = rows[0].times[np.argmax(differs)]
    begin = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    assert first == begin + 3600 * (4 * 50 + 3)


def test_dates_are_bounds_and_both_included(tmp_path: Path) -> None:
    path = write_strategy(tmp_path / "s.yaml", strategy())
    write_bars(tmp_path, "EUR", "1h", waves(400, 1))
    made = CsvFeatureProvider(tmp_path).load(path, ["EUR"], ["1h"], "2024-01-03", "2024-01-12")
    day = 86400
    begin = int(datetime(2024, 1, 3, tzinfo=UTC).timestamp())
    assert begin <= made.times.min()
    assert begin + 8 * day < made.times.max() < begin + 10 * day


def test_rows_of_all_symbols_are_ordered_by_time(tmp_path: Path) -> None:
    path = write_strategy(tmp_path / "s.yaml", strategy())
    for number, symbol in enumerate(["EUR", "GBP", "JPY"]):
        write_bars(tmp_path, symbol, "1h", waves(300, number))
    loaded = CsvFeatureProvider(tmp_path).load(path, ["EUR", "GBP", "JPY"], ["1h"], *TIME)
    made = loaded.in_time_order()
    assert (np.diff(made.times) >= 0).all()
    assert set(made.groups[:60]) == {0, 1, 2}
    assert len(made.features) == len(loaded.features)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda s: s["model"]["architecture"].update(hiden_layers=[4]),
            "mean hidden_layers",
        ),
        (lambda s: s["model"]["training"].update(epohcs=4), None),
        (lambda s: s["model"].update(type="lstm"), "model.type must be mlp"),
        (lambda s: s.update(trainning={}), "did you mean training"),
        (lambda s: s["indicators"][0].update(periode=3), "did you mean period"),
        (lambda s: s["indicators"][0].update(period=0), "below 1"),
        (lambda s: s["indicators"][0].update(period="x"), "must be a number"),
        (lambda s: s["indicators"][0].update(name="adx"), "rsi, sma, ema or macd"),
        (lambda s: s["fuzzy_sets"].update(adx={}), "names no indicator"),
        (lambda s: s["fuzzy_sets"].clear(), "there would be no features"),
        (lambda s: s["fuzzy_sets"]["rsi_5"]["low"].update(type="box"), "none of triangular"),
        (lambda s: s["fuzzy_sets"]["rsi_5"]["low"].update(parameters=[3, 2, 1]), "must ascend"),
        (lambda s: s["fuzzy_sets"]["ema_4"]["above"].update(parameters=[1, 0]), "above 0"),
        (lambda s: s["training"]["labels"].update(source="triple"), "must be zigzag"),
        (
            lambda s: s["training"].update(data_split={"train": 0.5, "validation": 0.1}),
            "adds up to",
        ),
        (lambda s: s["model"]["features"].update(include_price_context=True), "set it to false"),
        (
            lambda s: s["model"]["training"].update(early_stopping={"monitor": "f1"}),
            "is 'f1'",
        ),
        (lambda s: s.pop("name"), "name is missing"),
    ],
)
def test_no_field_of_a_strategy_is_ignored(tmp_path: Path, change: Any, text: str | None) -> None:
    document = strategy()
    change(document)
    path = write_strategy(tmp_path / "s.yaml", document)
    write_bars(tmp_path, "EUR", "1h", waves(300, 1))
    provider = CsvFeatureProvider(tmp_path)
    if text is None:
        # A field of training is judged by the trainer, which knows them all.
        provider.load(path, ["EUR"], ["1h"], *TIME)
        return
    with pytest.raises(TrainingProviderDataError, match=text) as caught:
        provider.load(path, ["EUR"], ["1h"], *TIME)
    assert "s.yaml" in caught.value.message


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("timestamp,close\n2024-01-01,1\n2024-01-01,1\n", "line 3: 2024-01-01 is not after"),
        ("timestamp,close\n2024-01-01,-1\n", "line 2: close is -1"),
        ("timestamp,close\n2024-01-01,nan\n", "line 2: close is nan"),
        ("timestamp,close\n2024-01-01,1\nyesterday,1\n", "line 3: .*yesterday"),
        ("time,close\n2024-01-01,1\n", "timestamp"),
        ("timestamp,close\n2024-01-01\n", "EUR_1h.csv"),
        ("timestamp,close\n", "has 0 bars"),
    ],
)
def test_market_data_that_are_wrong_name_the_place(tmp_path: Path, lines: str, text: str) -> None:
    path = write_strategy(tmp_path / "s.yaml", strategy())
    (tmp_path / "EUR_1h.csv").write_text(lines)
    with pytest.raises(TrainingProviderDataError, match=text):
        CsvFeatureProvider(tmp_path).load(path, ["EUR"], ["1h"], *TIME)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_strategy(tmp_path / "s.yaml", strategy())
    provider = CsvFeatureProvider(tmp_path)
    with pytest.raises(TrainingProviderDataError, match="EUR_1h"):
        provider.load(path, ["EUR"], ["1h"], *TIME)
    with pytest.raises(TrainingProviderDataError, match=r"none\.yaml"):
        provider.load(tmp_path / "none.yaml", ["EUR"], ["1h"], *TIME)
    with pytest.raises(TrainingProviderDataError, match=r"'01\.02\.2024'"):
        provider.load(path, ["EUR"], ["1h"], "01.02.2024", "2024-03-01")
    with pytest.raises(TrainingProviderDataError, match="at least one symbol"):
        provider.load(path, [], ["1h"], *TIME)
    with pytest.raises(TrainingProviderDataError, match="names another directory"):
        provider.load(path, ["../EUR"], ["1h"], *TIME)
    with pytest.raises(TrainingProviderDataError, match="not like 15m"):
        provider.load(path, ["EUR"], ["hourly"], *TIME)


def test_arrays_that_do_not_fit_are_refused() -> None:
    made = FeatureSet(
        np.zeros((3, 2), np.float32), np.zeros(3, np.int32), np.zeros(2, np.int32),
        np.arange(3), ("a", "b"),
    )  # fmt: skip
    with pytest.raises(TrainingProviderDataError, match="3 rows of features and 2 groups"):
        made.check()
    with pytest.raises(TrainingProviderDataError, match="no row"):
        made.rows(slice(0, 0)).check()
