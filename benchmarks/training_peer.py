"""PyTorch's side of training.c: prints how it trains, then, for each line it reads, trains an
epoch and prints the samples a second. Data, net and optimizer are those of the case in training.c.

Usage: training_peer.py CASE THREADS FILE ROWS WIDTH
"""
import sys
import warnings

import numpy
import torch
from peer import serve
from torch import nn

NETS = {
    # case: (hidden layers, classes, dropout, batch size)
    "ktrdr-b32-1t": ([64, 32], 3, 0.2, 32),
    "ktrdr-b256-1t": ([64, 32], 3, 0.2, 256),
    "ktrdr-b256-2t": ([64, 32], 3, 0.2, 256),
    "ktrdr-loop-b32-1t": ([64, 32], 3, 0.2, 32),
    "sweep-8-2t": ([64, 32], 3, 0.2, 32),
    "fashion-b128-2t": ([256, 128, 100], 10, 0.0, 128),
    "wide1024-b256-2t": ([1024] * 4, 10, 0.0, 256),
}


def net(width, hidden, classes, dropout):
    layers = []
    for outputs in hidden:
        layers += [nn.Linear(width, outputs), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        width = outputs
    return nn.Sequential(*layers, nn.Linear(width, classes))


def adam(model, **options):
    return torch.optim.Adam(model.parameters(), lr=0.001, weight_decay=1e-4, **options)


class Tight:
    """As tight as PyTorch's documentation advises: whole tensors, no DataLoader, no item(), the
    fused optimizer; eager or compiled."""

    def __init__(self, model, batch_size, compiled, threads):
        self.model, self.batch_size, self.threads = model, batch_size, threads
        self.optimizer = adam(model, fused=True)
        loss = nn.CrossEntropyLoss()
        self.loss = lambda x, y: loss(model(x), y)
        if compiled:
            self.loss = torch.compile(self.loss, dynamic=False)
        self.name = f"{'compiled' if compiled else 'eager'}, Adam(fused), {threads} threads"

    def epoch(self, features, labels):
        torch.set_num_threads(self.threads)
        for rows in torch.randperm(len(labels)).split(self.batch_size):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(features[rows], labels[rows]).backward()
            self.optimizer.step()


class Loop:
    """As the loop of a service is usually written."""

    name = "eager, DataLoader, clipping, two item() a batch, 1 thread"

    def __init__(self, model, batch_size):
        self.model, self.batch_size = model, batch_size
        self.optimizer = adam(model)
        self.loss = nn.CrossEntropyLoss()

    def epoch(self, features, labels):
        data = torch.utils.data.TensorDataset(features, labels)
        loader = torch.utils.data.DataLoader(data, batch_size=self.batch_size, shuffle=True)
        total, correct = 0.0, 0
        for x, y in loader:
            self.optimizer.zero_grad()
            logits = self.model(x)
            loss = self.loss(logits, y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            total += loss.item()
            correct += (logits.argmax(1) == y).sum().item()


def main():
    case, threads, path, rows, width = sys.argv[1:]
    rows, width = int(rows), int(width)
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    warnings.simplefilter("ignore")
    numbers = numpy.fromfile(path, dtype=numpy.float32)
    features = torch.from_numpy(numbers[: rows * width].reshape(rows, width))
    labels = torch.from_numpy(numbers[rows * width :].view(numpy.int32).astype(numpy.int64))
    hidden, classes, dropout, batch_size = NETS[case]
    model = net(width, hidden, classes, dropout)
    # One run after another has the rate of one. It need not use all threads if fewer are faster,
    # as eight runs at once do not wait for each other either.
    counts = {1, int(threads)} if "sweep" in case else {int(threads)}
    if "loop" in case:
        ways = [Loop(model, batch_size)]
    else:
        ways = [Tight(model, batch_size, compiled, count)
                for compiled in (False, True) for count in sorted(counts)]
    work = {way.name: lambda way=way: way.epoch(features, labels) for way in ways}
    serve(torch.__version__, work, rows)


main()
