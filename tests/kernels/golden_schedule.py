#!/usr/bin/env python3
"""Write golden_schedule.txt: what PyTorch, in float64, makes of golden.txt's net in 34 epochs with
every schedule and optimizer together. Plateau is told the mean loss of each epoch's rows.

Run as `./golden_schedule.py > golden_schedule.txt`; golden.py, beside it, has the rest.
"""

import torch
from torch.nn import functional
from torch.optim import lr_scheduler as schedulers

import golden

EPOCHS = 34
BATCHES = (golden.ROWS + golden.BATCH - 1) // golden.BATCH

# Of an optimizer and its rate.
SCHEDULES = {
    "schedule=step step_size=9 gamma=0.4": lambda o, rate: schedulers.StepLR(o, 9, 0.4),
    "schedule=exponential gamma=0.95": lambda o, rate: schedulers.ExponentialLR(o, 0.95),
    "schedule=cosine": lambda o, rate: schedulers.CosineAnnealingLR(o, EPOCHS),
    "schedule=one_cycle": lambda o, rate: schedulers.OneCycleLR(
        o, rate, total_steps=EPOCHS * BATCHES, cycle_momentum=False),
    "schedule=plateau plateau_patience=0 plateau_factor=0.5": lambda o, rate:
        schedulers.ReduceLROnPlateau(o, factor=0.5, patience=0),
}


def rows_of(step):
    return slice(step * golden.BATCH, (step + 1) * golden.BATCH)


def train(model, fields, schedule, features, labels):
    optimizer = golden.OPTIMIZERS[fields](model.parameters())
    scheduler = SCHEDULES[schedule](optimizer, optimizer.param_groups[0]["lr"])
    for _ in range(EPOCHS):
        total = 0
        for step in range(BATCHES):
            rows = rows_of(step)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(features[rows]), labels[rows])
            loss.backward()
            golden.clip(model, fields)
            optimizer.step()
            total += loss.item() * len(labels[rows])
            if "one_cycle" in schedule:
                scheduler.step()
        if "plateau" in schedule:
            scheduler.step(total / golden.ROWS)
        elif "one_cycle" not in schedule:
            scheduler.step()
    return total / golden.ROWS, golden.mark(model)


def main():
    features, labels, start = golden.begin()
    for schedule in SCHEDULES:
        print("loss=cross_entropy", schedule)
        for fields in golden.OPTIMIZERS:
            print(fields)
            model = golden.net("tanh", golden.CLASSES).double()
            golden.load(model, start)
            golden.show("activation=tanh", train(model, fields, schedule, features, labels))


if __name__ == "__main__":
    main()
