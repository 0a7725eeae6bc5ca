"""Trained nets of every kind, rebuilt in PyTorch from what their files say of themselves.

usage: nets.py TRAINHOST

Each net is trained for an epoch through the command line, predicts its rows, and is loaded into the module that its
file's metadata describe; that must predict the same. The exit status is 1 if one does not.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

ROWS, WIDTH, GROUPS, WINDOW = 300, 6, 5, 9
RECURRENT = {"recurrent_width": 20, "window": WINDOW}
NETS = {
    "linear layers": {},
    "normalized by layer": {"normalization": "layer"},
    "normalized by batch": {"normalization": "batch"},
    "residual": {"hidden": [6, 12, 12], "residual": True, "dropout": 0.1},
    "embedding": {"embedding": 3},
    "lstm": {"recurrent": "lstm", **RECURRENT},
    "gru": {"recurrent": "gru", **RECURRENT},
    "lstm of 3 layers": {"recurrent": "lstm", "recurrent_layers": 3, "dropout": 0.1, "embedding": 3, **RECURRENT},
    "all at once": {"recurrent": "gru", "recurrent_layers": 2, "dropout": 0.1, "embedding": 3, "residual": True,
                    "normalization": "batch", "hidden": [20, 20], **RECURRENT},
}
GAP_MAX = 1e-5


def windows(x, group):
    """As docs/training.md has it."""
    made = torch.zeros(len(x), WINDOW, x.shape[1])
    for i in range(len(x)):
        first = i
        while first > 0 and i - first < WINDOW - 1 and group[first - 1] == group[i]:
            first -= 1
        made[i, WINDOW - 1 - (i - first):] = x[first:i + 1]
    return made


def by_torch(model, x, group):
    with safe_open(model, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        architecture = file.metadata()["architecture"]
    x = (x - tensors.pop("input.mean")) / tensors.pop("input.std")
    names = {"torch": torch, "nn": nn}
    if architecture.startswith("class"):
        exec(architecture, names)
        net = names["Net"]()
    else:
        net = eval(architecture, names)
    missing, unexpected = net.load_state_dict(tensors, strict=False)
    # Batches are counted by a momentum of None alone, which is no net's.
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
    net.eval()
    rows = windows(x, group) if hasattr(net, "recurrent") else x
    with torch.no_grad():
        return (net(rows, group) if hasattr(net, "embedding") else net(rows)).numpy()


def compare(trainhost, directory, name, fields):
    draw = np.random.default_rng(1)
    x = draw.normal(2, 3, (ROWS, WIDTH)).astype(np.float32)
    group = np.cumsum(draw.random(ROWS) < 0.1).astype(np.int32) % GROUPS
    arrays = {"x": x, "y": draw.integers(3, size=ROWS).astype(np.int32), "group": group}
    for file, array in arrays.items():
        np.save(f"{directory}/{file}.npy", array)
    with open(f"{directory}/spec.json", "w", encoding="utf-8") as file:
        json.dump({"hidden": [12, 12], "epochs": 1, "learning_rate": 0.01, "standardize": True, **fields}, file)

    def run(command, *arguments):
        subprocess.run([trainhost, command, "--quiet", "--data", f"{directory}/x.npy", "--groups",
                        f"{directory}/group.npy", *arguments],
                       env=dict(os.environ, USE_TRAINING_HOST_SERVICE="false"), check=True)

    model, out = f"{directory}/model.safetensors", f"{directory}/out.npy"
    run("train", "--spec", f"{directory}/spec.json", "--labels", f"{directory}/y.npy", "--out", model)
    run("predict", "--model", model, "--out", out)
    gap = np.abs(np.load(out) - by_torch(model, torch.from_numpy(x), torch.from_numpy(group).long())).max()
    print(f"{name:22} {gap:.1e}   {'the same' if gap <= GAP_MAX else 'ANOTHER'}", flush=True)
    return gap <= GAP_MAX


def main():
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}; the largest difference between two logits\n")
    with tempfile.TemporaryDirectory() as directory:
        return 0 if all([compare(sys.argv[1], directory, *net) for net in NETS.items()]) else 1


if __name__ == "__main__":
    sys.exit(main())
