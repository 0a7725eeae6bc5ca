#!/usr/bin/python3
"""Write golden.txt: what PyTorch, in float64, makes of a small net after 1 and after 100 steps.

Needs PyTorch (Debian: python3-torch). Run as `./golden.py > golden.txt`; the tests read the file,
so they need no Python. Shuffle and dropout are off: their random numbers are not PyTorch's.
"""

import torch

WIDTH, HIDDEN, CLASSES = 5, (6, 4), 3
# 22 rows in batches of 8: two whole ones and a ragged one of 6.
ROWS, BATCH = 22, 8

ACTIVATIONS = {
    "relu": torch.nn.ReLU,
    "leaky_relu": lambda: torch.nn.LeakyReLU(0.01),
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
}

# name: constructor, learning rate, momentum, weight decay
OPTIMIZERS = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01), 0.1, 0.0, 0.01),
    "sgd_momentum": (
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01), 0.05, 0.9, 0.01),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01), 0.01, 0.0, 0.01),
    "adamw": (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1), 0.01, 0.0, 0.1),
}


def net(activation):
    widths = (WIDTH, *HIDDEN, CLASSES)
    modules = []
    for inputs, outputs in zip(widths, widths[1:]):
        modules += [torch.nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return torch.nn.Sequential(*modules[:-1]).double()


def flat(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def load(model, values):
    begin = 0
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(values[begin:begin + p.numel()].reshape(p.shape))
            begin += p.numel()


def train(model, optimizer, features, labels, steps):
    """The loss of the last step, before its update."""
    batches = (ROWS + BATCH - 1) // BATCH
    loss = None
    for step in range(steps):
        rows = slice(step % batches * BATCH, step % batches * BATCH + BATCH)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(features[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    return loss.item()


def show(name, values):
    print(name, *(f"{v:.17g}" for v in values.reshape(-1).tolist()))


def main():
    torch.manual_seed(1)
    # Rounded through float32, so that the float build starts from the same numbers.
    features = torch.randn(ROWS, WIDTH).float().double()
    labels = torch.randint(CLASSES, (ROWS,))
    start = flat(net("relu")).float().double()
    show("features", features)
    print("labels", *labels.tolist())
    show("start", start)
    for activation in ACTIVATIONS:
        for name, (make, rate, momentum, decay) in OPTIMIZERS.items():
            print("case", activation, name, rate, momentum, decay)
            for steps in (1, 100):
                model = net(activation)
                load(model, start)
                loss = train(model, make(model.parameters()), features, labels, steps)
                print("loss", f"{loss:.17g}")
                show("after", flat(model))


main()
