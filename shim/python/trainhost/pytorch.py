"""Models as modules of PyTorch; imported only by those who ask for one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from trainhost.errors import DataError

if TYPE_CHECKING:
    from trainhost.model import Model

# What the trainer builds nets of. A model file may come from anywhere: nothing else is called.
_CONTAINERS = frozenset(["Sequential", "ModuleList"])
_LAYERS = frozenset(
    ["Linear", "Dropout", "BatchNorm1d", "LayerNorm", "Embedding", "LSTM", "GRU", "ReLU",
     "LeakyReLU", "Tanh", "Sigmoid", "ELU", "GELU", "SiLU"]
)  # fmt: skip


class Standardize(nn.Module):
    """Gives each feature the mean 0 and deviation 1 that it had in training."""

    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[rows, width] to [rows, width]."""
        return (features - self.get_buffer("mean")) / self.get_buffer("std")


class Net(nn.Module):
    """A net with an embedding, recurrent or residual layers: its members by their names."""

    def __init__(self, members: dict[str, nn.Module], window: int, is_residual: bool) -> None:
        super().__init__()
        for name, member in members.items():
            self.add_module(name, member)
        self._window = window
        self._is_residual = is_residual

    def forward(self, x: torch.Tensor, group: torch.Tensor | None = None) -> torch.Tensor:
        """[rows, width], in the order of time, and the group of each row to [rows, outputs]."""
        members = dict(self.named_children())
        if "input" in members:
            x = members["input"](x)
        if "recurrent" in members:
            x = windows(x, group, self._window)
        if "embedding" in members:
            learnt = members["embedding"](group)
            if x.ndim == 3:
                learnt = learnt[:, None].expand(*x.shape[:2], -1)
            x = torch.cat([x, learnt], -1)
        if "recurrent" in members:
            x = members["recurrent"](x)[0][:, -1]
        if "dropout" in members:
            x = members["dropout"](x)
        for layer in members["hidden"].children():
            y = layer(x)
            x = x + y if self._is_residual and x.shape == y.shape else y
        outputs: torch.Tensor = members["output"](x)
        return outputs


def windows(x: torch.Tensor, group: torch.Tensor | None, size: int) -> torch.Tensor:
    """
    Each row and those before it, the oldest first: [rows, size, width].

    What a window lacks at the beginning of its group's run is 0.
    """
    place = torch.arange(len(x))
    begin = torch.zeros_like(place)
    if group is not None:
        begin[1:] = torch.where(group[1:] != group[:-1], place[1:], 0)
    first = begin.cummax(0).values
    index = place[:, None] + torch.arange(1 - size, 1)
    return x[index.clamp(min=0)] * (index >= first[:, None])[:, :, None]


def module_of(model: Model) -> nn.Module:
    """As Model.to_torch."""
    state = {name: torch.tensor(tensor) for name, tensor in model.tensors.items()}
    members: dict[str, nn.Module] = {}
    if "input.mean" in state:
        members["input"] = Standardize(state["input.mean"], state["input.std"])
    net: nn.Module
    architecture = model.metadata.get("architecture", "")
    try:
        members |= dict(_members(architecture))
        if "output" in members:
            spec = model.spec
            net = Net(members, spec.get("window", 1), spec.get("residual", False))
        else:
            net = nn.Sequential()
            for name, member in members.items():
                net.add_module(name, member)
        # PyTorch counts the batches, which no result depends on.
        counted = [name for name in net.state_dict() if name.endswith("num_batches_tracked")]
        net.load_state_dict(state | {name: torch.tensor(0) for name in counted})
    except (AttributeError, RuntimeError, SyntaxError, TypeError, ValueError) as error:
        raise DataError(f"no net can be built of {architecture!r}: {error}") from error
    return net.eval()


def _members(architecture: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules of "nn.Sequential(…)" by their numbers, or of "class Net…" by their names."""
    for statement in ast.parse(architecture).body:
        if isinstance(statement, ast.Expr):
            yield from _module(statement.value).named_children()
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                yield node.targets[0].attr, _module(node.value)


def _module(call: ast.expr) -> nn.Module:
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        raise ValueError(f"{ast.unparse(call)} is no module")
    name, arguments = call.func.attr, call.args
    if name in _CONTAINERS:
        if len(arguments) == 1 and isinstance(arguments[0], ast.List):
            arguments = arguments[0].elts
        return nn.Sequential(*map(_module, arguments))
    if name not in _LAYERS:
        raise ValueError(f"{name} is none of {', '.join(sorted(_LAYERS))}")
    positional = [ast.literal_eval(argument) for argument in arguments]
    named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    layer: nn.Module = getattr(nn, name)(*positional, **named)
    return layer
