"""Models: the file's bytes, views into them, and the same net in PyTorch."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from conftest import Data

import trainhost


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_tensors_are_views_into_the_file() -> None:
    entry = {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}
    file = bytearray(safetensors({"w": entry}, struct.pack("<2f", 1, 2)))
    model = trainhost.Model(file)
    file[-4:] = struct.pack("<f", 5)
    np.testing.assert_array_equal(model.tensors["w"], [[1], [5]])
    assert model.spec == {}


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63),
        safetensors(b"{"),
        safetensors([1]),
        safetensors({"w": 1}),
        safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
        safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(8)),
        safetensors({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8)),
        safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 4]}}, bytes(8)),
        safetensors({"w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, bytes(2)),
    ],
)
def test_bytes_that_are_no_model_are_refused(file: bytes) -> None:
    with pytest.raises(trainhost.DataError, match="no safetensors file"):
        trainhost.Model(file)


def test_outputs_are_asked_for_by_what_they_are(adapter: trainhost.Adapter, data: Data) -> None:
    trained = adapter.train(*data, epochs=1).result()
    evaluated = adapter.evaluate(trained.model, *data).result()
    with pytest.raises(trainhost.UsageError, match="makes no logits"):
        _ = trained.logits
    with pytest.raises(trainhost.UsageError, match="makes no model"):
        _ = evaluated.model
    with pytest.raises(trainhost.UsageError, match="has no output"):
        _ = evaluated.output


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden": [8, 4], "activation": ["relu", "gelu"], "dropout": 0.5},
        {"hidden": [6], "activation": "leaky_relu", "negative_slope": 0.2, "standardize": True},
        {"hidden": [6], "activation": "elu", "elu_alpha": 0.5},
        {"hidden": [6], "activation": "gelu_tanh"},
        {"hidden": [6, 5, 4], "activation": ["silu", "tanh", "sigmoid"]},
        {"hidden": []},
    ],
)
def test_the_net_in_pytorch_says_the_same(fields: dict[str, Any], data: Data) -> None:
    torch = pytest.importorskip("torch")
    with trainhost.Manager(trainhost.Mode.LOCAL).open() as adapter:
        model = adapter.train(*data, epochs=2, **fields).result().model
        logits = adapter.predict(model, torch.from_numpy(data[0])).result().logits
    net = model.to_torch()
    assert list(net.state_dict()) == sorted(model.tensors, key=list(net.state_dict()).index)
    with torch.no_grad():
        np.testing.assert_allclose(net(torch.from_numpy(data[0])), logits, atol=2e-6)
    parameters = dict(net.named_parameters())
    before = model.tensors["0.weight"].copy()
    with torch.no_grad():
        parameters["0.weight"].zero_()
    np.testing.assert_array_equal(model.tensors["0.weight"], before)


@pytest.mark.parametrize(
    "architecture",
    [
        "",
        "nn.Sequential(",
        "nn.Sequential(os.system('true'))",
        "nn.Sequential(nn.Linear(open))",
        "3",
    ],
)
def test_pytorch_builds_nothing_else_than_nets(architecture: str) -> None:
    pytest.importorskip("torch")
    model = trainhost.Model(safetensors({"__metadata__": {"architecture": architecture}}))
    with pytest.raises(trainhost.DataError, match="cannot be built"):
        model.to_torch()
