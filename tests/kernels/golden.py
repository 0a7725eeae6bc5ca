#!/usr/bin/python3
"""Write golden.txt: what PyTorch, in float64, makes of a small net after 1 and after 100 steps, with
every loss, optimizer and activation together, and of some after 1,000: there with how far its own
float32 is from that, as "0.25~1e-5".

Needs PyTorch (Debian: python3-torch). Run as `./golden.py > golden.txt`; the tests read the file,
so they need no Python. Shuffle and dropout are off: their random numbers are not PyTorch's.
"""

import math

import torch
from torch.nn import functional

WIDTH, HIDDEN, CLASSES = 5, (6, 4), 3
# 22 rows in batches of 8: two whole ones and a ragged one of 6.
ROWS, BATCH = 22, 8

ACTIVATIONS = {
    "relu": torch.nn.ReLU,
    "leaky_relu": lambda: torch.nn.LeakyReLU(0.01),
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
    "elu": torch.nn.ELU,
    "gelu": torch.nn.GELU,
    "gelu_tanh": lambda: torch.nn.GELU(approximate="tanh"),
    "silu": torch.nn.SiLU,
}

# Fields of a specification, and what PyTorch has for them.
OPTIMIZERS = {
    "optimizer=sgd learning_rate=0.1 weight_decay=0.01":
        lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01),
    "optimizer=sgd learning_rate=0.05 momentum=0.9 weight_decay=0.01":
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "optimizer=sgd learning_rate=0.05 momentum=0.9 nesterov=true weight_decay=0.01":
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "optimizer=sgd learning_rate=0.1 momentum=0.5 clip_norm=0.2":
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5),
    "optimizer=sgd learning_rate=0.1 clip_value=0.02":
        lambda p: torch.optim.SGD(p, lr=0.1),
    "optimizer=rmsprop learning_rate=0.001 weight_decay=0.01":
        lambda p: torch.optim.RMSprop(p, lr=0.001, weight_decay=0.01),
    "optimizer=rmsprop learning_rate=0.001 rho=0.9 epsilon=1e-6 momentum=0.5":
        lambda p: torch.optim.RMSprop(p, lr=0.001, alpha=0.9, eps=1e-6, momentum=0.5),
    "optimizer=adam learning_rate=0.01 weight_decay=0.01":
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    "optimizer=adamw learning_rate=0.01 weight_decay=0.1":
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


def focal(logits, labels, alpha, gamma):
    """Lin et al. 2017, equation 5, with a weight for each class."""
    loss = functional.cross_entropy(logits, labels, reduction="none")
    return (alpha[labels] * (1 - torch.exp(-loss)) ** gamma * loss).mean()


def weigh(losses, weights):
    return (weights * losses).sum() / weights.sum()


# Of outputs z, labels y, targets t and the weights v of rows.
LOSSES = {
    "loss=cross_entropy": lambda z, y, t, v: functional.cross_entropy(z, y),
    "loss=cross_entropy class_weights=1,0.25,2 label_smoothing=0.1":
        lambda z, y, t, v: functional.cross_entropy(
            z, y, weight=torch.tensor([1, 0.25, 2]).to(z), label_smoothing=0.1),
    "loss=cross_entropy class_weights=0,1,3":
        lambda z, y, t, v: functional.cross_entropy(z, y, weight=torch.tensor([0, 1, 3]).to(z)),
    "loss=focal class_weights=0.5,1,2":
        lambda z, y, t, v: focal(z, y, torch.tensor([0.5, 1, 2]).to(z), 2),
    "loss=focal focal_gamma=0.5":
        lambda z, y, t, v: focal(z, y, torch.ones(CLASSES).to(z), 0.5),
    "loss=binary_cross_entropy class_weights=1,3":
        lambda z, y, t, v: functional.binary_cross_entropy_with_logits(
            z[:, 0], (y % 2).to(z), pos_weight=torch.tensor(3.0).to(z)),
    "loss=mean_squared_error": lambda z, y, t, v: functional.mse_loss(z, t),
    "loss=huber huber_delta=0.5": lambda z, y, t, v: functional.huber_loss(z, t, delta=0.5),
    "loss=cross_entropy name=weighed": lambda z, y, t, v:
        weigh(functional.cross_entropy(z, y, reduction="none"), v),
    "loss=cross_entropy class_weights=1,0.25,2 name=weighed": lambda z, y, t, v:
        (v * functional.cross_entropy(z, y, weight=torch.tensor([1, 0.25, 2]).to(z),
                                      reduction="none")).sum()
        / (v * torch.tensor([1, 0.25, 2]).to(z)[y]).sum(),
    "loss=huber huber_delta=0.5 name=weighed": lambda z, y, t, v:
        weigh(functional.huber_loss(z, t, delta=0.5, reduction="none").mean(1), v),
}


STEPS, LONG = (1, 100), (1000,)
# Not mean_squared_error with relu: whether a unit is on comes to depend on rounding there.
LONG_CASES = [("loss=cross_entropy", "relu"), ("loss=cross_entropy", "gelu"),
              ("loss=mean_squared_error", "gelu")]


def net(activation, outputs):
    widths = (WIDTH, *HIDDEN, outputs)
    modules = []
    for before, after in zip(widths, widths[1:]):
        modules += [torch.nn.Linear(before, after), ACTIVATIONS[activation]()]
    return torch.nn.Sequential(*modules[:-1])


def flat(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def load(model, values):
    begin = 0
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(values[begin:begin + p.numel()].reshape(p.shape))
            begin += p.numel()


def clip(model, fields):
    for field in fields.split():
        name, value = field.split("=")
        if name == "clip_norm":
            torch.nn.utils.clip_grad_norm_(model.parameters(), float(value))
        if name == "clip_value":
            torch.nn.utils.clip_grad_value_(model.parameters(), float(value))


def mark(model):
    """A number that every parameter is in."""
    return sum(math.cos(i) * p for i, p in enumerate(flat(model).tolist()))


def train(model, fields, loss_of, data, ends):
    """At each end the loss of the last step, before its update, and the mark."""
    optimizer = OPTIMIZERS[fields](model.parameters())
    batches = (ROWS + BATCH - 1) // BATCH
    numbers = []
    for step in range(ends[-1]):
        rows = slice(step % batches * BATCH, step % batches * BATCH + BATCH)
        features, *rest = (array[rows] for array in data)
        optimizer.zero_grad()
        loss = loss_of(model(features), *rest)
        loss.backward()
        clip(model, fields)
        optimizer.step()
        if step + 1 in ends:
            numbers += [loss.item(), mark(model)]
    return numbers


def show(name, values):
    print(name, *(f"{v:.17g}" for v in values))


def case_show(loss, fields, activation, start, data):
    """The numbers of one training; those after 1,000 steps with the gap that float32 leaves."""
    def numbers_of(kind, ends):
        model = net(activation, 1 if "binary" in loss else CLASSES).to(kind)
        load(model, start)
        arrays = [a.to(kind) if a.is_floating_point() else a for a in data]
        return train(model, fields, LOSSES[loss], arrays, ends)

    is_long = (loss, activation) in LONG_CASES
    words = [f"{n:.17g}" for n in numbers_of(torch.float64, STEPS + (LONG if is_long else ()))]
    if is_long:
        single = numbers_of(torch.float32, LONG)
        gaps = [abs(float(w) - n) for w, n in zip(words[-2:], single)]
        # Where float32 has lost the way, nothing is to be held against it.
        words[-2:] = [f"{w}~{g:.1e}" for w, g in zip(words[-2:], gaps) if max(gaps) < 1e-3]
    print(f"activation={activation}", *words)


def begin():
    """Write the head of the file: features, labels and the parameters to begin with."""
    torch.manual_seed(1)
    # Rounded through float32, so that the float build starts from the same numbers.
    features = torch.randn(ROWS, WIDTH).float().double()
    labels = torch.randint(CLASSES, (ROWS,))
    start = flat(net("relu", CLASSES)).float().double()
    show("features", features.reshape(-1).tolist())
    print("labels", *labels.tolist())
    show("start", start.tolist())
    return features, labels, start


def main():
    features, labels, start = begin()
    targets = torch.randn(ROWS, CLASSES).double()
    weights = (3 * torch.rand(ROWS)).double()
    weights[5] = 0
    show("targets", targets.reshape(-1).tolist())
    show("weights", weights.tolist())
    for loss in LOSSES:
        print(loss)
        for fields in OPTIMIZERS:
            print(fields)
            for activation in ACTIVATIONS:
                case_show(loss, fields, activation, start, (features, labels, targets, weights))


if __name__ == "__main__":
    main()
