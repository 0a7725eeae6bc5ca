"""PyTorch's side of predicting.c: prints how it predicts, then, for each line it reads, applies the net to
all rows and prints the rows a second.

Usage: predicting_peer.py CASE THREADS FILE ROWS WIDTH
"""
import sys
import warnings

import numpy
import torch
from peer import serve
from torch import nn

NETS = {
    # case: (hidden layers, classes)
    "predict-ktrdr-2t": ([64, 32], 3),
    "predict-fashion-2t": ([256, 128, 100], 10),
}
BATCHES = (1000, 5000, 20000, 100000)


def net(width, hidden, classes):
    layers = []
    for outputs in hidden:
        layers += [nn.Linear(width, outputs), nn.ReLU()]
        width = outputs
    return nn.Sequential(*layers, nn.Linear(width, classes)).eval()


def way(model, features, batch):
    def work():
        with torch.inference_mode():
            torch.cat([model(rows) for rows in features.split(batch)])

    return work


def main():
    case, threads, path, rows, width = sys.argv[1:]
    rows, width = int(rows), int(width)
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    warnings.simplefilter("ignore")
    numbers = numpy.fromfile(path, dtype=numpy.float32, count=rows * width)
    features = torch.from_numpy(numbers.reshape(rows, width))
    model = net(width, *NETS[case])
    models = {"eager": model, "compiled": torch.compile(model, dynamic=False)}
    ways = {f"{name}, batches of {batch}, {threads} threads": way(models[name], features, batch)
            for name in models for batch in BATCHES}
    serve(torch.__version__, ways, rows)


main()
