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
        {"hidden": [6, 6], "normalization": "batch"},
        {"hidden": [5, 5, 5], "normalization": "layer", "residual": True},
        {"hidden": [6], "embedding": 3, "standardize": True, "dropout": 0.1},
        {"hidden": [], "embedding": 2},
        {"recurrent": "gru", "recurrent_width": 6, "recurrent_layers": 2, "window": 5},
        {"recurrent": "lstm", "recurrent_width": 4, "window": 3, "embedding": 2, "dropout": 0.1,
         "standardize": True},
    ],
)  # fmt: skip
def test_the_net_in_pytorch_says_the_same(fields: dict[str, Any], data: Data) -> None:
    torch = pytest.importorskip("torch")
    features, labels = data
    groups = (np.arange(len(labels)) * 4 // len(labels)).astype(np.int32)
    with trainhost.Manager(trainhost.Mode.LOCAL).open() as adapter:
        model = adapter.train(features, labels, epochs=2, groups=groups, **fields).result().model
        logits = adapter.predict(model, torch.from_numpy(features), groups=groups).result().logits
    net = model.to_torch()
    arguments = [torch.from_numpy(features)]
    if "embedding" in fields or "recurrent" in fields:
        arguments.append(torch.from_numpy(groups).long())
    with torch.no_grad():
        np.testing.assert_allclose(net(*arguments), logits, atol=5e-6)
        assert set(model.tensors) <= set(net.state_dict())
        before = {name: tensor.copy() for name, tensor in model.tensors.items()}
        for parameter in net.parameters():
            parameter.zero_()
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(tensor, before[name])


@pytest.mark.parametrize(
    "architecture",
    [
        "",
        "nn.Sequential(",
        "nn.Sequential(os.system('true'))",
        "nn.Sequential(nn.Linear(open))",
        "nn.Sequential(nn.Linear(-1, 2))",
        "3",
        "class Net(nn.Module):\n    def __init__(self):\n        self.output = nn.Flatten()",
        "class Net(nn.Module):\n    def __init__(self):\n        self.output = print(1)",
    ],
)
def test_pytorch_builds_nothing_else_than_nets(architecture: str) -> None:
    pytest.importorskip("torch")
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = {"__metadata__": {"architecture": architecture}, "0.weight": one}
    with pytest.raises(trainhost.DataError, match="no net can be built"):
        trainhost.Model(safetensors(header, bytes(4))).to_torch()
