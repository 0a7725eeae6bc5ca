"""Models as modules of PyTorch; imported only by those who ask for one."""

from __future__ import annotations

import ast
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import nn

from trainhost.errors import DataError

if TYPE_CHECKING:
    from trainhost.model import Model

# What the trainer builds nets of. A model file may come from anywhere: nothing else is called.
_MODULES = frozenset(
    ["Linear", "Dropout", "ReLU", "LeakyReLU", "Tanh", "Sigmoid", "ELU", "GELU", "SiLU"]
)


class Standardize(nn.Module):
    """Gives each feature the mean 0 and deviation 1 that it had in training."""

    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[rows, width] to [rows, width]."""
        return (features - self.get_buffer("mean")) / self.get_buffer("std")


def module_of(model: Model) -> nn.Sequential:
    """As Model.to_torch."""
    state = {name: torch.tensor(tensor) for name, tensor in model.tensors.items()}
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if "input.mean" in state:
        layers["input"] = Standardize(state["input.mean"], state["input.std"])
    for number, layer in enumerate(_layers(model.metadata.get("architecture", ""))):
        layers[str(number)] = layer
    net = nn.Sequential(layers)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"the tensors are not those of the architecture: {error}") from error
    return net.eval()


def _layers(architecture: str) -> list[nn.Module]:
    """The modules of a text such as "nn.Sequential(nn.Linear(4, 3), nn.ReLU())"."""
    try:
        outer = ast.parse(architecture, mode="eval").body
        if not isinstance(outer, ast.Call) or outer.keywords:
            raise ValueError("no call of nn.Sequential")
        return [_layer(argument) for argument in outer.args]
    except (SyntaxError, TypeError, ValueError) as error:
        raise DataError(f"architecture {architecture!r} cannot be built: {error}") from error


def _layer(call: ast.expr) -> nn.Module:
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        raise ValueError(f"{ast.unparse(call)} is no module")
    if call.func.attr not in _MODULES:
        raise ValueError(f"{call.func.attr} is none of {', '.join(sorted(_MODULES))}")
    positional = [ast.literal_eval(argument) for argument in call.args]
    named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    layer: nn.Module = getattr(nn, call.func.attr)(*positional, **named)
    return layer
