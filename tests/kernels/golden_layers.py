#!/usr/bin/python3
"""Write golden_layers.txt: what PyTorch, in float64, makes of nets whose hidden layers are normalized
or residual after 1 and after 100 steps, and what loss all rows have in evaluation mode then.

Run as `./golden_layers.py > golden_layers.txt`; golden.py, beside it, has the rest.
"""

import math
import re

import torch
from torch import nn
from torch.nn import functional

from golden import ACTIVATIONS, BATCH, CLASSES, OPTIMIZERS, ROWS, STEPS, WIDTH, clip, show

# The first two are as wide as what comes in, so that they can be residual; the third is not.
HIDDEN = (5, 5, 4)
NORMALIZATIONS = {"none": None, "layer": nn.LayerNorm, "batch": nn.BatchNorm1d}
KINDS = [("none", True), ("layer", False), ("layer", True), ("batch", False), ("batch", True)]


class Net(nn.Module):
    def __init__(self, activation, normalization, residual):
        super().__init__()
        norm = NORMALIZATIONS[normalization]
        self.normalization = normalization
        self.residual = residual
        self.hidden = nn.ModuleList()
        for before, after in zip((WIDTH, *HIDDEN), HIDDEN):
            norms = [norm(after)] if norm else []
            self.hidden.append(
                nn.Sequential(nn.Linear(before, after), *norms, ACTIVATIONS[activation]()))
        self.output = nn.Linear(HIDDEN[-1], CLASSES)
        self.double()

    def forward(self, x):
        for layer in self.hidden:
            y = layer(x)
            x = x + y if self.residual and x.shape == y.shape else y
        return self.output(x)

    def numbers(self):
        """Parameters and running statistics, in the order of the file of a model."""
        return [t for name, t in self.state_dict().items() if "tracked" not in name]


def drawn():
    """Numbers for the largest net; smaller ones take the first of them, in order. Scales around 1
    keep what rounding changes from growing over 100 steps; a variance must be above 0."""
    model = Net("relu", "batch", True)
    for tensor in model.numbers():
        tensor.copy_(torch.randn(tensor.shape) / 2)
    for _, norm, _ in model.hidden:
        norm.weight.data.div_(2).add_(1)
        norm.running_var.abs_().add_(0.5)
    return torch.cat([t.reshape(-1) for t in model.numbers()]).float().double()


def start(model, numbers):
    begin = 0
    for tensor in model.numbers():
        tensor.copy_(numbers[begin:begin + tensor.numel()].reshape(tensor.shape))
        begin += tensor.numel()


def slowed(fields):
    """A tenth of golden.py's rates. Batches of 8 rows through normalizations over 5 numbers magnify
    what rounding changes, with every step the more, the longer it is."""
    rate = float(re.search(r"learning_rate=(\S+)", fields)[1]) / 10
    return re.sub(r"learning_rate=\S+", f"learning_rate={rate:g}", fields), float(f"{rate:g}")


def forget_centered(model):
    """A bias whose layer is normalized by batch has no gradient. PyTorch's is what rounding leaves,
    of which adaptive optimizers make whole steps."""
    for linear, _, _ in model.hidden:
        linear.bias.grad.zero_()


def train(model, fields, features, labels, steps):
    optimizer = OPTIMIZERS[fields](model.parameters())
    optimizer.param_groups[0]["lr"] = slowed(fields)[1]
    batches = (ROWS + BATCH - 1) // BATCH
    loss = None
    model.train()
    for step in range(steps):
        rows = slice(step % batches * BATCH, step % batches * BATCH + BATCH)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(features[rows]), labels[rows])
        loss.backward()
        if model.normalization == "batch":
            forget_centered(model)
        clip(model, fields)
        optimizer.step()
    model.eval()
    applied = functional.cross_entropy(model(features), labels)
    numbers = torch.cat([t.detach().reshape(-1) for t in model.numbers()]).tolist()
    mark = sum(math.cos(i) * p for i, p in enumerate(numbers))
    return loss.item(), mark, applied.item()


def main():
    torch.set_num_threads(1)
    torch.manual_seed(2)
    # Rounded through float32, so that the float build starts from the same numbers.
    features = torch.randn(ROWS, WIDTH).float().double()
    labels = torch.randint(CLASSES, (ROWS,))
    numbers = drawn()
    show("features", features.reshape(-1).tolist())
    print("labels", *labels.tolist())
    show("start", numbers.tolist())
    print("loss=cross_entropy hidden=" + ",".join(map(str, HIDDEN)))
    for fields in OPTIMIZERS:
        print(slowed(fields)[0])
        for activation in ("relu", "tanh", "gelu"):
            for normalization, residual in KINDS:
                ends = []
                for steps in STEPS:
                    model = Net(activation, normalization, residual)
                    start(model, numbers)
                    ends += train(model, fields, features, labels, steps)
                show(f"activation={activation} normalization={normalization} "
                     f"residual={str(residual).lower()}", ends)


if __name__ == "__main__":
    main()
