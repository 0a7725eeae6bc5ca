#!/usr/bin/env python3
"""Write schedule.txt: the learning rate of every step as torch.optim.lr_scheduler gives it.

A case is a line of JSON, the specification, and a line with the steps in an epoch and one rate a
step. Schedule plateau is told the losses of LOSSES, which schedule_test.c has too.
"""
import json

import torch
from torch.optim import lr_scheduler as schedulers

STEPS = 7
LOSSES = [1.0, 0.9, 0.89999, 0.95, 0.91, 0.9, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6]

CASES = [
    {"schedule": "constant"},
    {"schedule": "step", "step_size": 3, "gamma": 0.3},
    {"schedule": "exponential", "gamma": 0.9},
    {"schedule": "cosine", "min_learning_rate": 0.001},
    {"schedule": "one_cycle"},
    {"schedule": "plateau", "plateau_factor": 0.5, "plateau_patience": 1},
    {"schedule": "plateau", "plateau_factor": 0.1, "plateau_patience": 0,
     "min_learning_rate": 0.002},
    {"schedule": "cosine", "warmup_epochs": 2},
    {"schedule": "step", "step_size": 2, "gamma": 0.5, "warmup_epochs": 3},
    {"schedule": "one_cycle", "warmup_steps": 10},
    {"schedule": "constant", "warmup_steps": 5},
]


def scheduler_of(spec, optimizer, epochs, steps):
    kind = spec["schedule"]
    if kind == "constant":
        return schedulers.LambdaLR(optimizer, lambda epoch: 1.0)
    if kind == "step":
        return schedulers.StepLR(optimizer, spec["step_size"], spec["gamma"])
    if kind == "exponential":
        return schedulers.ExponentialLR(optimizer, spec["gamma"])
    if kind == "cosine":
        return schedulers.CosineAnnealingLR(optimizer, epochs, spec.get("min_learning_rate", 0))
    if kind == "one_cycle":
        return schedulers.OneCycleLR(optimizer, spec["learning_rate"], total_steps=steps)
    return schedulers.ReduceLROnPlateau(optimizer, factor=spec["plateau_factor"],
                                        patience=spec["plateau_patience"],
                                        min_lr=spec.get("min_learning_rate", 0))


def rates_of(spec):
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=spec["learning_rate"])
    warmup = spec.get("warmup_steps", 0) + spec.get("warmup_epochs", 0) * STEPS
    scheduler = scheduler_of(spec, optimizer, spec["epochs"] - warmup // STEPS,
                             spec["epochs"] * STEPS - warmup)
    optimizer.step()
    first = optimizer.param_groups[0]["lr"]
    rates = []
    for epoch in range(spec["epochs"]):
        for step in range(STEPS):
            at = epoch * STEPS + step
            if at < warmup:
                # LinearLR from 1/w to 1 over w - 1 steps.
                rates.append(first * (at + 1) / warmup)
                continue
            rates.append(optimizer.param_groups[0]["lr"])
            if spec["schedule"] == "one_cycle" and at + 1 < spec["epochs"] * STEPS:
                scheduler.step()
        if (epoch + 1) * STEPS <= warmup:
            continue
        if spec["schedule"] == "plateau":
            scheduler.step(LOSSES[epoch])
        elif spec["schedule"] != "one_cycle":
            scheduler.step()
    return rates


def main():
    for case in CASES:
        spec = {"epochs": len(LOSSES), "learning_rate": 0.03, **case}
        print(json.dumps(spec))
        print(STEPS, *(repr(rate) for rate in rates_of(spec)))


main()
